"""Evidence: what was asked, of which arms and seeds, and what came of it; read, written, and computed with.

An evidence file is a program, too: it names each arm's network and recipe, the seeds, the split and the target, and
`python -m src.studies.run` repeats it from that. One without runs declares a study that is still to be run.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from src.checked import Positive, Seed, Several, checked, duplicates
from src.evidence.provenance import Environment
from src.evidence.storage import RESULTS, read_checked, write_json
from src.learn.data import DATASETS
from src.learn.evaluation import Score
from src.learn.networks import network_facts
from src.learn.recipe import Recipe
from src.learn.training import EpochMetrics

SCHEMA = 4
STEPS = (1, 2, 3)


def _can_be_built(name):
    network_facts(name)
    return name


NetworkName = Annotated[str, AfterValidator(_can_be_built)]  # a name in src/learn/networks.py


@checked
class Target:
    """What each run has to reach: `accuracy` (a fraction) in every one of the `last_epochs`, within a budget.

    Files say only what differs from this default.
    """

    accuracy: Annotated[float, Field(gt=0, le=1)] = 0.994
    last_epochs: Positive = 5
    max_epochs: Positive = 15
    max_parameters: Positive | None = 7999

    @property
    def percent(self) -> float:
        """The accuracy in percent, as all others are."""
        return 100 * self.accuracy

    def met_by(self, run: "Run", parameters: int) -> bool:
        """Return whether a run meets the target; one shorter than `last_epochs` does not."""
        if not self.last_epochs <= len(run.history) <= self.max_epochs:
            return False
        if self.max_parameters is not None and parameters > self.max_parameters:
            return False
        return all(e.eval_correct >= self.accuracy * e.eval_total for e in run.history[-self.last_epochs :])

    def __str__(self):
        budget = "any number of" if self.max_parameters is None else f"at most {self.max_parameters:,}"
        which = "the final epoch" if self.last_epochs == 1 else f"each of the last {self.last_epochs} epochs"
        return f"at least {self.percent:.2f} % in {which}, at most {self.max_epochs} epochs, {budget} parameters"


@checked
class Run:
    """One training: its seed, EpochMetrics for each epoch, the environment that it was made in.

    `train_score` is the final network's Score on the training images in evaluation mode, preprocessed and not
    augmented; None where it was not measured.
    """

    seed: Seed
    history: Annotated[Several[EpochMetrics], Field(min_length=1)]
    environment: Environment
    train_score: Score | None = None

    @model_validator(mode="after")
    def _one_history(self):
        if [epoch.epoch for epoch in self.history] != list(range(1, len(self.history) + 1)):
            raise ValueError(f"the epochs of seed {self.seed} must be 1, 2, 3 and so on")
        if len({(epoch.train_total, epoch.eval_total) for epoch in self.history}) > 1:
            raise ValueError(f"the epochs of seed {self.seed} must have the same train_total and eval_total")
        return self

    @property
    def final(self) -> float:
        """The accuracy of the final epoch, in percent."""
        return self.history[-1].accuracy


@checked
class Arm:
    """A network, by its name in src/learn/networks.py, trained by one recipe from several seeds.

    `fingerprint` is what a tiny training by that recipe gives: see src/evidence/fingerprint.py.
    """

    network: NetworkName
    recipe: Recipe
    runs: Several[Run] = ()
    fingerprint: Several[float] = ()

    @model_validator(mode="after")
    def _agrees_with_its_recipe(self):
        if again := duplicates(run.seed for run in self.runs):
            raise ValueError(f"seed {again[0]} stands there twice: leave one out")
        epochs = self.recipe.epochs
        for run in self.runs:
            if len(run.history) != epochs:
                raise ValueError(f"seed {run.seed} has {len(run.history)} epochs, its recipe {epochs}")
        if self.fingerprint and len(self.fingerprint) != 3 * epochs + 1:
            raise ValueError(f"fingerprint must have {3 * epochs + 1} numbers, got {len(self.fingerprint)}")
        return self

    @property
    def parameters(self) -> int:
        """How many the network has."""
        return network_facts(self.network)[0]

    @property
    def receptive_field(self) -> tuple:
        """The network's receptive field and that before its global average, in pixels; None where not known."""
        return network_facts(self.network)[1:]

    @property
    def finals(self) -> dict[int, float]:
        """The accuracy of each run's final epoch in percent, by seed."""
        return {run.seed: run.final for run in self.runs}

    @property
    def train_accuracies(self) -> dict[int, float]:
        """The final accuracy on training images in evaluation mode in percent, by seed, where it was measured."""
        return {run.seed: run.train_score.accuracy for run in self.runs if run.train_score}

    def counted(self, target: Target) -> dict[int, list[float]]:
        """Return the accuracies in percent of the epochs that the target asks for, by seed."""
        return {run.seed: [epoch.accuracy for epoch in run.history[-target.last_epochs :]] for run in self.runs}

    def lowest_by_seed(self, target: Target) -> dict[int, float]:
        """Return each run's lowest accuracy, in percent, of the epochs that the target asks for, by seed."""
        return {seed: min(accuracies) for seed, accuracies in self.counted(target).items()}

    def lowest(self, target: Target) -> float:
        """Return the lowest accuracy, in percent, of all epochs that the target asks for."""
        return min(self.lowest_by_seed(target).values())

    def holding(self, target: Target) -> int:
        """Return how many runs meet the target."""
        return sum(target.met_by(run, self.parameters) for run in self.runs)


