"""How far the confidence of a network can be trusted."""

import math

import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

BINS = 15  # of confidence, as in Guo et al. 2017


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return what to divide logits (N, classes) by for the least cross-entropy with labels (N,): Guo et al. 2017."""
    found = minimize_scalar(
        lambda power: F.cross_entropy(logits.double() / math.exp(power), labels).item(), bounds=(-3, 3)
    )
    return math.exp(found.x)


def expected_calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """Return by how much accuracy and mean confidence differ, in bins of equal width, averaged over all answers."""
    confidence, answers = probabilities.double().max(1)
    surplus = confidence - (answers == labels).double()
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    return torch.zeros(BINS, dtype=surplus.dtype).index_add(0, bins, surplus).abs().sum().item() / len(labels)


def risk_coverage(scores: torch.Tensor, right: torch.Tensor, answered: list[int]) -> list[int]:
    """Return how many answers are wrong of so many that score highest.

    `scores` are floats (N,), `right` booleans (N,), `answered` a list of counts from 1 to N.
    """
    wrong = (~right[scores.argsort(descending=True, stable=True)]).cumsum(0)
    return [int(wrong[count - 1]) for count in answered]
