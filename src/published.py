"""What other people reached, from results/public.json, and how ours compares with it."""

import json

from src.evidence import accuracy
from src.files import RESULTS
from src.intervals import CHANCE

_TOLD = json.loads((RESULTS / "public.json").read_text(encoding="utf-8"))

# The best epoch's test accuracy that the write-up of each rebuilt model states, in percent.
REBUILT = {name: told["best"] for name, told in _TOLD["rebuilt"].items()}
# Public results under and near the budget: parameters and the best epoch of one run, in percent.
RUNS = [(told["parameters"], told["best"]) for told in _TOLD["runs"]]


def difference_to_published(name, entry):
    """Compare the best epoch of the first seed with the published one, in percent.

    Returns the best epoch, the published one, the difference, and whether chance explains it; None for a model of ours.
    """
    if name not in REBUILT:
        return None
    best = max(accuracy(epoch) for epoch in entry["runs"][0]["history"])
    difference = round(best - REBUILT[name], 2)
    return best, REBUILT[name], difference, abs(difference) <= CHANCE