@checked
class Choices:
    """The values among which a search chooses."""

    choices: Annotated[Several[str | int | float | bool], Field(min_length=1)]


@checked
class Search:
    """What a search draws its arms from: see src/studies/search.py."""

    network: NetworkName
    recipe: Recipe
    space: Annotated[dict[str, Choices | Several[float | Literal["log"]]], Field(min_length=1)]
    trials: Positive
    sampler_seed: Seed


@checked
class Evidence:
    """What a file of results/ says. `name` is the file's, `arms` maps a name to each Arm.

    `dataset` is a name of DATASETS. A study on the validation split has a `question`, and the arm that was `chosen`.
    `search` holds what a search drew its arms from. `by` names who made a study, with a link, where it was submitted.
    """

    name: Annotated[str, Field(min_length=1)]
    arms: dict[str, Arm]
    seeds: Annotated[Several[Seed], Field(min_length=1)]
    split: Literal["test", "validation"] = "test"
    target: Target = Target()
    question: str = ""
    chosen: str = ""
    search: Search | None = None
    by: str = ""
    dataset: Literal[tuple(DATASETS)] = "MNIST"

    @model_validator(mode="after")
    def _agrees_with_itself(self):
        if not (self.arms or self.search):
            raise ValueError("arms must name at least one network and its recipe")
        if again := duplicates(self.seeds):
            raise ValueError(f"seeds has {again[0]} twice: leave one out")
        if self.chosen and self.chosen not in self.arms:
            raise ValueError(f"chosen must be one of the arms {', '.join(self.arms)}, got {self.chosen!r}")
        for name, arm in self.arms.items():
            if strangers := {run.seed for run in arm.runs} - set(self.seeds):
                raise ValueError(f"arms.{name} has runs of seeds {sorted(strangers)}, which seeds does not declare")
        return self

    @property
    def complete(self) -> bool:
        """Whether every arm has a run of every seed."""
        return bool(self.arms) and all(len(arm.runs) == len(self.seeds) for arm in self.arms.values())


# ---------------------------------------------------------------- files


def path_to(name: str, folder: str | Path = RESULTS) -> Path:
    """Return where a step's evidence, "Step1", or a study's lies in results/ or another folder."""
    return Path(folder) / f"{name}.json" if name.startswith("Step") else Path(folder) / "studies" / f"{name}.json"


