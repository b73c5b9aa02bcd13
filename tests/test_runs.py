"""Runs that are kept: picked up, resumed, told apart; damaged, shared by two processes, and in want of room."""

import io
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from src import ROOT
from src.evidence.runs import RunStore, environment, fit, identity, keep, kept_run
from src.evidence.storage import seal, unseal
from src.learn.data import load_dataset
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.learn.training import epochs, new_model, train
from src.model import Model_5, Model_8
from tests.helpers import copy_source, same_weights, timeless

RECIPE = Recipe(epochs=2, batch_size=100)


def fit_and_kill(data, folder):
    """Begin the run of Model_8 with RECIPE and seed 0, and kill it in its second epoch."""

    def kill(history, epoch, fraction):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Model_8, data, RECIPE, 0, folder=folder, progress=kill)


def resumed(data, folder):
    """Train that run, or go on with it; return it, and the epochs that were trained for it now."""
    seen = set()
    run = fit(Model_8, data, RECIPE, 0, folder=folder, progress=lambda history, epoch, _: seen.add(epoch))
    return run, seen


def test_finished_runs_are_picked_up(data, tmp_path):
    first = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    again = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    assert (first.kept, again.kept) == (False, True)
    assert again.run.history == first.run.history  # the seconds too: nothing was trained
    assert again.run.environment == first.run.environment
    assert same_weights(first.model, again.model)
    assert not fit(Model_8, data, RECIPE, 0, folder=tmp_path, fresh=True).kept
    assert {path.suffix for path in tmp_path.iterdir()} == {".pt", ".lock"}


def test_a_seed_decides_weights_and_training_alike(data, tmp_path):
    """The weights of a seed are trained with the order and the augmentation of that seed."""
    model = new_model(Model_8, 3)
    history = train(model, data, RECIPE, 3)
    run = fit(Model_8, data, RECIPE, 3, folder=tmp_path)
    assert timeless(run.run.history) == timeless(history)
    assert same_weights(run.model, model)


def test_a_killed_run_goes_on_after_its_last_epoch(data, tmp_path):
    expected = fit(Model_8, data, RECIPE, 0, folder=tmp_path / "whole")
    fit_and_kill(data, tmp_path)
    run, seen = resumed(data, tmp_path)
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


def test_a_checkpoint_from_another_environment_is_named_and_set_aside(data, tmp_path, capsys):
    fit_and_kill(data, tmp_path)
    changed_environment(tmp_path, threads=64)
    assert resumed(data, tmp_path)[1] == {1, 2}
    said = capsys.readouterr().out
    assert f"1 epochs were trained elsewhere (threads 64, here {torch.get_num_threads()}): set aside as " in said
    assert len(list(tmp_path.glob("*.checkpoint.aside1"))) == 1


def test_a_resumed_run_belongs_to_the_environment_that_it_began_in(data, tmp_path):
    fit_and_kill(data, tmp_path)
    changed_environment(tmp_path, git_commit="earlier")
    assert fit(Model_8, data, RECIPE, 0, folder=tmp_path).run.environment["git_commit"] == "earlier"


def test_a_run_killed_before_it_was_filed_needs_no_training(data, tmp_path):
    """Between the last epoch's checkpoint and the finished run."""
    expected = fit(Model_8, data, RECIPE, 0, folder=tmp_path / "whole")
    store = RunStore(Model_8, data, RECIPE, 0, tmp_path)
    for reached in epochs(new_model(Model_8, 0), data, RECIPE, 0):
        store.keep_checkpoint({"environment": environment(data), "state": reached.state_dict()})
    run, seen = resumed(data, tmp_path)
    assert not seen
    assert [e.eval_loss for e in run.run.history] == [e.eval_loss for e in expected.run.history]
    assert same_weights(expected.model, run.model)


def test_the_fit_is_scored_in_evaluation_mode(data, tmp_path):
    trained = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    right = (trained.predict(data.train_images).argmax(1) == data.train_labels).sum()
    assert (trained.run.train_score.correct, trained.run.train_score.total) == (right, 600)
    assert fit(Model_8, data, RECIPE, 0, folder=tmp_path).run.train_score == trained.run.train_score


def test_a_run_from_another_machine_is_kept(data, tmp_path):
    job = (Model_8, data, RECIPE, 0)
    assert kept_run(*job, folder=tmp_path / "here") is None
    there = fit(*job, folder=tmp_path / "there")
    keep(there, *job, folder=tmp_path / "here")
    here = kept_run(*job, folder=tmp_path / "here")
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

    def __init__(self, block=Residual):
        super().__init__(
            torch.nn.Conv2d(1, 8, 5, stride=3), block(), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(512, 10)
        )


def test_any_network_can_be_trained(data, tmp_path):
    assert fit(Other, data, RECIPE, 0, folder=tmp_path).run.history[-1].eval_total == 200


