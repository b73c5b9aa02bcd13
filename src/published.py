"""What other people reached, from results/public.json, and how ours compares with it."""

import functools
import json

from src.evidence import accuracy
from src.files import RESULTS
from src.intervals import CHANCE


@functools.cache
def _public():
    path = RESULTS / "public.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{path} is missing or not JSON: restore it from the repository") from None


def rebuilt():
    """Return the best epoch's test accuracy that the write-up of each rebuilt model states, in percent, by model."""
    return {name: model["best"] for name, model in _public()["rebuilt"].items()}


def runs():
    """Return public results under and near the budget: (parameters, best epoch of one run in percent)."""
    return [(run["parameters"], run["best"]) for run in _public()["runs"]]


def difference_to_published(name, entry):
    """Compare the best epoch of the first seed with the published one, in percent.

    Returns the best epoch, the published one, the difference, and whether chance explains it; None for a model of ours.
    """
    if name not in rebuilt():
        return None
    best = max(accuracy(epoch) for epoch in entry["runs"][0]["history"])
    difference = round(best - rebuilt()[name], 2)
    return best, rebuilt()[name], difference, abs(difference) <= CHANCE
