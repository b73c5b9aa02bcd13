"""The files of results/ beside evidence: what was published, digits from USPS, times, a GPU; with their readers."""

import functools
from typing import Annotated

from pydantic import Field, model_validator

from src.checked import (
    Count,
    Fraction,
    NotNegative,
    Percent,
    Positive,
    Seed,
    Several,
    checked,
    duplicates,
)
from src.evidence.provenance import Environment
from src.evidence.schema import Target
from src.evidence.storage import RESULTS, read_checked

COMMON_LOOP = "the assignment's common loop"  # what benchmark.json calls that program
Correct = Annotated[int, Field(ge=0, le=10_000)]  # of the test images


# ---------------------------------------------------------------- published


@checked
class RebuiltModel:
    """A published model that is one of ours: which one, and the best epoch that its write-up states, in percent."""

    of: str
    best: Percent


@checked
class PublishedRun:
    """One run that somebody published.

    `of` is the repository, `url` the log in it; `best`, `final` and `accuracies` are the test accuracies, in percent,
    of the best epoch, the last one and all. What a mere write-up leaves open is None.
    """

    of: str
    url: str
    parameters: Positive
    epochs: Positive | None
    best: Percent
    final: Percent | None
    accuracies: Several[Percent] | None

    @property
    def keeps_to_the_assignment(self) -> bool:
        """Say whether its log shows fewer than 8,000 parameters and at most 15 epochs."""
        ours = self.parameters <= Target.max_parameters
        return ours and self.accuracies is not None and len(self.accuracies) <= Target.max_epochs


@checked
class Published:
    """What other people reached: the models rebuilt here, by our name, and runs with fewer than 10,000 parameters.

    Read by hand and program from the logs that public repositories show; no program here can repeat that.
    """

    attempts: dict[str, str]
    rebuilt: dict[str, RebuiltModel]
    runs: Several[PublishedRun]


@functools.cache
def read_published() -> Published:
    """Read results/published.json. Raises ValueError for a damaged file."""
    return read_checked(Published, RESULTS / "published.json")


def pareto_front(runs: list[PublishedRun]) -> list[PublishedRun]:
    """Return the runs whose best epoch no run of at most as many parameters exceeds, in order of their size."""
    best, found = 0.0, []
    for run in sorted(runs, key=lambda run: (run.parameters, -run.best)):
        if run.best > best:
            best = run.best
            found.append(run)
    return found


# ---------------------------------------------------------------- USPS


@checked
class UspsImages:
    """How many images each part of USPS has; no network here was trained on either."""

    train: Positive
    test: Positive


@checked
class UspsRun:
    """How many images of each part the network of a seed reads."""

    seed: Seed
    train: Count
    test: Count


@checked
class UspsArm:
    """A network on USPS: where it comes from, its runs, and the confusion of all of them.

    `confusion` counts in row i and column j how often digit i was read as j.
    """

    source: str
    environment: Environment
    runs: Several[UspsRun]
    confusion: Several[Several[Count]]


@checked
class Unwarned:
    """How many answers come without a warning, and how many of them are wrong."""

    answered: Count
    wrong: Count


@checked
class Confidence:
    """How far one network can be trusted where it is sure: see src/studies/calibration.py.

    `answered` counts digits; `wrong` has for each way of sorting them how many of so many are wrong.
    """

    network: str
    temperature: Annotated[float, Field(gt=0)]
    expected_calibration_error: dict[str, Fraction]
    without_warning: Unwarned
    answered: Several[Count]
    wrong: dict[str, Several[Count]]


@checked
class Usps:
    """What results/usps.json says: how networks read USPS, and how far one of them is right where it is sure."""

    what: str
    rule: str
    images: UspsImages
    confidence: Confidence
    arms: dict[str, UspsArm]

    @model_validator(mode="after")
    def _adds_up(self):
        images = self.images.train + self.images.test
        for name, arm in self.arms.items():
            if again := duplicates(run.seed for run in arm.runs):
                raise ValueError(f"arms.{name} has seed {again[0]} twice: leave one out")
            if {len(row) for row in arm.confusion} != {len(arm.confusion)}:
                raise ValueError(f"arms.{name}.confusion must have as many columns as rows")
            read = sum(run.train + run.test for run in arm.runs)
            if any(run.train > self.images.train or run.test > self.images.test for run in arm.runs):
                raise ValueError(f"arms.{name} reads more than the {images} images there are")
            cells = sum(map(sum, arm.confusion)), sum(row[at] for at, row in enumerate(arm.confusion))
            if cells != (images * len(arm.runs), read):
                raise ValueError(f"arms.{name}.confusion must add up to {images * len(arm.runs)}, {read} of them right")
        return self

    def accuracies(self) -> dict[str, dict[str, list[float]]]:
        """Return each network's accuracy in percent on USPS, whole ("all") and its "test" part, one value a seed."""
        sizes = self.images
        return {
            name: {
                "all": [100 * (run.train + run.test) / (sizes.train + sizes.test) for run in arm.runs],
                "test": [100 * run.test / sizes.test for run in arm.runs],
            }
            for name, arm in self.arms.items()
        }


def read_usps() -> Usps:
    """Read results/usps.json. Raises ValueError for a damaged file."""
    return read_checked(Usps, RESULTS / "usps.json")


# ---------------------------------------------------------------- times


@checked
class Timed:
    """A training that was timed.

    `epochs` holds the seconds of each epoch, `correct` how many of the 10,000 test images are read after it, `runs` the
    seconds of every repetition. The memory includes that of the largest data worker.
    """

    parameters: Positive
    peak_memory_mib: Positive
    epochs: Annotated[Several[NotNegative], Field(min_length=1)]
    correct: Several[Correct]
    runs: Several[NotNegative] = ()

    @model_validator(mode="after")
    def _one_count_an_epoch(self):
        if len(self.correct) != len(self.epochs):
            raise ValueError(f"correct has {len(self.correct)} epochs, epochs has {len(self.epochs)}")
        return self

    @property
    def seconds(self) -> float:
        """Of all epochs."""
        return sum(self.epochs)

    def seconds_until(self, correct: int) -> float | None:
        """Return the seconds until so many test images are read; None where that never happens."""
        reached = (sum(self.epochs[: at + 1]) for at, count in enumerate(self.correct) if count >= correct)
        return next(reached, None)


@checked
class Benchmark:
    """What results/benchmark.json says: each program by its name, Timed."""

    environment: Environment
    programs: dict[str, Timed]


def read_benchmark() -> Benchmark:
    """Read results/benchmark.json. Raises ValueError for a damaged file."""
    return read_checked(Benchmark, RESULTS / "benchmark.json")


# ---------------------------------------------------------------- a GPU


@checked
class GpuModel:
    """How many test images a model read after each epoch on a GPU, and how long an epoch took."""

    correct: Several[Correct]
    seconds_an_epoch: NotNegative


@checked
class GpuStep:
    """How long a notebook took on a GPU, and its models by name."""

    seconds: NotNegative
    models: dict[str, GpuModel]


@checked
class Gpu:
    """What results/gpu.json says: the three notebooks on a GPU, gathered from the evidence that they wrote there."""

    what: str
    environment: Environment
    steps: dict[str, GpuStep]


def read_gpu() -> Gpu:
    """Read results/gpu.json. Raises ValueError for a damaged file."""
    return read_checked(Gpu, RESULTS / "gpu.json")
