"""Evidence: what was asked, of which arms and seeds, and what came of it; read, written, and computed with.

An evidence file is a program, too: it names each arm's network and recipe, the seeds, the split and the target, and
`python -m src.studies.run` repeats it from that. One without runs declares a study that is still to be run.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from src import shown
from src.evidence.storage import RESULTS, write_json
from src.learn.data import SPLITS
from src.learn.networks import facts
from src.learn.recipe import Recipe
from src.learn.training import Epoch, Score

SCHEMA = 3
STEPS = (1, 2, 3)


@dataclass(frozen=True)
class Target:
    """What each run has to reach: `accuracy` (a fraction) in every one of the `last_epochs`, within a budget.

    Files say only what differs from this default.
    """

    accuracy: float = 0.994
    last_epochs: int = 5
    max_epochs: int = 15
    max_parameters: int | None = 7999

    def met_by(self, run, parameters):
        """Return whether a run meets the target; one shorter than `last_epochs` does not."""
        if not self.last_epochs <= len(run.history) <= self.max_epochs:
            return False
        if self.max_parameters is not None and parameters > self.max_parameters:
            return False
        return all(e.eval_correct >= self.accuracy * e.eval_total for e in run.history[-self.last_epochs :])

    def __str__(self):
        budget = "any number of" if self.max_parameters is None else f"at most {self.max_parameters:,}"
        which = "the final epoch" if self.last_epochs == 1 else f"each of the last {self.last_epochs} epochs"
        return f"at least {100 * self.accuracy:.2f} % in {which}, at most {self.max_epochs} epochs, {budget} parameters"


@dataclass(frozen=True)
class Run:
    """One training: its seed, an Epoch for each epoch, the environment that it was made in.

    `train_score` is the final network's Score on the training images in evaluation mode, preprocessed and not
    augmented; None where it was not measured.
    """

    seed: int
    history: tuple
    environment: dict
    train_score: Score | None = None

    @property
    def final(self):
        """The accuracy of the final epoch, in percent."""
        return self.history[-1].accuracy


@dataclass(frozen=True)
class Arm:
    """A network, by its name in src/learn/networks.py, trained by one recipe from several seeds.

    `fingerprint` is what a tiny training by that recipe gives: see src/evidence/fingerprint.py.
    """

    network: str
    recipe: Recipe
    runs: tuple = ()
    fingerprint: tuple = ()

    @property
    def parameters(self):
        """How many the network has."""
        return facts(self.network)[0]

    @property
    def receptive_field(self):
        """The network's receptive field and that before its global average, in pixels; None where not known."""
        return facts(self.network)[1:]

    @property
    def finals(self):
        """The accuracy of each run's final epoch in percent, by seed."""
        return {run.seed: run.final for run in self.runs}

    @property
    def train_accuracies(self):
        """The final accuracy on training images in evaluation mode in percent, by seed, where it was measured."""
        return {run.seed: run.train_score.accuracy for run in self.runs if run.train_score}

    def counted(self, target):
        """Return the accuracies in percent of the epochs that the target asks for, by seed."""
        return {run.seed: [epoch.accuracy for epoch in run.history[-target.last_epochs :]] for run in self.runs}

    def lowest_by_seed(self, target):
        """Return each run's lowest accuracy, in percent, of the epochs that the target asks for, by seed."""
        return {seed: min(accuracies) for seed, accuracies in self.counted(target).items()}

    def lowest(self, target):
        """Return the lowest accuracy, in percent, of all epochs that the target asks for."""
        return min(self.lowest_by_seed(target).values())

    def holding(self, target):
        """Return how many runs meet the target."""
        return sum(target.met_by(run, self.parameters) for run in self.runs)


@dataclass(frozen=True)
class Evidence:
    """What a file of results/ says. `name` is the file's, `arms` maps a name to each Arm.

    A study on the validation split has a `question`, and the arm that was `chosen`. `search` holds what a search drew
    its arms from, see src/studies/search.py. `by` names who made a study, with a link, where it was submitted.
    """

    name: str
    arms: dict
    seeds: tuple
    split: str = "test"
    target: Target = field(default_factory=Target)
    question: str = ""
    chosen: str = ""
    search: dict = field(default_factory=dict)
    by: str = ""

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        if self.chosen and self.chosen not in self.arms:
            raise ValueError(f"chosen must be one of the arms {', '.join(self.arms)}, got {self.chosen!r}")
        for name, arm in self.arms.items():
            seeds = [run.seed for run in arm.runs]
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"{name} has a seed twice in {seeds}: run its cell again")

    @property
    def complete(self):
        """Whether every arm has a run of every seed."""
        runs = [{run.seed for run in arm.runs} for arm in self.arms.values()]
        return bool(runs) and all(seeds == set(self.seeds) for seeds in runs)


