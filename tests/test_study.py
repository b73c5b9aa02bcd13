"""A study as a program: stopped, started again, with a run in it that fails, on machines that are lost."""

import argparse
import io
import os
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src.evidence.fingerprint import fingerprinted
from src.evidence.schema import Arm, Evidence, read_evidence, write_evidence
from src.evidence.storage import unseal
from src.learn.recipe import Recipe
from src.studies import cluster
from src.studies import run as runner
from src.studies.command import MOST_SEEDS, seeds_of
from tests.helpers import ENVIRONMENT, HELD, LOST, arm, finished, run

SMALL = Recipe(epochs=6, batch_size=50)
FASTEST = Recipe(epochs=6, lr=1e30)  # more than float32 can follow, but not float64, in which fingerprints are taken
STUDIES = {
    "mixed": {
        "narrow": Arm("Model_8", SMALL),
        "too fast": Arm("Model_8", FASTEST),
        "biased": Arm("Model_5", SMALL),
    },
    "whole": {"narrow": Arm("Model_8", SMALL), "biased": Arm("Model_8_Widths(2, 3, 4, 3, 3)", SMALL)},
    "long": {"narrow": Arm("Model_8", replace(SMALL, epochs=60))},
    "hopeless": {"narrow": Arm("Model_8", SMALL), "never": Arm("Model_4", FASTEST)},
    "short": {"narrow": Arm("Model_8", replace(SMALL, epochs=1))},
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


def seeds_by_arm(study):
    return {name: [run.seed for run in arm.runs] for name, arm in study.arms.items()}


def timeless(runs):
    """Leave out of runs what their repetition may have otherwise."""
    return [
        replace(run, environment=ENVIRONMENT, history=[replace(e, seconds=0.0) for e in run.history]) for run in runs
    ]


@pytest.mark.slow
def test_a_stopped_study_goes_on_and_a_failed_run_does_not_stop_it(study, tmp_path):
    first = study("mixed")
    before = wait_for("*.pt", tmp_path, first)
    while not any(seeds_by_arm(begun := evidence(tmp_path, "mixed")).values()):  # as soon as it is finished
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    status, _, errors = finished(first)
    assert (status, errors) == (130, GO_ON)
    assert len(before) < 6
    begun = evidence(tmp_path, "mixed")
    shutil.rmtree(tmp_path / ".runs")

    status, shown, errors = finished(study("mixed"))
    assert status == 1
    assert "3 runs failed" in errors
    assert "Start the study again" in errors
    assert "FAILED: too fast, seed 1: FloatingPointError: the loss is" in shown
    assert "[6 of 9 done, 3 failed]" in shown
    assert "Written: results/studies/mixed.json" in shown

    found = evidence(tmp_path, "mixed")
    assert seeds_by_arm(found) == {"narrow": [0, 1, 2], "too fast": [], "biased": [0, 1, 2]}
    assert not found.complete  # a study with a hole in it is no evidence
    for name, begun_arm in begun.arms.items():
        assert set(begun_arm.runs) <= set(found.arms[name].runs)  # to the last second: not trained again
    assert found.arms["biased"].runs[0].environment.threads == 1

    before = (tmp_path / "results/studies/mixed.json").read_bytes()
    status, shown, errors = finished(study("mixed"))
    assert (status, shown.count("FAILED")) == (1, 3)  # only these are tried again
    assert "kept from before" not in shown
    assert (tmp_path / "results/studies/mixed.json").read_bytes() == before


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
        assert [asdict(epoch) for epoch in run.history[: len(history)]] == history


@pytest.mark.slow
def test_a_whole_study_is_evidence_and_a_part_of_it_a_trial(study, tmp_path):
    status, shown, errors = finished(study("whole", "--seeds", "0"))
    assert status == 0, errors
    assert "Written: .runs/trial/whole.json" in shown
    assert not any(arm.runs for arm in evidence(tmp_path, "whole").arms.values())
    trial = evidence(tmp_path, "whole", trial=True)

    status, shown, errors = finished(study("whole"))
    assert status == 0, errors
    assert "Written: results/studies/whole.json" in shown
    found = evidence(tmp_path, "whole")
    assert found.complete
    for name, whole in found.arms.items():
        assert whole.runs[0] == trial.arms[name].runs[0]  # not trained again
        assert len(whole.fingerprint) == 3 * 6 + 1

    before = (tmp_path / "results/studies/whole.json").read_bytes()
    status, shown, errors = finished(study("whole", RAY_ADDRESS="192.0.2.1:1"))
    assert status == 0, errors  # all is kept: no cluster is asked
    assert (tmp_path / "results/studies/whole.json").read_bytes() == before
    status, shown, errors = finished(study("whole", "--seeds", "1", "--fresh"))
    assert status == 0, errors
    assert "kept from before" not in shown
    assert (tmp_path / "results/studies/whole.json").read_bytes() == before


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
    assert errors.startswith(f"RAY_ADDRESS is {address}, ")
    assert "unset it to use this machine alone" in errors
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


# ---------------------------------------------------------------- what is in the file, without any training


DECLARED = Evidence("some", {"one": arm(network="Model_7"), "other": arm(network="Model_8")}, (0, 1, 2))
DECLARED = replace(
    DECLARED, arms={name: replace(of, recipe=replace(of.recipe, epochs=7)) for name, of in DECLARED.arms.items()}
)
EVERY = [(name, seed) for seed in (0, 1, 2) for name in ("one", "other")]  # in the order in which they are asked for


@pytest.fixture
def trainer(tmp_path, data, monkeypatch):
    """Stand in for Ray: `asked` are the runs it was asked for; `ends` says which ends otherwise, and how.

    What `ends` has is raised if it is a KeyboardInterrupt, and is else the run's outcome.
    """
    stand_in = SimpleNamespace(asked=[], ends={}, correct=HELD, fresh=None)

    def fit_all(jobs, fresh):
        stand_in.asked, stand_in.fresh = list(jobs), fresh
        for name, seed in jobs:
            end = stand_in.ends.get((name, seed))
            if isinstance(end, KeyboardInterrupt):
                raise end
            yield (name, seed), end or SimpleNamespace(run=run(*stand_in.correct, seed=seed), kept=False)

    official = replace(data, official=True)
    monkeypatch.setattr(runner, "load_dataset", lambda **_: official)
    monkeypatch.setattr(runner, "fingerprinted", lambda study, _: study)
    monkeypatch.setattr(runner, "TRIAL", tmp_path / "trial")
    monkeypatch.setattr(runner, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(runner, "fit_all", fit_all)
    (tmp_path / "trial").mkdir()
    return stand_in


@pytest.fixture
def path(tmp_path):
    return write_evidence(DECLARED, tmp_path / "some.json")


def test_a_stopped_study_has_its_finished_runs_in_its_file_and_goes_on_from_there(trainer, path):
    """Nothing else is needed: no run is in .runs/ here."""
    trainer.ends = {EVERY[3]: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(path)
    assert trainer.asked == EVERY
    assert seeds_by_arm(read_evidence(path)) == {"one": [0, 1], "other": [0]}
    assert not read_evidence(path).complete

    trainer.ends = {EVERY[4]: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(path)
    assert trainer.asked == EVERY[3:]
    assert seeds_by_arm(read_evidence(path)) == {"one": [0, 1], "other": [0, 1]}

    trainer.ends, trainer.correct = {}, LOST
    assert runner.run_study(path) == (path, [])
    assert trainer.asked == EVERY[4:]
    found = read_evidence(path)
    assert found.complete
    finals = {name: [run.history[-1].eval_correct for run in arm.runs] for name, arm in found.arms.items()}
    assert finals == {"one": [HELD[-1], HELD[-1], LOST[-1]], "other": [HELD[-1], HELD[-1], LOST[-1]]}


def test_each_run_is_in_the_file_before_the_next_is_waited_for(trainer, path, monkeypatch):
    whole, written = runner.fit_all, []

    def watched(jobs, fresh):
        for outcome in whole(jobs, fresh):
            written.append(sum(len(arm.runs) for arm in read_evidence(path).arms.values()))
            yield outcome

    monkeypatch.setattr(runner, "fit_all", watched)
    runner.run_study(path)
    assert written == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("first", [EVERY[0], EVERY[2], EVERY[-1]])
def test_a_failed_run_does_not_lose_the_others(trainer, path, first):
    trainer.ends = {first: FloatingPointError("the loss is nan\nin a trace")}
    name, seed = first
    assert runner.run_study(path) == (path, [(name, seed, "FloatingPointError: the loss is nan")])
    found = read_evidence(path)
    assert not found.complete
    assert [(n, s) for s in (0, 1, 2) for n in found.arms if s in seeds_by_arm(found)[n]] == [
        each for each in EVERY if each != first
    ]
    trainer.ends = {}
    assert runner.run_study(path) == (path, [])
    assert trainer.asked == [first]
    assert read_evidence(path).complete


def test_where_all_runs_fail_the_file_stays(trainer, path):
    before = path.read_bytes()
    trainer.ends = dict.fromkeys(EVERY, RuntimeError(""))
    written, failed = runner.run_study(path)
    assert (written, len(failed), failed[0][2]) == (None, 6, "RuntimeError: no message")
    assert path.read_bytes() == before


@pytest.mark.parametrize("fresh", [False, True])
def test_a_complete_study_is_repeated_whole_and_keeps_its_file_until_then(trainer, path, tmp_path, fresh):
    runner.run_study(path)
    before = path.read_bytes()
    trainer.correct, trainer.ends = LOST, {EVERY[5]: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(path, fresh=fresh)
    assert trainer.asked == EVERY
    assert trainer.fresh == fresh
    assert path.read_bytes() == before

    trainer.ends = {EVERY[1]: FloatingPointError("the loss is nan")}
    trial, failed = runner.run_study(path, fresh=fresh)
    assert (trial, len(failed)) == (tmp_path / "trial" / "some.json", 1)
    assert seeds_by_arm(read_evidence(trial)) == {"one": [0, 1, 2], "other": [1, 2]}
    assert path.read_bytes() == before

    trainer.ends = {}
    assert runner.run_study(path, fresh=fresh) == (path, [])
    assert trainer.asked == EVERY
    assert {run.history[-1].eval_correct for arm in read_evidence(path).arms.values() for run in arm.runs} == {LOST[-1]}


@pytest.mark.parametrize("part", [{"seeds": (0,)}, {"train_limit": 100}, {"seeds": (7, 8)}])
def test_a_part_of_a_study_leaves_its_file_alone(trainer, path, tmp_path, part):
    trainer.ends = {EVERY[3]: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        runner.run_study(path)
    before, trainer.ends = path.read_bytes(), {}
    trial, failed = runner.run_study(path, **part)
    assert (trial, failed) == (tmp_path / "trial" / "some.json", [])
    seeds = part.get("seeds", (0, 1, 2))
    assert trainer.asked == [(name, seed) for seed in seeds for name in ("one", "other")]
    assert read_evidence(trial).seeds == seeds
    assert path.read_bytes() == before


def test_a_study_on_other_data_leaves_its_file_alone(trainer, path, tmp_path, data, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(runner, "load_dataset", lambda **_: data)
    assert runner.run_study(path) == (tmp_path / "trial" / "some.json", [])
    assert path.read_bytes() == before


def test_an_arm_that_can_never_be_trained_is_refused_before_any_is(trainer, tmp_path, data, monkeypatch):
    monkeypatch.setattr(runner, "fingerprinted", fingerprinted)
    path = write_evidence(Evidence("hopeless", STUDIES["hopeless"], (0, 1)), tmp_path / "hopeless.json")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"arms\.never .*the loss is .*lr") as raised:
        runner.run_study(path)
    assert len(str(raised.value).splitlines()) == 1
    assert trainer.asked == []
    assert path.read_bytes() == before


# ---------------------------------------------------------------- Ray that cannot start


def ended(monkeypatch, capsys, path, *arguments):
    """Call the program in this process, and return the sentence and the status that it ends with."""
    monkeypatch.setattr("sys.argv", ["run", str(path), *arguments])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(SystemExit) as raised:
            runner.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "Traceback" not in capsys.readouterr().err
    return raised.value.code  # a text is printed, and the status is 1


@pytest.fixture
def without_ray(trainer, monkeypatch):
    """Let the program ask for Ray, which is not there."""
    monkeypatch.setattr(runner, "fit_all", cluster.fit_all)
    monkeypatch.setattr(cluster, "ADDRESS", "local")
    monkeypatch.setattr(cluster, "kept_run", lambda job: None)
    monkeypatch.setattr(cluster.ray, "init", lambda *_, **__: pytest.fail("Ray was started"))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize("folder", ["/" + 106 * "x", "/" + 39 * "x", "/" + 20 * "ä"])
@pytest.mark.usefixtures("without_ray")
def test_a_folder_too_long_for_rays_sockets(path, monkeypatch, capsys, name, folder):
    monkeypatch.setenv(name, folder)
    before = path.read_bytes()
    said = ended(monkeypatch, capsys, path)
    assert said.startswith(name)
    assert f"{len(os.fsencode(folder))} bytes" in said
    assert said.endswith(f"{cluster.LONGEST_FOLDER}, such as /tmp")
    assert path.read_bytes() == before


def test_the_longest_folder_leaves_room_for_rays_longest_socket():
    """As Ray composes its name, where the process has as long a number as the system gives."""
    longest = f"{'x' * cluster.LONGEST_FOLDER}/ray/session_2026-01-31_23-59-59_999999_{2**22}/sockets/plasma_store"
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(FileNotFoundError):  # the name is not too long
        one.connect(longest)
    with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError, match=r"AF_UNIX path too long"):
        one.connect("x" + longest)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Exception("The current node timed out during startup.\nMore of it."), "The current node timed out during"),
        (Exception(), "Exception"),
        (RuntimeError("Failed to start GCS."), "Failed to start GCS."),
        (OSError("no room"), "no room"),
    ],
)
@pytest.mark.usefixtures("without_ray")
def test_ray_that_does_not_start_is_said(path, monkeypatch, capsys, error, reason):
    def init(*_, **__):
        raise error

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setenv("TMPDIR", "/tmp")
    said = ended(monkeypatch, capsys, path)
    assert reason in said
    assert len(said.splitlines()) == 1
    assert isinstance(error, OSError) or "start the study again" in said


@pytest.mark.slow
def test_a_temporary_folder_with_a_long_name(study, tmp_path, tmp_path_factory):
    """The real Ray: it starts where the name is just short enough, and beyond that nobody waits for it."""
    top = tmp_path_factory.mktemp("t")
    long = top / ("x" * (107 - len(str(top)) - 1))
    long.mkdir()
    status, shown, errors = finished(study("short", TMPDIR=str(long)))
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "TMPDIR" in errors
    assert "107 bytes" in errors
    assert "Traceback" not in errors + shown
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        fits = Path(folder, "x" * (cluster.LONGEST_FOLDER - len(folder) - 1))
        fits.mkdir()
        status, _, errors = finished(study("short", TMPDIR=str(fits)))
        assert status == 0, errors
    assert evidence(tmp_path, "short").complete


@pytest.mark.slow
def test_a_study_that_can_never_be_trained_ends_in_a_sentence(study, tmp_path):
    status, shown, errors = finished(study("hopeless"))
    assert (status, len(errors.splitlines())) == (1, 1)
    assert "arms.never" in errors
    assert shown == ""
    assert not list(tmp_path.glob(".runs/*.pt"))
