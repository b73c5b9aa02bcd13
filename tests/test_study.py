"""A study as a program: killed in the middle, started again, with a run in it that fails; and what it refuses."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from src.data import ROOT
from src.study import _seeds

STUDY = """
from src.model import Model_5, Model_8
from src.training import Recipe

RECIPE = Recipe(epochs=6, batch_size=50)
STUDIES["test"] = Study(
    {"narrow": (Model_8, RECIPE), "too fast": (Model_8, Recipe(epochs=6, lr=1e30)), "biased": (Model_5, RECIPE)},
    seeds=(0, 1, 2),
)
STUDIES["whole"] = Study({"narrow": (Model_8, RECIPE), "biased": (Model_5, RECIPE)}, seeds=(0, 1, 2))
"""


@pytest.fixture
def command(tmp_path, synthetic_root):
    """Return a function that starts a study in a copy of the checkout, which has studies of small runs.

    The copy takes the synthetic digits for MNIST: else it would write no evidence of them.
    """
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    data = tmp_path / "src" / "data.py"
    assert "official=sums == SHA256," in data.read_text()
    data.write_text(data.read_text().replace("official=sums == SHA256,", "official=True,"))
    with (tmp_path / "src" / "studies.py").open("a") as studies:
        studies.write(STUDY)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["MNIST_ROOT"] = str(synthetic_root)

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "src.study", *arguments],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def test_a_killed_study_goes_on_and_a_failed_run_does_not_stop_it(command, tmp_path):
    first = command("test")
    while not (before := {path: path.stat().st_mtime_ns for path in tmp_path.glob(".runs/*.pt")}):
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert len(before) < 6

    second = command("test")
    shown, errors = second.communicate(timeout=120)
    assert second.returncode == 1
    assert "3 runs failed. Start the study again" in errors
    assert "FAILED: too fast, seed 1: FloatingPointError: the loss is" in shown
    assert "[6 of 9 done, 0 running, 3 failed]" in shown
    for path, finished in before.items():
        assert path.stat().st_mtime_ns == finished  # not trained again

    assert not (tmp_path / "results").exists()  # a study with a hole in it is no evidence
    content = json.loads((tmp_path / ".runs" / "trial" / "study_test.json").read_text())
    assert {arm: [run["seed"] for run in entry["runs"]] for arm, entry in content["models"].items()} == {
        "narrow": [0, 1, 2],
        "biased": [0, 1, 2],
    }
    assert content["models"]["biased"]["model"] == "Model_5"
    assert content["environment"]["threads"] == 1


@pytest.mark.slow
def test_a_whole_study_is_evidence_and_a_part_of_it_a_trial(command, tmp_path):
    part = command("whole", "--seeds", "0")
    shown, errors = part.communicate(timeout=120)
    assert part.returncode == 0, errors
    assert "Written: .runs/trial/study_whole.json" in shown
    assert not (tmp_path / "results").exists()
    trial = json.loads((tmp_path / ".runs" / "trial" / "study_whole.json").read_text())

    whole = command("whole")
    shown, errors = whole.communicate(timeout=120)
    assert whole.returncode == 0, errors
    assert "Written: results/study_whole.json" in shown
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"study_whole.json", "study_whole.png"}
    told = json.loads((tmp_path / "results" / "study_whole.json").read_text())
    for arm, entry in told["models"].items():
        assert [run["seed"] for run in entry["runs"]] == [0, 1, 2]
        assert entry["runs"][0] == trial["models"][arm]["runs"][0]  # not trained again


@pytest.mark.parametrize(("text", "seeds"), [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("0,2,5-7", (0, 2, 5, 6, 7))])
def test_seeds(text, seeds):
    assert _seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "3-1", "a", "1-", "-1", "0-2,2"])
def test_seeds_that_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"seeds must look like|a seed stands twice"):
        _seeds(text)
