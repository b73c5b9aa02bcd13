"""Who leads the leaderboard: its categories by size and by epochs, and the best mean in each."""

from typing import NamedTuple

from src.evidence.intervals import Mean, mean_over_seeds
from src.evidence.schema import Arm, Evidence, Target, read_named, studies

PARAMETERS = (700, 1000, 2000, 4000, Target.max_parameters)  # at most, in at most 15 epochs
EPOCHS = (1, 2, 3, Target.max_epochs)  # at most, with at most 7,999 parameters
LEAST_SEEDS = 10
OUR_STUDIES = (
    "frontier",
    "model_8_confirmation",
    "model_9_confirmation",
    "one_epoch",
    "three_epochs_confirmation",
)  # no ablations, nor what was trained before its declaration: see rules


class Entry(NamedTuple):
    """An arm of a study on the test split that may be a record."""

    study: str
    name: str
    by: str
    arm: Arm

    @property
    def mean(self) -> Mean:
        """Of the final accuracies, with its interval."""
        return mean_over_seeds(list(self.arm.finals.values()))

    @property
    def counts(self) -> bool:
        """Whether there are seeds enough for a record."""
        return len(self.arm.runs) >= LEAST_SEEDS


def entry_of(study: Evidence) -> Entry:
    """Return the Entry with which a submitted study enters: its first arm."""
    (name, arm), *_ = study.arms.items()
    return Entry(study.name, name, study.by, arm)


def entries() -> list[Entry]:
    """Return the Entries of all of OUR_STUDIES, and of all studies of MNIST that somebody signed (`by`)."""
    ours = [Entry(name, arm, "", found) for name in OUR_STUDIES for arm, found in read_named(name).arms.items()]
    return ours + [
        entry_of(study) for study in studies() if study.by and (study.dataset, study.split) == ("MNIST", "test")
    ]


def qualifies(arm: Arm, parameters: int, epochs: int) -> bool:
    """Say whether an arm is within a size and a number of epochs; it need not have runs yet."""
    return arm.parameters <= parameters and arm.recipe.epochs <= epochs


def best(of: list[Entry], parameters: int, epochs: int) -> Entry | None:
    """Return the Entry with the highest mean within a size and a number of epochs; None where there is none.

    One with too few seeds stands only where there is no other.
    """
    return max(
        (e for e in of if qualifies(e.arm, parameters, epochs)), key=lambda e: (e.counts, e.mean.mean), default=None
    )


def categories() -> list[tuple[str, int, int]]:
    """Return what a record may be in: (name, parameters, epochs)."""
    sizes = [(f"{limit:,} parameters", limit, max(EPOCHS)) for limit in PARAMETERS]
    return sizes + [(f"{limit} epoch{'s' * (limit > 1)}", max(PARAMETERS), limit) for limit in EPOCHS[:-1]]
