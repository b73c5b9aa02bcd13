"""A study as a program: stopped, started again, with a run in it that fails, on machines that are lost."""

import argparse
import io
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch

from src.evidence.schema import Arm, Evidence, Run, read_evidence, write_evidence
from src.evidence.storage import unseal
from src.learn.recipe import Recipe
from src.studies import run as runner
from src.studies.run import MOST_SEEDS, seeds_of
from tests.helpers import HELD, LOST, finished
from tests.helpers import evidence as gathered

SMALL = Recipe(epochs=6, batch_size=50)
STUDIES = {
    "mixed": {
        "narrow": Arm("Model_8", SMALL),
        "too fast": Arm("Model_8", Recipe(epochs=6, lr=1e30)),
        "biased": Arm("Model_5", SMALL),
    },
    "whole": {"narrow": Arm("Model_8", SMALL), "biased": Arm("Model_8_Widths(2, 3, 4, 3, 3)", SMALL)},
    "long": {"narrow": Arm("Model_8", replace(SMALL, epochs=60))},
}
GO_ON = "Stopped; finished runs are kept. Start the study again: it resumes.\n"


@pytest.fixture
def study(command, tmp_path):
    """Return a function that starts one of STUDIES."""
    for name, arms in STUDIES.items():
        seeds = (0, 1) if name == "long" else (0, 1, 2)
        write_evidence(Evidence(name, arms, seeds), tmp_path / "results" / "studies" / f"{name}.json")

    def start(name, *arguments, **more):
        return command("-m", "src.studies.run", f"results/studies/{name}.json", *arguments, **more)

    return start


def wait_for(pattern, folder, process):
    """Wait until a running study has kept a file that matches, and return all that do, with their times."""
    while not (found := {path: path.stat().st_mtime_ns for path in folder.glob(f".runs/{pattern}")}):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found


def checkpoints(folder):
    return list(folder.glob(".runs/*.checkpoint"))


def evidence(folder, name, trial=False):
    return read_evidence(folder / (".runs/trial" if trial else "results/studies") / f"{name}.json")


def timeless(runs):
    return [Run(run.seed, [e._replace(seconds=0) for e in run.history], {}, run.train_score) for run in runs]


