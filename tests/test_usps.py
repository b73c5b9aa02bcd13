"""Digits from outside MNIST are scored as they should be."""

import json
from types import SimpleNamespace

import pytest
import torch

from src.learn.data import DataError
from src.studies import outside
from src.studies.usps import score


def test_score_counts_parts_and_confusions():
    labels = torch.tensor([3, 1, 4, 1, 5])
    answers = torch.tensor([3, 7, 4, 1, 5])
    trained = SimpleNamespace(predict=lambda images: torch.eye(20)[answers])
    correct, confusion = score(trained, torch.zeros(5, 1, 28, 28), labels, [2, 3])
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
        outside.usps()


def test_what_is_scored_is_kept(tmp_path, monkeypatch):
    """A program that was stopped goes on with the seeds that are missing."""
    labels, trained = torch.tensor([1, 2]), []

    def network(seed):
        if len(trained) == 2:
            raise OSError("the disk is full")
        trained.append(seed)
        return SimpleNamespace(predict=lambda images: torch.eye(10)[labels])

    monkeypatch.setattr(outside, "PATH", tmp_path / "usps.json")
    monkeypatch.setattr(outside, "load_dataset", lambda: None)
    monkeypatch.setattr(outside, "environment", lambda data: {})
    monkeypatch.setattr(outside, "usps", lambda: (torch.zeros(2, 1, 28, 28), labels, [1, 1]))
    monkeypatch.setattr(outside, "measure_confidence", lambda *_: {"temperature": 1.0})
    monkeypatch.setattr(outside, "entrants", lambda data: {"Model_8": ("a study", (3, 4, 5), network)})
    with pytest.raises(SystemExit, match="the disk is full"):
        outside.main()
    trained.pop()
    outside.main()
    (arm,) = json.loads((tmp_path / "usps.json").read_text())["arms"].values()
    assert [run["seed"] for run in arm["runs"]] == [3, 4, 5]
    assert trained == [3, 5]
    assert arm["confusion"][1][1] == 3
