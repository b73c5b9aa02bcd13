"""Runs that are kept: picked up, resumed, told apart; damaged, shared by two processes, and in want of room."""

import io
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
import torch

from src import ROOT
from src.evidence.provenance import environment
from src.evidence.runs import RunStore, fit, keep, kept_run
from src.evidence.storage import seal, unseal
from src.learn.recipe import Recipe
from src.learn.training import Job, train_epochs
from src.model import Model_8
from tests.helpers import same_weights, timeless, train

RECIPE = Recipe(epochs=2, batch_size=100)


@pytest.fixture
def job(data):
    return Job(Model_8, data, RECIPE, 0)


def fit_and_kill(job, folder):
    """Begin a job and kill it in its second epoch."""

    def kill(history, epochs):
        if epochs > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(job, folder=folder, progress=kill)


def resumed(job, folder):
    """Train that job, or go on with it; return its run, and the epochs that were trained for it now."""
    seen = set()
    run = fit(job, folder=folder, progress=lambda history, epochs: seen.add(math.ceil(epochs)))
    return run, seen


def test_finished_runs_are_picked_up(job, tmp_path):
    first = fit(job, folder=tmp_path)
    again = fit(job, folder=tmp_path)
    assert (first.kept, again.kept) == (False, True)
    assert again.run.history == first.run.history  # the seconds too: nothing was trained
    assert again.run.environment == first.run.environment
    assert same_weights(first.model, again.model)
    assert not fit(job, folder=tmp_path, fresh=True).kept
    assert {path.suffix for path in tmp_path.iterdir()} == {".pt", ".lock"}


def test_a_seed_decides_weights_and_training_alike(job, tmp_path):
    """The weights of a seed are trained with the order and the augmentation of that seed."""
    torch.manual_seed(3)
    state = train(Model_8(), job.data, RECIPE, 3)
    run = fit(replace(job, seed=3), folder=tmp_path)
    assert timeless(run.run.history) == timeless(state.history)
    assert same_weights(run.model, state.evaluated_model())


def test_a_killed_run_goes_on_after_its_last_epoch(job, tmp_path):
    expected = fit(job, folder=tmp_path / "whole")
    fit_and_kill(job, tmp_path)
    run, seen = resumed(job, tmp_path)
    assert seen == {2}
    assert [e.eval_loss for e in run.run.history] == [e.eval_loss for e in expected.run.history]
    assert not list(tmp_path.glob("*.checkpoint"))


def changed_environment(folder, **changes):
    """Let the one checkpoint in `folder` have begun in another environment."""
    (path,) = folder.glob("*.checkpoint")
    record = torch.load(io.BytesIO(unseal(path)), weights_only=True)
    content = io.BytesIO()
    torch.save(record | {"environment": record["environment"] | changes}, content)
    seal(path, content.getvalue())


def test_a_checkpoint_from_another_environment_is_named_and_set_aside(job, tmp_path, capsys):
    fit_and_kill(job, tmp_path)
    changed_environment(tmp_path, threads=64)
    assert resumed(job, tmp_path)[1] == {1, 2}
    said = capsys.readouterr().out
    assert f"1 epochs were trained elsewhere (threads 64, here {torch.get_num_threads()}): set aside as " in said
    assert len(list(tmp_path.glob("*.checkpoint.aside1"))) == 1


def test_a_resumed_run_belongs_to_the_environment_that_it_began_in(job, tmp_path):
    fit_and_kill(job, tmp_path)
    changed_environment(tmp_path, git_commit="a" * 40)
    assert fit(job, folder=tmp_path).run.environment.git_commit == "a" * 40


def test_a_run_killed_before_it_was_filed_needs_no_training(job, tmp_path):
    """Between the last epoch's checkpoint and the finished run."""
    expected = fit(job, folder=tmp_path / "whole")
    store = RunStore(job, tmp_path)
    for reached in train_epochs(job):
        store.keep_checkpoint({"environment": asdict(environment(job.data)), "state": reached.state_dict()})
    run, seen = resumed(job, tmp_path)
    assert not seen
    assert [e.eval_loss for e in run.run.history] == [e.eval_loss for e in expected.run.history]
    assert same_weights(expected.model, run.model)


def test_the_fit_is_scored_in_evaluation_mode(job, tmp_path):
    trained = fit(job, folder=tmp_path)
    right = (trained.predict(job.data.train_images).argmax(1) == job.data.train_labels).sum()
    assert (trained.run.train_score.correct, trained.run.train_score.total) == (right, 600)
    assert fit(job, folder=tmp_path).run.train_score == trained.run.train_score


