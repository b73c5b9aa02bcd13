"""Digits from outside MNIST are scored as they should be."""

from types import SimpleNamespace

import torch

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
