"""Where a run comes from: the commit, the environment, the code that decides it; and where a good copy of a file is."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from src.evidence import git, provenance
from src.evidence.git import remedy
from src.evidence.provenance import differing, environment, identity, meaning
from src.evidence.schema import read_evidence, write_evidence
from src.learn.data import load_dataset
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.learn.training import Job
from src.model import Model_5, Model_8
from tests.helpers import ENVIRONMENT, HELD, copy_source, evidence

RECIPE = Recipe(epochs=2, batch_size=100)

# ---------------------------------------------------------------- the commit and the cure


SAY_COMMIT = [sys.executable, "-c", "from src.evidence.git import git_commit; print(git_commit())"]


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


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a folder whose files are committed, in place of the checkout."""
    write_evidence(evidence(Model_7=[HELD]), tmp_path / "results" / "Step1.json")
    commit_all(tmp_path)
    monkeypatch.setattr(git, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("damage", ["", "{}", '{"schema": 4, "seeds": [0], "arms": 5}', None])
def test_a_damaged_file_that_is_committed_can_be_restored(repository, damage):
    """The sentence holds a command that brings it back."""
    path = repository / "results" / "Step1.json"
    before = path.read_text()
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    with pytest.raises(ValueError, match=r"^Step1.json\b.*`git restore results/Step1.json`") as error:
        read_evidence(path)
    command = re.search("`(.*)`", str(error.value))[1]
    subprocess.run(command.split(), cwd=repository, check=True)
    assert path.read_text() == before


def test_one_that_is_not_committed_cannot(repository, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "Step1.json"
    for path in (repository / "results" / "new.json", elsewhere):
        assert remedy(path) == "correct the name"  # there is no such file
        path.write_text("{}")
        with pytest.raises(ValueError, match=rf"^{path.name}\b.*correct or delete it$") as error:
            read_evidence(path)
        assert "git" not in str(error.value)


# ---------------------------------------------------------------- the environment


def test_the_environment_is_of_this_machine(data):
    found = environment(data)
    assert (found.device, found.threads, found.data_sha256) == ("cpu", torch.get_num_threads(), data.sha256)
    assert found.python.split(".")[:2] == [str(part) for part in sys.version_info[:2]]
    assert torch.__version__ == found.torch


def test_what_differs_is_named_but_not_the_commit():
    assert differing(ENVIRONMENT, ENVIRONMENT) == ""
    assert differing(ENVIRONMENT, replace(ENVIRONMENT, git_commit="a" * 40)) == ""
    assert differing(ENVIRONMENT, replace(ENVIRONMENT, threads=2, git_commit="a" * 40)) == "threads 1, here 2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("python", "2.7.18"), ("torch", "9.9.9"), ("torchvision", "nightly"), ("device", "tpu"), ("processor", ""),
        ("precision", "int8"), ("threads", 0), ("data_sha256", "05ab"), ("git_commit", "main"),
    ],
)  # fmt: skip
def test_an_environment_that_cannot_be_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} .*{value}"):
        replace(ENVIRONMENT, **{name: value})


# ---------------------------------------------------------------- what decides a run


class Adding(torch.nn.Module):
    def forward(self, x):
        return x + x


class Subtracting(torch.nn.Module):
    def forward(self, x):
        return x - x


Subtracting.__name__ = "Adding"  # as torch prints it, it is the same


def test_any_difference_is_another_run(data, synthetic_root):
    job = Job(Model_8, data, RECIPE, 0)
    known = identity(job)
    assert known == identity(replace(job, recipe=Recipe(epochs=2, batch_size=100, rotation=0.0)))
    statistics = replace(data.statistics, mean=data.statistics.mean + 1e-4)
    others = {
        identity(replace(job, seed=1)),
        identity(replace(job, recipe=replace(RECIPE, lr=0.02))),
        identity(replace(job, data=load_dataset(synthetic_root, train_limit=500))),
        identity(replace(job, data=replace(data, statistics=statistics))),
        identity(replace(job, network=Model_5)),
        identity(replace(job, network=named("Model_8_Widths(8, 8, 16, 16, 16)"))),
    }
    assert len(others - {known}) == 6
    assert identity(replace(job, network=Adding)) != identity(replace(job, network=Subtracting))


def test_identity_leaves_the_random_stream_alone(data):
    before = torch.get_rng_state()
    identity(Job(Model_8, data, RECIPE, 0))
    assert torch.equal(torch.get_rng_state(), before)


SOURCE = '''
"""What it is for."""

class Loop:
    """One."""

    def step(self, lr=0.1):
        """Make a step."""
        return "text", lr * 2
'''


def test_meaning_is_of_what_is_computed():
    same = (
        SOURCE.replace("Make a step.", "Go on."),
        SOURCE.replace("What it is for.", "Something else."),
        SOURCE.replace("One.", "Two."),
        SOURCE.replace("        return", "        # Twice as fast.\n        return"),
        SOURCE.replace('"text", lr * 2', "('text', (lr * 2))"),
        "\n".join(line for line in SOURCE.splitlines() if not line.strip().startswith('"""')),
    )
    other = (
        SOURCE.replace("lr * 2", "lr * 3"),
        SOURCE.replace("lr=0.1", "lr=0.2"),
        SOURCE.replace('"text"', '"Text"'),
        SOURCE.replace("return", "return 1,"),
        SOURCE.replace("step(", "leap("),
    )
    assert {meaning(source) for source in same} == {meaning(SOURCE)}
    assert len({meaning(source) for source in (SOURCE, *other)}) == 6


def test_a_run_is_known_by_its_code_and_not_by_comments(data, tmp_path, monkeypatch):
    """Edit a copy of src/learn/, whose files decide a run, all but what data, network and recipe say themselves."""
    learn, job = tmp_path / "learn", Job(Model_8, data, RECIPE, 0)
    shutil.copytree(provenance.LEARN, learn)
    monkeypatch.setattr(provenance, "LEARN", learn)
    before = identity(job)

    def after(file, *change):
        path = learn / file
        source = path.read_text(encoding="utf-8")
        edited = source.replace(*change, 1)
        assert edited != source
        path.write_text(edited, encoding="utf-8")
        monkeypatch.setattr(provenance, "CODE", provenance._code())
        path.write_text(source, encoding="utf-8")
        return identity(job)

    assert after("training.py", '"""The training loop', '"""The loop') == before
    assert (
        after("training.py", "losses, sizes, correct = [], [], 0", "losses, sizes, correct = [], [], 0  # none yet")
        == before
    )
    assert after("data.py", "VALIDATION_IMAGES = 10_000", "VALIDATION_IMAGES = 9_000") == before
    for file, *change in (
        ("training.py", "state.step += 1", "state.step += 2"),
        ("schedules.py", "(step + 1) / warmup", "step / warmup"),
        ("images.py", "MAX_SHEAR = 1.0", "MAX_SHEAR = 2.0"),
        ("evaluation.py", "model.eval()", "model.train()"),
    ):
        assert after(file, *change) != before, file
