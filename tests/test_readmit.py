"""Evidence through a refactoring: carried over where no bit differs, refused where one does."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import copy_source

STUDY = """
TINY = Recipe(epochs=3, optimizer="adamw", rotation=9.0, ema=0.9)
STUDIES = {"tiny": Study({"one": (Model_8, TINY), "two": (variants.Model_8_ReLU, TINY)}, seeds=range(2))}
"""
MAKE = """
from src.data import load_mnist
from src.evidence import gather, write_evidence
from src.files import RESULTS
from src.runs import environment, fit
from src.studies import STUDIES

data, study = load_mnist(), STUDIES["tiny"]
runs = {arm: [fit(*parts[:1], data, parts[1], seed) for seed in study.seeds] for arm, parts in study.arms.items()}
write_evidence(gather({"study": "tiny"}, data.split, study.target, runs, environment(data)), RESULTS)
"""


class Checkout:
    """A repository of its own, with a small study."""

    def __init__(self, folder, data):
        self.folder = folder
        self.environment = os.environ | {"MNIST_ROOT": str(data), "OMP_NUM_THREADS": "1"}
        self.evidence = folder / "results" / "study_tiny.json"
        copy_source(folder)
        (folder / ".gitignore").write_text(".runs/\n__pycache__/\n")
        self.git("init", "--quiet")

    def git(self, *words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def edit(self, file, old, new):
        path = self.folder / "src" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def commit(self):
        self.git("add", ".")
        self.git("commit", "--quiet", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def python(self, *words):
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )

    def told(self):
        return json.loads(self.evidence.read_text())


@pytest.mark.slow
def test_evidence_through_a_refactoring(tmp_path, synthetic_root):
    checkout = Checkout(tmp_path, synthetic_root)
    checkout.edit("studies.py", "}  # fmt: skip\n", "}  # fmt: skip\n" + STUDY)
    checkout.edit("training.py", "train_loss += loss.item()", "train_loss += 2 * loss.item()")
    earlier = checkout.commit()
    checkout.edit("training.py", "train_loss += 2 * loss.item()", "train_loss += loss.item()")
    made = checkout.python("-c", MAKE)  # and so names the earlier commit, "-dirty"
    assert made.returncode == 0, made.stderr
    first = checkout.commit()
    before = checkout.told()
    assert before["environment"]["git_commit"] == f"{earlier}-dirty"

    # Another way to write the same: names, a function in a new file, a class with another name.
    checkout.edit("training.py", "train_correct", "hits")
    checkout.edit("training.py", '"hits":', '"train_correct":')
    checkout.edit("variants.py", "class Model_8_ReLU", "class Model_8_Rectified")
    checkout.edit("studies.py", "variants.Model_8_ReLU", "variants.Model_8_Rectified")
    dirty = checkout.python("-m", "src.readmit")
    assert dirty.returncode == 1
    assert "commit it first" in dirty.stderr
    second = checkout.commit()
    done = checkout.python("-m", "src.readmit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal to the last bit over 10 steps") == 2  # two epochs of 600 images, 128 a step
    after = checkout.told()
    for arm, entry in after["models"].items():
        was = before["models"][arm]
        assert entry["code_sha256"] != was["code_sha256"]
        (proof,) = entry.pop("readmitted")
        assert proof["from_code_sha256"] == was["code_sha256"]
        assert (proof["at_commit"], proof["by_commit"]) == (first, second)
        assert "float32" in proof["precisions"]
        assert entry["runs"] == was["runs"]
    assert after["models"]["two"]["model"] == "Model_8_Rectified"
    assert checkout.git("worktree", "list").count("\n") == 0  # the second checkout is gone
    again = checkout.python("-m", "src.readmit")
    assert (again.returncode, again.stdout) == (0, "All evidence is of today's code.\n")

    checkout.edit("images.py", "MEAN, STD = 0.1307, 0.3081", "MEAN, STD = 0.130701, 0.3081")
    checkout.commit()
    kept = checkout.evidence.read_bytes()
    refused = checkout.python("-m", "src.readmit")
    assert refused.returncode == 1
    assert "Nothing is changed. study tiny, one, by the code of" in refused.stderr
    assert "and by today's: train_loss of epoch 1 in" in refused.stderr
    assert checkout.evidence.read_bytes() == kept