# ---------------------------------------------------------------- files


def path_to(name, folder=RESULTS):
    """Return where a step's evidence, "Step1", or a study's lies in results/ or another folder."""
    return Path(folder) / f"{name}.json" if name.startswith("Step") else Path(folder) / "studies" / f"{name}.json"


def read_named(name, folder=RESULTS):
    """Read the evidence of a step, "Step1", or of a study. Raises ValueError as `read_evidence` does."""
    return read_evidence(path_to(name, folder))


def studies(folder=RESULTS, kind="studies"):
    """Read all evidence in results/studies/ that has runs, or with "search" in results/search/, in order of name."""
    found = (read_evidence(path) for path in sorted((Path(folder) / kind).glob("*.json")))
    return [evidence for evidence in found if evidence.complete]


def steps(folder=RESULTS):
    """Read the evidence of the steps that a folder has any of."""
    return [read_named(f"Step{k}", folder) for k in STEPS if path_to(f"Step{k}", folder).exists()]


def write_evidence(evidence, path):
    """Write evidence whole or not at all, one epoch a line, and return its path."""
    environments = [run.environment for arm in evidence.arms.values() for run in arm.runs]
    shared = json.loads(Counter(map(json.dumps, environments)).most_common(1)[0][0]) if environments else {}
    content = {"schema": SCHEMA, "question": evidence.question, "split": evidence.split}
    target = {name: value for name, value in asdict(evidence.target).items() if value != getattr(Target, name)}
    content |= {"target": target, "seeds": list(evidence.seeds), "chosen": evidence.chosen}
    content |= {"search": evidence.search, "by": evidence.by, "environment": shared}
    content = {key: value for key, value in content.items() if value not in ("", {})}
    content["arms"] = {name: _arm_content(arm, shared) for name, arm in evidence.arms.items()}
    one_line = r'\{\s+"epoch":[^}]*\}', r'"(?:seeds|fingerprint)": \[[^\]]*\]', r'"(?:train_score|recipe)": \{[^}]*\}'
    write_json(path, content, one_line)
    return Path(path)


def _arm_content(arm, shared):
    runs = []
    for run in arm.runs:
        differs = {key: value for key, value in run.environment.items() if shared.get(key) != value}
        score = run.train_score and run.train_score._asdict()
        content = {"seed": run.seed, "environment": differs, "train_score": score}
        content = {key: value for key, value in content.items() if value not in ({}, None)}
        runs.append(content | {"history": [epoch._asdict() for epoch in run.history]})
    content = {"network": arm.network, "recipe": arm.recipe.changed(), "fingerprint": list(arm.fingerprint)}
    return {key: value for key, value in content.items() if value != []} | ({"runs": runs} if runs else {})


def read_evidence(path):
    """Read an evidence file. Raises ValueError for what is none, with what to do."""
    path = Path(path)
    again = (
        f"run notebooks/{path.stem}.ipynb"
        if path.stem.startswith("Step")
        else f"run python -m src.studies.run {shown(path)}"
    )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{shown(path)} is missing or not JSON: restore it, or {again}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f"{shown(path)} is not evidence of schema {SCHEMA}: restore it, or {again}")
    try:
        shared = content.get("environment", {})
        return Evidence(
            name=path.stem,
            arms={name: _arm(arm, shared) for name, arm in content["arms"].items()},
            seeds=tuple(content["seeds"]),
            split=content["split"],
            target=Target(**content.get("target", {})),
            question=content.get("question", ""),
            chosen=content.get("chosen", ""),
            search=content.get("search", {}),
            by=content.get("by", ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{shown(path)} cannot be read by today's code ({error}): {again}") from None


def _arm(content, shared):
    facts(content["network"])  # there is such a network
    runs = tuple(
        Run(
            run["seed"],
            tuple(Epoch(**epoch) for epoch in run["history"]),
            shared | run.get("environment", {}),
            Score(**run["train_score"]) if "train_score" in run else None,
        )
        for run in content.get("runs", [])
    )
    return Arm(content["network"], Recipe(**content["recipe"]), runs, tuple(content.get("fingerprint", ())))


def seeds_text(seeds):
    """Name seeds: "seed 3", "seeds 0-29" or "seeds 0, 2, 5"."""
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {seed_numbers(seeds)}"


def seed_numbers(seeds):
    """Write the numbers of seeds: "3", "0-29" or "0, 2, 5"."""
    seeds = sorted(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))
