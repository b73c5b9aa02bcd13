"""The statistics on cases that are worked out by hand, have a closed form, or are Student's own."""

import pytest

from src.evidence.intervals import (
    fishers_p,
    mean_over_seeds,
    paired_difference,
    pass_rate_interval,
)


def test_pass_rate_interval_in_the_cases_that_have_a_closed_form():
    """When all or none of n pass, Clopper and Pearson's bound is the rate r with r^n (or (1 - r)^n) = 0.025."""
    assert pass_rate_interval(30, 30) == (pytest.approx(0.025 ** (1 / 30)), 1.0)
    assert pass_rate_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_paired_difference_on_students_own_data():
    """Student (1908), hours of extra sleep under two drugs, ten patients: 1.58, 0.7001 to 2.4599, p 0.002833."""
    first = dict(enumerate((0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)))
    second = dict(enumerate((1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)))
    difference = paired_difference(second, first)
    assert difference.mean == pytest.approx(1.58)
    assert difference.sd == pytest.approx(1.229995, abs=1e-6)
    assert (difference.low, difference.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert difference.p == pytest.approx(0.00283289, abs=1e-8)
    assert paired_difference(second | {99: 100.0}, first) == difference  # a seed that only one of them has


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="an interval needs at least 2 seeds, got 1"):
        mean_over_seeds([99.5])


def test_fishers_exact_test():
    """The lady tasting tea, 3 of 4 against 1 of 4: (16 + 1) * 2 / 70."""
    assert fishers_p(3, 4, 1, 4) == pytest.approx(34 / 70)
