"""A study as a program: stopped, started again, with a run in it that fails, on machines that are lost."""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from src.files import unseal
from src.run_study import MOST_SEEDS, _seeds
from tests.helpers import copy_source

STUDY = """
from src.model import Model_5, Model_8

SMALL = Recipe(epochs=6, batch_size=50)
STUDIES["test"] = Study(
    {"narrow": (Model_8, SMALL), "too fast": (Model_8, Recipe(epochs=6, lr=1e30)), "biased": (Model_5, SMALL)},
    seeds=(0, 1, 2),
)
STUDIES["whole"] = Study({"narrow": (Model_8, SMALL), "biased": (Model_5, SMALL)}, seeds=(0, 1, 2))
STUDIES["long"] = Study({"narrow": (Model_8, Recipe(epochs=60, batch_size=50))}, seeds=(0, 1))
"""
GO_ON = "Stopped; every finished epoch is kept. Start the study again: it goes on where it was.\n"


@pytest.fixture
def command(tmp_path, synthetic_root):
    """Return a function that starts a program in a copy of the checkout, which has studies of small runs.

    The copy takes the synthetic digits for MNIST: else it would write no evidence of them.
    """
    copy_source(tmp_path)
    data = tmp_path / "src" / "data.py"
    assert "official=sums == SHA256" in data.read_text()
    data.write_text(data.read_text().replace("official=sums == SHA256", "official=True"))
    with (tmp_path / "src" / "studies.py").open("a") as studies:
        studies.write(STUDY)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["MNIST_ROOT"] = str(synthetic_root)

    def start(*arguments, **more):
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path, env=environment | more, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


@pytest.fixture
def study(command):
    def start(*arguments, **more):
        return command("-m", "src.run_study", *arguments, **more)

    return start


def finished(process):
    """Wait for a program; return its exit status, what it printed and what it said on stderr."""
    shown, errors = process.communicate(timeout=240)
    return process.returncode, shown, errors


def wait_for(pattern, folder, process):
    """Wait until a running study has kept a file that matches, and return all that do, with their times."""
    while not (found := {path: path.stat().st_mtime_ns for path in folder.glob(f".runs/{pattern}")}):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return found


def checkpoints(folder):
    return list(folder.glob(".runs/*.checkpoint"))


def results(folder):
    return {path.name for path in (folder / "results").iterdir()} - {"public.json"}


@pytest.mark.slow
def test_a_stopped_study_goes_on_and_a_failed_run_does_not_stop_it(study, tmp_path):
    first = study("test")
    before = wait_for("*.pt", tmp_path, first)
    first.send_signal(signal.SIGTERM)
    status, _, errors = finished(first)
    assert (status, errors) == (130, GO_ON)
    assert len(before) < 6

    status, shown, errors = finished(study("test"))
    assert status == 1
    assert "3 runs failed. Start the study again" in errors
    assert "FAILED: too fast, seed 1: FloatingPointError: the loss is" in shown
    assert "[6 of 9 done, 0 running, 3 failed]" in shown
    assert shown.count("kept from before") >= len(before)
    for path, when in before.items():
        assert path.stat().st_mtime_ns == when  # not trained again

    assert not results(tmp_path)  # a study with a hole in it is no evidence
    content = json.loads((tmp_path / ".runs" / "trial" / "study_test.json").read_text())
    assert {arm: [run["seed"] for run in entry["runs"]] for arm, entry in content["models"].items()} == {
        "narrow": [0, 1, 2],
        "biased": [0, 1, 2],
    }
    assert content["models"]["biased"]["model"] == "Model_5"
    assert content["environment"]["threads"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_goes_on_after_its_last_epoch(study, tmp_path, how):
    first = study("long")
    wait_for("*.checkpoint", tmp_path, first)
    first.send_signal(how)
    status, _, errors = finished(first)
    assert (status, errors) == ((130, GO_ON) if how == signal.SIGINT else (-9, ""))
    assert not list(tmp_path.glob(".runs/*.pt"))
    reached = {path.name: torch.load(io.BytesIO(unseal(path)))["state"]["history"] for path in checkpoints(tmp_path)}
    assert reached

    status, _, errors = finished(study("long"))
    assert status == 0, errors
    assert not checkpoints(tmp_path)
    (entry,) = json.loads((tmp_path / "results" / "study_long.json").read_text())["models"].values()
    for name, history in reached.items():
        (run,) = [run for run in entry["runs"] if f"-seed{run['seed']}-" in name]
        assert run["history"][: len(history)] == history  # the seconds too: these epochs were not trained again


@pytest.mark.slow
def test_a_whole_study_is_evidence_and_a_part_of_it_a_trial(study, tmp_path):
    status, shown, errors = finished(study("whole", "--seeds", "0"))
    assert status == 0, errors
    assert "Written: .runs/trial/study_whole.json" in shown
    assert not results(tmp_path)
    trial = json.loads((tmp_path / ".runs" / "trial" / "study_whole.json").read_text())

    status, shown, errors = finished(study("whole"))
    assert status == 0, errors
    assert "Written: results/study_whole.json" in shown
    assert results(tmp_path) == {"study_whole.json", "study_whole.png"}
    told = json.loads((tmp_path / "results" / "study_whole.json").read_text())
    for arm, entry in told["models"].items():
        assert [run["seed"] for run in entry["runs"]] == [0, 1, 2]
        assert entry["runs"][0] == trial["models"][arm]["runs"][0]  # not trained again

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
from src.run_study import connect

@ray.remote
def where():
    import src.runs
    return src.runs.__file__

connect()
print(ray.get(where.remote()))
"""


@pytest.mark.slow
def test_a_lost_machine_costs_only_what_it_was_at(command, study, tmp_path):
    status, _, errors = finished(study("long"))
    assert status == 0, errors
    path = tmp_path / "results" / "study_long.json"
    expected = json.loads(path.read_text())
    path.unlink()
    shutil.rmtree(tmp_path / ".runs")

    cluster = command("-c", CLUSTER)
    try:
        address = cluster.stdout.readline().strip()
        status, shown, errors = finished(command("-c", WHERE, RAY_ADDRESS=address))
        assert status == 0, errors
        assert not shown.startswith(str(tmp_path))  # the code went with the job
        assert shown.strip().endswith("src/runs.py")

        two_nodes = study("long", RAY_ADDRESS=address)
        while len(checkpoints(tmp_path)) < 2:  # a run on each node
            assert two_nodes.poll() is None, two_nodes.communicate()
            time.sleep(0.02)
        print("kill", file=cluster.stdin, flush=True)
        assert cluster.stdout.readline() == "killed\n"
        status, shown, errors = finished(two_nodes)
        assert status == 0, errors
        assert shown.count("): it is started again") == 1
    finally:
        cluster.communicate("end\n", timeout=60)

    told = json.loads(path.read_text())
    for content in (told, expected):
        for entry in content["models"].values():
            for run in entry["runs"]:
                run["history"] = [epoch | {"seconds": 0} for epoch in run["history"]]
    assert told == expected


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
    assert _seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "3-1", "a", "1-", "-1", "0-2,2", "0-1000", "0-99999999999", "3000000000"])
def test_seeds_that_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"seeds must look like|a seed stands twice|at most 1000 numb"):
        _seeds(text)
    assert len(_seeds(f"0-{MOST_SEEDS - 1}")) == MOST_SEEDS