def test_any_difference_is_another_run(data, synthetic_root):
    known = identity(Model_8, data, RECIPE, 0)
    assert known == identity(Model_8, data, Recipe(epochs=2, batch_size=100, rotation=0.0), 0)
    statistics = replace(data.statistics, mean=data.statistics.mean + 1e-4)
    others = {
        identity(Model_8, data, RECIPE, 1),
        identity(Model_8, data, replace(RECIPE, lr=0.02), 0),
        identity(Model_8, load_dataset(synthetic_root, train_limit=500), RECIPE, 0),
        identity(Model_8, replace(data, statistics=statistics), RECIPE, 0),
        identity(Model_5, data, RECIPE, 0),
        identity(named("Model_8_Widths(8, 8, 16, 16, 16)"), data, RECIPE, 0),
    }
    assert len(others - {known}) == 6

    class Subtracting(Residual):
        def forward(self, x):
            return x - self.layer(x)

    Subtracting.__name__ = "Residual"  # as torch prints it, it is the same
    assert identity(Other, data, RECIPE, 0) != identity(lambda: Other(Subtracting), data, RECIPE, 0)


def damage(folder, kind):
    """Cut the one file of a kind in half, and return its name. How little damage is noticed, test_storage.py shows."""
    (path,) = folder.glob(f"*.{kind}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.name


def test_a_damaged_finished_run_is_named_set_aside_and_trained_again(data, tmp_path, capsys):
    expected = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    name = damage(tmp_path, "pt")
    again = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    assert not again.kept
    assert [e.eval_loss for e in again.run.history] == [e.eval_loss for e in expected.run.history]
    said = capsys.readouterr().out
    assert f"{name} is damaged (" in said
    assert f"set aside as {name}.aside1, and trained again" in said
    assert fit(Model_8, data, RECIPE, 0, folder=tmp_path).kept


def test_a_damaged_checkpoint_is_named_and_set_aside(data, tmp_path, capsys):
    fit_and_kill(data, tmp_path)
    name = damage(tmp_path, "checkpoint")
    assert resumed(data, tmp_path)[1] == {1, 2}
    assert f"set aside as {name}.aside1" in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_run_is_set_aside(data, tmp_path, capsys):
    store = RunStore(Model_8, data, RECIPE, 0, tmp_path)
    (tmp_path / f"{store.name}.pt").mkdir()
    assert not fit(Model_8, data, RECIPE, 0, folder=tmp_path).kept
    assert "cannot be read (Is a directory): set aside as" in capsys.readouterr().out


TRAIN = """
import sys, time
from pathlib import Path
from src.learn.data import load_dataset
from src.model import Model_8
from src.evidence.runs import fit
from src.learn.recipe import Recipe

def hold(history, epoch, fraction):
    Path(sys.argv[2]).touch()
    while not Path(sys.argv[2] + ".go").exists():
        time.sleep(0.01)

trained = fit(Model_8, load_dataset(), Recipe(epochs=1), 0, folder=sys.argv[1], progress=hold)
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


def test_a_full_disk_is_said_in_our_words_and_loses_nothing(data, tmp_path):
    """A limit on the size of files stands in for a disk that is full from the second epoch on."""
    expected = fit(Model_8, data, RECIPE, 0, folder=tmp_path / "whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(history, epoch, fraction):
        if epoch == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    try:
        with pytest.raises(OSError, match=r"checkpoint cannot be written \(File too large\): make room .* is kept"):
            fit(Model_8, data, RECIPE, 0, folder=tmp_path, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    run, seen = resumed(data, tmp_path)
    assert seen == {2}
    assert [e.eval_loss for e in run.run.history] == [e.eval_loss for e in expected.run.history]
    assert not list(tmp_path.glob("*.partial"))


SAY_COMMIT = [sys.executable, "-c", "from src.evidence.runs import git_commit; print(git_commit())"]


def commit_all(folder):
    """Make a repository of a folder, with all that it holds in one commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder)]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *words], check=True)


def test_a_copy_inside_another_repository_has_no_commit(tmp_path):
    """A ZIP unpacked inside somebody's repository is not that repository's commit."""
    copy = copy_source(tmp_path / "unpacked")
    commit_all(tmp_path)
    assert subprocess.run(SAY_COMMIT, cwd=copy, capture_output=True, text=True, check=True).stdout.strip() == "unknown"


def test_git_is_understood_in_every_folder_and_locale(tmp_path):
    """Its answer is UTF-8, whatever the locale says."""
    copy = copy_source(tmp_path / "Zürich")
    commit_all(copy)
    subprocess.run(["git", "-C", str(copy), "config", "core.quotePath", "false"], check=True)
    (copy / "src" / "ä.py").touch()
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run(SAY_COMMIT, cwd=copy, env=os.environ | plain, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"[0-9a-f]{40}-dirty\n", said.stdout)


def test_the_lock_of_a_dead_process_is_taken_over(training, tmp_path):
    first = training("first", wait=True)
    first.kill()
    first.communicate()
    (tmp_path / "second.go").touch()
    second = training("second")
    said, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert said.startswith("trained ")  # without having waited
