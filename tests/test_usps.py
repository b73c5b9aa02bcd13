"""Digits from outside MNIST are scored as they should be."""

import pytest
import torch

from src.checked import parsed
from src.evidence.results import Confidence, Unwarned, Usps
from src.learn.data import DataError
from src.studies import usps as program
from src.studies.usps import score
from tests.helpers import ENVIRONMENT, read


def test_score_counts_parts_and_confusions():
    labels = torch.tensor([3, 1, 4, 1, 5])
    answers = torch.tensor([3, 7, 4, 1, 5])
    correct, confusion = score(lambda images: torch.eye(20)[answers], torch.zeros(5, 1, 28, 28), labels, [2, 3])
    assert correct == [1, 3]
    assert confusion[1, 7] == 1
    assert confusion.trace() == 4
    assert confusion.sum() == 5


def test_usps_that_is_missing_is_said(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.usps.download_url", offline)
    with pytest.raises(DataError, match=r"USPS and it could not be downloaded .no network.: put its two files there"):
        program.usps()


CONFIDENCE = Confidence("Model_8", 1.0, {"softmax": 0.01}, Unwarned(2, 0), [2, 1], {"distance": [0, 0]})


def test_what_is_scored_is_kept(tmp_path, monkeypatch):
    """A program that was stopped goes on with the seeds that are missing, and measures confidence once."""
    labels, trained, measured = torch.tensor([1, 2]), [], []

    def network(seed):
        if len(trained) == 2:
            raise OSError("the disk is full")
        trained.append(seed)
        return lambda images: torch.eye(10)[labels]

    path = tmp_path / "usps.json"
    monkeypatch.setattr(program, "PATH", path)
    monkeypatch.setattr(program, "load_dataset", lambda: None)
    monkeypatch.setattr(program, "environment", lambda data: ENVIRONMENT)
    monkeypatch.setattr(program, "usps", lambda: (torch.zeros(2, 1, 28, 28), labels, [1, 1]))
    monkeypatch.setattr(program, "measure_confidence", lambda *_: measured.append(1) or CONFIDENCE)
    monkeypatch.setattr(program, "entrants", lambda data: {"Model_8": ("a study", (3, 4, 5), network)})
    monkeypatch.setattr(program, "read_usps", lambda: parsed(Usps, read(path)))
    with pytest.raises(SystemExit, match="the disk is full"):
        program.main()
    trained.pop()
    program.main()
    (arm,) = read(path)["arms"].values()
    assert [run["seed"] for run in arm["runs"]] == [3, 4, 5]
    assert (trained, measured) == ([3, 5], [1])
    assert arm["confusion"][1][1] == 3