def read_named(name: str, folder: str | Path = RESULTS) -> Evidence:
    """Read the evidence of a step, "Step1", or of a study. Raises ValueError as `read_evidence` does."""
    return read_evidence(path_to(name, folder))


def studies(folder: str | Path = RESULTS, kind: str = "studies") -> list[Evidence]:
    """Read all evidence in results/studies/ that has runs, or with "search" in results/search/, in order of name."""
    found = (read_evidence(path) for path in sorted((Path(folder) / kind).glob("*.json")))
    return [evidence for evidence in found if evidence.complete]


def steps(folder: str | Path = RESULTS) -> list[Evidence]:
    """Read the evidence of the steps that a folder has any of."""
    return [read_named(f"Step{k}", folder) for k in STEPS if path_to(f"Step{k}", folder).exists()]


def read_evidence(path: str | Path) -> Evidence:
    """Read an evidence file. Raises ValueError that names the file, what is wrong in it, and what to do."""

    def prepared(content):
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA or "name" in content:
            raise ValueError(f"it is not evidence of schema {SCHEMA}")
        _spread(content.pop("environment", {}), content.get("arms"))
        return content | {"name": Path(path).stem}

    return read_checked(Evidence, path, prepared)


def _spread(shared, arms):
    """Give each run the environment that a file states once; what is not of that form is refused later."""
    for arm in arms.values() if isinstance(arms, dict) else ():
        runs = arm.get("runs") if isinstance(arm, dict) else None
        for run in runs if isinstance(runs, list) else ():
            if isinstance(run, dict) and isinstance(shared, dict) and isinstance(run.get("environment", {}), dict):
                run["environment"] = shared | run.get("environment", {})


def write_evidence(evidence: Evidence, path: str | Path) -> Path:
    """Write evidence whole or not at all, one epoch a line, and return its path."""
    environments = [asdict(run.environment) for arm in evidence.arms.values() for run in arm.runs]
    shared = json.loads(Counter(map(json.dumps, environments)).most_common(1)[0][0]) if environments else {}
    content: dict[str, Any] = {"schema": SCHEMA, "question": evidence.question, "dataset": evidence.dataset}
    target = {name: value for name, value in asdict(evidence.target).items() if value != getattr(Target, name)}
    content |= {"split": evidence.split, "target": target, "seeds": list(evidence.seeds), "chosen": evidence.chosen}
    if search := evidence.search:
        content["search"] = asdict(search) | {"recipe": search.recipe.changed()}
    content |= {"by": evidence.by, "environment": shared}
    content = {key: value for key, value in content.items() if value not in ("", {})}
    content["arms"] = {name: _arm_content(arm, shared) for name, arm in evidence.arms.items()}
    one_line = r'\{\s+"epoch":[^}]*\}', r'"(?:seeds|fingerprint)": \[[^\]]*\]', r'"(?:train_score|recipe)": \{[^}]*\}'
    write_json(path, content, one_line)
    return Path(path)


def _arm_content(arm, shared):
    runs = []
    for run in arm.runs:
        differs = {key: value for key, value in asdict(run.environment).items() if shared.get(key) != value}
        content = {"seed": run.seed, "environment": differs, "train_score": run.train_score and asdict(run.train_score)}
        content = {key: value for key, value in content.items() if value not in ({}, None)}
        runs.append(content | {"history": [asdict(epoch) for epoch in run.history]})
    content = {"network": arm.network, "recipe": arm.recipe.changed(), "fingerprint": list(arm.fingerprint)}
    return {key: value for key, value in content.items() if value != []} | ({"runs": runs} if runs else {})


# ---------------------------------------------------------------- words


def seeds_text(seeds) -> str:
    """Name seeds: "seed 3", "seeds 0-29" or "seeds 0, 2, 5"."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {seed_numbers(seeds)}"


def seed_numbers(seeds) -> str:
    """Write the numbers of seeds: "3", "0-29" or "0, 2, 5"."""
    seeds = sorted(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))
