"""Runs that are kept: picked up, resumed, told apart; and the hash that says when evidence is stale."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from src import model as models
from src.data import ROOT, load_mnist
from src.model import Model_5, Model_8
from src.runs import code_sha256, fit
from src.training import Recipe

RECIPE = Recipe(epochs=2, batch_size=100)


def fit_and_kill(data, folder):
    """Begin the run of Model_8 with RECIPE and seed 0, and kill it in its second epoch."""

    def kill(history, epoch, fraction):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Model_8, data, RECIPE, 0, folder=folder, progress=kill)


def test_finished_runs_are_picked_up(data, tmp_path):
    first = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    again = fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    assert (first.kept, again.kept) == (False, True)
    assert again.history == first.history  # the seconds too: nothing was trained
    assert again.environment == first.environment
    for a, b in zip(first.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not fit(Model_8, data, RECIPE, 0, folder=tmp_path, fresh=True).kept
    assert [path.suffix for path in tmp_path.iterdir()] == [".pt"]


def test_any_difference_is_another_run(data, synthetic_root, tmp_path):
    fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    fewer = load_mnist(synthetic_root, train_limit=500)
    for run in (
        fit(Model_8, data, RECIPE, 1, folder=tmp_path),
        fit(Model_8, data, replace(RECIPE, lr=0.02), 0, folder=tmp_path),
        fit(Model_8, fewer, RECIPE, 0, folder=tmp_path),
        fit(Model_5, data, RECIPE, 0, folder=tmp_path),
    ):
        assert not run.kept
    assert len(list(tmp_path.iterdir())) == 5


def test_a_killed_run_goes_on_after_its_last_epoch(data, tmp_path):
    expected = fit(Model_8, data, RECIPE, 0, folder=tmp_path / "whole")
    fit_and_kill(data, tmp_path)
    seen = []
    run = fit(Model_8, data, RECIPE, 0, folder=tmp_path, progress=lambda history, epoch, _: seen.append(epoch))
    assert set(seen) == {2}
    assert [e["test_correct"] for e in run.history] == [e["test_correct"] for e in expected.history]
    assert not list(tmp_path.glob("*.checkpoint"))


def test_a_checkpoint_from_another_environment_is_dropped(data, tmp_path):
    fit_and_kill(data, tmp_path)
    (started,) = tmp_path.glob("*.json")
    began = json.loads(started.read_text())
    started.write_text(json.dumps(began | {"threads": 64}))
    seen = []
    fit(Model_8, data, RECIPE, 0, folder=tmp_path, progress=lambda history, epoch, _: seen.append(epoch))
    assert set(seen) == {1, 2}


def test_a_resumed_run_belongs_to_the_environment_that_it_began_in(data, tmp_path):
    fit_and_kill(data, tmp_path)
    (started,) = tmp_path.glob("*.json")
    started.write_text(json.dumps(json.loads(started.read_text()) | {"git_commit": "earlier"}))
    assert fit(Model_8, data, RECIPE, 0, folder=tmp_path).environment["git_commit"] == "earlier"


def test_a_damaged_file_is_named(data, tmp_path):
    fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    (path,) = tmp_path.glob("*.pt")
    for content in (b"", path.read_bytes()[:1000]):
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match=r"Model_8-seed0-\w+.pt is damaged: delete it, or train anew with fresh"):
            fit(Model_8, data, RECIPE, 0, folder=tmp_path)
    assert not fit(Model_8, data, RECIPE, 0, folder=tmp_path, fresh=True).kept


def test_environment_says_what_matters(data, tmp_path):
    environment = fit(Model_8, data, RECIPE, 0, folder=tmp_path).environment
    assert environment["torch"] == torch.__version__
    assert environment["data_sha256"] == data.sha256
    assert environment["threads"] == torch.get_num_threads()
    assert set(environment) == {
        "python", "torch", "torchvision", "device", "processor", "precision", "threads", "data_sha256", "git_commit",
    }  # fmt: skip


def test_models_have_their_own_hashes():
    names = [name for name in vars(models) if name.startswith("Model_")]
    assert len({code_sha256(getattr(models, name)) for name in names}) == len(names)


EDITS = {  # what is replaced in which file, and whether Model_8's evidence is stale then
    "a comment and a docstring": ("model.py", "# 8 x 26 x 26, RF 3", "# an edge detector", False),
    "another model": ("model.py", "conv_relu_bn(8, 12)", "conv_relu_bn(8, 13)", False),
    "an error's words": ("training.py", "the loss is {value.item()}", "loss {value.item()}", False),
    "a check of Recipe": ("training.py", "if self.lr <= 0", "if self.lr < 0", False),
    "a layer": ("model.py", "conv_bn_hardswish(1, 8)", "conv_bn_hardswish(1, 8, padding=0)", True),
    "a block that it is built from": (
        "model.py",
        "nn.Hardswish(),\n",
        "nn.Hardswish(inplace=True),\n",
        True,
    ),
    "the loop": ("training.py", "optimizer.zero_grad()", "optimizer.zero_grad(True)", True),
    "what the loop calls": ("data.py", 'padding_mode="zeros"', 'padding_mode="border"', True),
    "a constant": ("data.py", "0.3081", "0.3", True),
}


@pytest.fixture(scope="module")
def edited_hashes(tmp_path_factory):
    """Hash Model_8 in one copy of src for each edit, all at once: each needs a process of its own."""
    program = "from src.model import Model_8; from src.runs import code_sha256; print(code_sha256(Model_8))"
    waiting = {}
    for name, (file, old, new, _) in EDITS.items():
        copy = tmp_path_factory.mktemp("edit")
        shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "src" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        waiting[name] = subprocess.Popen([sys.executable, "-c", program], cwd=copy, stdout=subprocess.PIPE, text=True)
    return {name: process.communicate()[0].strip() for name, process in waiting.items()}


@pytest.mark.parametrize("edit", EDITS)
def test_code_hash(edited_hashes, edit):
    assert len(edited_hashes[edit]) == 64
    assert (edited_hashes[edit] != code_sha256(Model_8)) == EDITS[edit][3]


def test_code_hash_is_of_the_code_that_was_imported(tmp_path):
    """Somebody edits a file while its old code trains: the run must not be filed under the new text."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from pathlib import Path; from src.model import Model_8; from src.runs import code_sha256;"
        "path = Path('src/training.py'); text = path.read_text();"
        "path.write_text('# moved\\n' + text.replace('zero_grad()', 'zero_grad(True)')); print(code_sha256(Model_8))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == code_sha256(Model_8)


def test_models_defined_elsewhere_are_refused():
    class Model_99(torch.nn.Sequential):
        pass

    with pytest.raises(ValueError, match=r"Model_99 must be defined in src/model.py"):
        code_sha256(Model_99)