@pytest.mark.slow
def test_a_stopped_study_goes_on_and_a_failed_run_does_not_stop_it(study, tmp_path):
    first = study("mixed")
    before = wait_for("*.pt", tmp_path, first)
    first.send_signal(signal.SIGTERM)
    status, _, errors = finished(first)
    assert (status, errors) == (130, GO_ON)
    assert len(before) < 6

    status, shown, errors = finished(study("mixed"))
    assert status == 1
    assert "3 runs failed. Start the study again" in errors
    assert "FAILED: too fast, seed 1: FloatingPointError: the loss is" in shown
    assert "[6 of 9 done, 3 failed]" in shown
    assert shown.count("kept from before") >= len(before)
    for path, when in before.items():
        assert path.stat().st_mtime_ns == when  # not trained again

    assert not evidence(tmp_path, "mixed").arms["narrow"].runs  # a study with a hole in it is no evidence
    found = evidence(tmp_path, "mixed", trial=True)
    assert {name: [run.seed for run in arm.runs] for name, arm in found.arms.items()} == {
        "narrow": [0, 1, 2], "too fast": [], "biased": [0, 1, 2],
    }  # fmt: skip
    assert found.arms["biased"].runs[0].environment["threads"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_goes_on_after_its_last_epoch(study, tmp_path, how):
    first = study("long")
    wait_for("*.checkpoint", tmp_path, first)
    first.send_signal(how)
    status, _, errors = finished(first)
    assert (status, errors) == ((130, GO_ON) if how == signal.SIGINT else (-9, ""))
    time.sleep(3)  # for killed workers to be gone
    assert not list(tmp_path.glob(".runs/*.pt"))
    reached = {path.name: torch.load(io.BytesIO(unseal(path)))["state"]["history"] for path in checkpoints(tmp_path)}
    assert reached

    status, _, errors = finished(study("long"))
    assert status == 0, errors
    assert not checkpoints(tmp_path)
    for name, history in reached.items():
        (run,) = [run for run in evidence(tmp_path, "long").arms["narrow"].runs if f"-seed{run.seed}-" in name]
        # The seconds too: these epochs were not trained again.
        assert [epoch._asdict() for epoch in run.history[: len(history)]] == history


@pytest.mark.slow
def test_a_whole_study_is_evidence_and_a_part_of_it_a_trial(study, tmp_path, real_root):
    status, shown, errors = finished(study("whole", "--seeds", "0"))
    assert status == 0, errors
    assert "Written: .runs/trial/whole.json" in shown
    assert not evidence(tmp_path, "whole").complete
    trial = evidence(tmp_path, "whole", trial=True)

    status, shown, errors = finished(study("whole"))
    assert status == 0, errors
    assert "Written: results/studies/whole.json" in shown
    found = evidence(tmp_path, "whole")
    assert found.complete
    for name, arm in found.arms.items():
        assert arm.runs[0] == trial.arms[name].runs[0]  # not trained again
        assert len(arm.fingerprint) == 3 * 6 + 1

    status, shown, errors = finished(study("whole", RAY_ADDRESS="192.0.2.1:1"))
    assert status == 0, errors  # all is kept: no cluster is asked
    status, shown, errors = finished(study("whole", "--seeds", "1", "--fresh"))
    assert status == 0, errors
    assert "kept from before" not in shown


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
print("killed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""
WHERE = """
import ray
from src.studies.cluster import _connect

@ray.remote
def where():
    import src.evidence.runs
    return src.evidence.runs.__file__

_connect()
print(ray.get(where.remote()))
"""


@pytest.mark.slow
def test_a_lost_machine_costs_only_what_it_was_at(command, study, tmp_path):
    status, _, errors = finished(study("long"))
    assert status == 0, errors
    expected = timeless(evidence(tmp_path, "long").arms["narrow"].runs)
    shutil.rmtree(tmp_path / ".runs")

    cluster = command("-c", CLUSTER)
    try:
        address = cluster.stdout.readline().strip()
        status, shown, errors = finished(command("-c", WHERE, RAY_ADDRESS=address))
        assert status == 0, errors
        assert not shown.startswith(str(tmp_path))  # the code went with the job
        assert shown.strip().endswith("src/evidence/runs.py")

        two_nodes = study("long", RAY_ADDRESS=address)
        time.sleep(12)  # a run on each node
        assert two_nodes.poll() is None, two_nodes.communicate()
        print("kill", file=cluster.stdin, flush=True)
        assert cluster.stdout.readline() == "killed\n"
        status, _, errors = finished(two_nodes)
        assert status == 0, errors
    finally:
        cluster.communicate("end\n", timeout=60)
    assert timeless(evidence(tmp_path, "long").arms["narrow"].runs) == expected


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1:9", "auto", "no.such.host:6379"])
def test_a_cluster_that_is_not_there(study, address):
    started = time.monotonic()
    status, _, errors = finished(study("whole", RAY_ADDRESS=address))
    assert status == 1
    assert errors.startswith(f"RAY_ADDRESS is {address}, where no Ray cluster can be joined: correct it, start")
    assert len(errors.splitlines()) == 1
    assert time.monotonic() - started < 60  # 30 s, and importing on a busy machine


@pytest.mark.parametrize(("text", "seeds"), [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("0,2,5-7", (0, 2, 5, 6, 7))])
def test_seeds(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "3-1", "a", "1-", "-1", "0-2,2", "0-1000", "0-99999999999", "3000000000"])
def test_seeds_that_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"seeds must look like|a seed stands twice|at most 1000 numb"):
        seeds_of(text)
    assert len(seeds_of(f"0-{MOST_SEEDS - 1}")) == MOST_SEEDS


def test_a_file_that_has_some_of_its_runs_goes_on(tmp_path, synthetic_root, monkeypatch):
    """Only what is missing is trained; a complete one is repeated whole."""
    asked = []
    monkeypatch.setenv("MNIST_ROOT", str(synthetic_root))
    monkeypatch.setattr(runner, "TRIAL", tmp_path / "trial")
    monkeypatch.setattr(runner, "KEPT", tmp_path)
    monkeypatch.setattr(runner, "fit_all", lambda jobs, fresh: asked.extend(jobs) or iter(()))
    some = gathered("some", Model_7=[HELD, LOST])
    (tmp_path / "trial").mkdir()
    for seeds, missing in (((0, 1, 2), [("Model_7", 2)]), ((0, 1), [("Model_7", 0), ("Model_7", 1)])):
        asked.clear()
        path = write_evidence(replace(some, seeds=seeds), tmp_path / "some.json")
        written, _ = runner.run_study(path)
        assert asked == missing
        assert (written is None) == (len(seeds) == 2)
    assert len(read_evidence(tmp_path / "trial" / "some.json").arms["Model_7"].runs) == 2
