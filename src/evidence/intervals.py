"""What a few runs allow to be said: intervals of a mean over seeds and of a rate of seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy import stats


class Mean(NamedTuple):
    """Hold a mean over seeds, the standard deviation of one seed, and by Student's t the mean's 95 % interval and p.

    p is the chance of a mean so far from zero if the true one were zero: of use where the values are differences.
    """

    mean: float
    sd: float
    low: float
    high: float
    p: float


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """Return the Mean of one value a seed. Raises ValueError for fewer than two: they have no spread."""
    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 seeds, got {len(values)}")
    mean, sd = statistics.mean(values), statistics.stdev(values)
    error, freedom = sd / math.sqrt(len(values)), len(values) - 1
    half = stats.t.ppf(0.975, freedom) * error
    p = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
    return Mean(mean, sd, mean - half, mean + half, p)


def paired_difference(values: dict[int, float], baseline: dict[int, float]) -> Mean:
    """Return the Mean of `values` minus `baseline`, both {seed: value}, over the seeds that they share."""
    return mean_over_seeds([values[seed] - baseline[seed] for seed in values if seed in baseline])


def fishers_p(passed: int, seeds: int, others_passed: int, others: int) -> float:
    """Return the two-sided p of Fisher's exact test that two rates of seeds that pass are the same."""
    return stats.fisher_exact([[passed, seeds - passed], [others_passed, others - others_passed]]).pvalue


def pass_rate_interval(passed: int, seeds: int) -> tuple[float, float]:
    """Return the 95 % interval (Clopper-Pearson) of the rate of seeds that pass, as two fractions."""
    return tuple(stats.binomtest(passed, seeds).proportion_ci(method="exact"))
