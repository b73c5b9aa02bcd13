"""Confidence on cases that are worked out by hand."""

import pytest
import torch

from src.studies.calibration import expected_calibration_error, fit_temperature, risk_coverage


def test_temperature_takes_back_a_factor():
    """Labels drawn from the softmax of logits are likeliest under them, so three times as large ones need a third."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 10, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.03)


def test_calibration_error_of_two_bins():
    """Of two answers that are 90 % sure one is right: 0.4 off. One that is 60 % sure is right: 0.4 off, as well."""
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(probabilities, torch.tensor([0, 1, 1])) == pytest.approx(0.4)
    assert expected_calibration_error(probabilities, torch.tensor([0, 0, 1])) == pytest.approx((0.2 + 0.4) / 3)


def test_the_surest_answers_first():
    scores, right = torch.tensor([1.0, 4.0, 3.0, 2.0]), torch.tensor([False, True, False, True])
    assert risk_coverage(scores, right, [1, 2, 3, 4]) == [0, 1, 1, 2]