def test_a_run_from_another_machine_is_kept(job, tmp_path):
    assert kept_run(job, tmp_path / "here") is None
    there = fit(job, folder=tmp_path / "there")
    keep(there, job, tmp_path / "here")
    here = kept_run(job, tmp_path / "here")
    assert (here.run, here.kept) == (there.run, True)
    assert same_weights(there.model, here.model)


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return x + self.layer(x)


class Other(torch.nn.Sequential):
    """A network whose receptive field is not known."""

    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(1, 8, 5, stride=3),
            Residual(), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(512, 10),
        )  # fmt: skip


def test_any_network_can_be_trained(data, tmp_path):
    assert fit(Job(Other, data, RECIPE, 0), folder=tmp_path).run.history[-1].eval_total == 200


def damage(folder, kind):
    """Cut the one file of a kind in half, and return its name. How little damage is noticed, test_storage.py shows."""
    (path,) = folder.glob(f"*.{kind}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.name


def test_a_damaged_finished_run_is_named_set_aside_and_trained_again(job, tmp_path, capsys):
    expected = fit(job, folder=tmp_path)
    name = damage(tmp_path, "pt")
    again = fit(job, folder=tmp_path)
    assert not again.kept
    assert [e.eval_loss for e in again.run.history] == [e.eval_loss for e in expected.run.history]
    said = capsys.readouterr().out
    assert f"{name} is damaged (" in said
    assert f"set aside as {name}.aside1, and trained again" in said
    assert fit(job, folder=tmp_path).kept


def test_a_damaged_checkpoint_is_named_and_set_aside(job, tmp_path, capsys):
    fit_and_kill(job, tmp_path)
    name = damage(tmp_path, "checkpoint")
    assert resumed(job, tmp_path)[1] == {1, 2}
    assert f"set aside as {name}.aside1" in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_run_is_set_aside(job, tmp_path, capsys):
    store = RunStore(job, tmp_path)
    (tmp_path / f"{store.name}.pt").mkdir()
    assert not fit(job, folder=tmp_path).kept
    assert "cannot be read (Is a directory): set aside as" in capsys.readouterr().out


TRAIN = """
import sys, time
from pathlib import Path
from src.learn.data import load_dataset
from src.model import Model_8
from src.evidence.runs import fit
from src.learn.recipe import Recipe
from src.learn.training import Job

def hold(history, epochs):
    Path(sys.argv[2]).touch()
    while not Path(sys.argv[2] + ".go").exists():
        time.sleep(0.01)

trained = fit(Job(Model_8, load_dataset(), Recipe(epochs=1), 0), folder=sys.argv[1], progress=hold)
print("kept" if trained.kept else "trained", trained.run.history[-1].eval_loss)
"""


@pytest.fixture
def training(synthetic_root, tmp_path):
    """Return a function that trains one and the same run in a process of its own, which holds until NAME.go exists."""
    variables = os.environ | {"MNIST_ROOT": str(synthetic_root), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(name, wait=False):
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", TRAIN, str(tmp_path / "runs"), str(tmp_path / name)],
            env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while wait and not (tmp_path / name).exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        return process

    return start


def test_two_at_once(training, tmp_path):
    first = training("first", wait=True)
    second = training("second")
    waits = second.stdout.readline()
    assert f"process {first.pid} on " in waits
    assert waits.endswith("is training this run; waiting for it\n")
    (tmp_path / "first.go").touch()
    (trained, errors), (picked_up, more_errors) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), errors + more_errors
    assert trained.startswith("trained ")
    assert picked_up == trained.replace("trained", "kept")
    assert not (tmp_path / "second").exists()  # it never trained
    assert {path.suffix for path in (tmp_path / "runs").iterdir()} == {".pt", ".lock"}


def test_a_full_disk_is_said_in_our_words_and_loses_nothing(job, tmp_path):
    """A limit on the size of files stands in for a disk that is full from the second epoch on."""
    expected = fit(job, folder=tmp_path / "whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(history, epochs):
        if epochs > 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    try:
        with pytest.raises(OSError, match=r"checkpoint cannot be written \(File too large\): make room .* is kept"):
            fit(job, folder=tmp_path, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    run, seen = resumed(job, tmp_path)
    assert seen == {2}
    assert [e.eval_loss for e in run.run.history] == [e.eval_loss for e in expected.run.history]
    assert not list(tmp_path.glob("*.partial"))


def test_the_lock_of_a_dead_process_is_taken_over(training, tmp_path):
    first = training("first", wait=True)
    first.kill()
    first.communicate()
    (tmp_path / "second.go").touch()
    second = training("second")
    said, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert said.startswith("trained ")  # without having waited
