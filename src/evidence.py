"""What an evidence file in results/ says: gathered from runs, written, read, and asked.

In memory a target is a Target and a recipe a Recipe; in the file they are their fields.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from src.files import RESULTS, write
from src.receptive_field import receptive_field
from src.recipe import Recipe

SCHEMA = 2
STEPS = (1, 2, 3)


@dataclass(frozen=True)
class Target:
    """Say what each run of a step has to reach: `accuracy` (a fraction) in every one of the `last_epochs`."""

    accuracy: float = 0.994
    last_epochs: int = 5
    max_epochs: int = 15
    max_parameters: int | None = 7999

    def met(self, history, parameters):
        """Return whether a run meets the target; one shorter than `last_epochs` does not."""
        if len(history) < self.last_epochs or len(history) > self.max_epochs:
            return False
        if self.max_parameters is not None and parameters > self.max_parameters:
            return False
        return all(e["eval_correct"] >= self.accuracy * e["eval_total"] for e in history[-self.last_epochs :])

    def __str__(self):
        budget = "any number of" if self.max_parameters is None else f"at most {self.max_parameters:,}"
        return (
            f"at least {100 * self.accuracy:.2f} % in each of the last {self.last_epochs} epochs, "
            f"at most {self.max_epochs} epochs, {budget} parameters"
        )


def gather(of, split, target, runs, environment):
    """Gather runs into what an evidence file says. A run tells of its own environment where it differs.

    `of` is {"step": 3} or {"study": "record"}, `split` names the images that were scored; `runs` maps the name of a
    model, or of an arm of a study, to its list of src.runs.Run. Raises ValueError for runs that do not belong together.
    """
    entries = {}
    for name, run in ((name, run) for name, of_name in runs.items() for run in of_name):
        parameters = sum(p.numel() for p in run.model.parameters())
        field, before_average = receptive_field(run.model)
        entry = entries.setdefault(
            name,
            {
                "model": type(run.model).__name__,
                "parameters": parameters,
                "receptive_field": field,
                "receptive_field_before_average": before_average,
                "code_sha256": run.code_sha256,
                "recipe": run.recipe,
                "runs": [],
            },
        )
        if (run.code_sha256, run.recipe) != (entry["code_sha256"], entry["recipe"]):
            raise ValueError(f"the runs of {name} differ in recipe or code: train them again")
        if run.seed in [earlier["seed"] for earlier in entry["runs"]]:
            raise ValueError(f"{name} has seed {run.seed} twice: run its cell again")
        differs = {name: value for name, value in run.environment.items() if environment.get(name) != value}
        record = {"seed": run.seed, "met": target.met(run.history, parameters)}
        entry["runs"].append(record | ({"environment": differs} if differs else {}) | {"history": run.history})
    return {"schema": SCHEMA, **of, "split": split, "target": target, "environment": environment, "models": entries}


def path_of(of, folder):
    """Return where evidence lies: Step{N}.json, study_{NAME}.json or, of a choice, search/study_choose_{NAME}.json."""
    if "step" in of:
        return Path(folder) / f"Step{of['step']}.json"
    place = "search" if of["study"].startswith("choose_") else "."
    return Path(folder) / place / f"study_{of['study']}.json"


def write_evidence(content, folder):
    """Write evidence whole or not at all, one epoch a line, and return its path."""
    path = path_of(content, folder)
    text = json.dumps(content, indent=1, allow_nan=False, default=asdict)
    text = re.sub(r"\{\s+(\"epoch\":[^}]*?)\s+\}", lambda epoch: "{" + re.sub(r"\s+", " ", epoch[1]) + "}", text)
    write(path, text + "\n")
    return path


def read_step(step, folder=RESULTS):
    """Read one step's evidence. Raises ValueError for what is not evidence of this schema."""
    return _read({"step": step}, folder, f"run notebooks/Step{step}.ipynb")


def read_study(name, folder=RESULTS):
    """Read one study's evidence. Raises ValueError for what is not evidence of this schema."""
    return _read({"study": name}, folder, f"run python -m src.run_study {name}")


def steps_in(folder):
    """Read the evidence of the steps that `folder` has any of."""
    return [read_step(step, folder) for step in STEPS if path_of({"step": step}, folder).exists()]


def _read(of, folder, remedy):
    path = path_of(of, folder)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{path} is missing or not JSON: restore or delete it, or {remedy}") from None
    if not isinstance(content, dict) or not ({"schema": SCHEMA} | of).items() <= content.items():
        ((kind, name),) = of.items()
        raise ValueError(
            f"{path} is not the evidence of {kind} {name}, schema {SCHEMA}: restore or delete it, or {remedy}"
        )
    try:
        content["target"] = Target(**content["target"])
        for entry in content["models"].values():
            # A field that is younger than the evidence has its default: off.
            entry["recipe"] = Recipe(**entry["recipe"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit today's Target and Recipe ({error}): {remedy}") from None
    return content


def accuracy(epoch, part="eval"):
    """Return the accuracy of an epoch's record in percent, on the scored images or, with "train", in training."""
    return 100 * epoch[f"{part}_correct"] / epoch[f"{part}_total"]


def percent(value):
    """Write a percentage with two decimals: what 10,000 images can tell."""
    return f"{value:.2f} %"


def finals(entry, part="eval"):
    """Return the final accuracy of each run in percent, by seed; with "train" that of its training."""
    return {run["seed"]: accuracy(run["history"][-1], part) for run in entry["runs"]}


def counted(entry, target):
    """Return the accuracies in percent of the epochs that the target asks for, by seed."""
    return {run["seed"]: [accuracy(e) for e in run["history"][-target.last_epochs :]] for run in entry["runs"]}


def lowest(entry, target):
    """Return the lowest of the accuracies that count, of all seeds."""
    return min(value for values in counted(entry, target).values() for value in values)


def seeds_met(entry):
    """Return how many seeds meet the target."""
    return sum(run["met"] for run in entry["runs"])


def named(seeds):
    """Name seeds: "seed 3", "seeds 0-29" or "seeds 0, 2, 5"."""
    seeds = sorted(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}-{seeds[-1]}"
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
