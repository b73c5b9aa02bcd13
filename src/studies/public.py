"""What other people reached, from results/public.json."""

import functools
import json
from typing import NamedTuple

from src.evidence.storage import RESULTS


@functools.cache
def _public():
    """Return what `rebuilt` and `runs` return."""
    path = RESULTS / "public.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        best = {name: model["best"] for name, model in found["rebuilt"].items()}
        return best, [PublicRun(**run) for run in found["runs"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is missing or damaged: restore it from the repository") from None


def rebuilt():
    """Return the best epoch's test accuracy that the write-up of each rebuilt model states, in percent, by model."""
    return _public()[0]


class PublicRun(NamedTuple):
    """One run that somebody published.

    `of` is the repository, `url` the log in it; `best`, `final` and `accuracies` are the test accuracies, in percent,
    of the best epoch, the last one and all. What a mere write-up leaves open is None.
    """

    of: str
    url: str
    parameters: int
    epochs: int | None
    best: float
    final: float | None
    accuracies: list | None

    @property
    def keeps_to_the_assignment(self):
        """Say whether its log shows fewer than 8,000 parameters and at most 15 epochs."""
        return self.parameters < 8000 and self.accuracies is not None and len(self.accuracies) <= 15


def runs():
    """Return the public runs with fewer than 10,000 parameters that were found and read, in order of their size."""
    return _public()[1]


def pareto_front(public_runs):
    """Return the runs whose best epoch no run of at most as many parameters exceeds, in order of their size."""
    best, found = 0.0, []
    for run in sorted(public_runs, key=lambda run: (run.parameters, -run.best)):
        if run.best > best:
            best = run.best
            found.append(run)
    return found
