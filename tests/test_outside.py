"""Digits from outside MNIST are scored as they should be."""

from types import SimpleNamespace

import pytest
import torch

from src.learn.data import DataError
from src.studies import outside
from src.studies.outside import score


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
