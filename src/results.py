"""The evidence files in results/, and the tables that README and the notebooks' cards make from them.

`python -m src.results` brings README.md and the three cards in line with it.
"""

import json
import math
import os
import re
import statistics
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from scipy import stats

from src import model as models
from src.data import ROOT
from src.receptive_field import receptive_field

RESULTS = ROOT / "results"
TRIAL = ROOT / ".runs" / "trial"  # git-ignored: what is no evidence goes here
SCHEMA = 1
STEPS = (1, 2, 3)
CLAIMS = ("record", "smallest")  # the studies that README begins with, one model each
OVER_SEEDS = (*CLAIMS, "fewest_epochs")  # those of its table and of Step 3's card

# The best epoch's test accuracy that each published model's write-up states, in percent.
PUBLISHED = {
    "Model_1": 99.32,
    "Model_2": 99.18,
    "Model_3": 99.58,
    "Model_4": 99.14,
    "Model_5": 99.22,
    "Model_6": 99.31,
    "Model_7": 99.22,
}
# Public results under and near the budget, those of lines A (7,836) and B (7,974) among them, read from their logs and
# write-ups: parameters and the best epoch of one run, in percent.
PUBLIC = (
    (697, 99.03), (1_936, 99.13), (5_196, 99.43), (6_188, 99.54), (6_720, 99.53), (7_680, 99.52), (7_836, 99.22),
    (7_836, 99.38), (7_974, 99.22), (9_994, 99.61),
)  # fmt: skip
# Two single runs of one recipe may differ by this many points by chance: with a standard deviation of 0.05 points
# from run to run, 95 % of differences are within 1.96 * sqrt(2) * 0.05 = 0.14.
CHANCE = 0.14


@dataclass(frozen=True)
class Target:
    """Say what each run of a step has to reach: `accuracy` (a fraction) in every one of the `last_epochs`."""

    accuracy: float = 0.994
    last_epochs: int = 5
    max_epochs: int = 15
    max_parameters: int | None = 7999

    def met(self, history, parameters):
        """Return whether a run that lasted at least `last_epochs` meets the target."""
        if len(history) < self.last_epochs or len(history) > self.max_epochs:
            return False
        if self.max_parameters is not None and parameters > self.max_parameters:
            return False
        return all(e["test_correct"] >= self.accuracy * e["test_total"] for e in history[-self.last_epochs :])

    def __str__(self):
        budget = "any number of" if self.max_parameters is None else f"at most {self.max_parameters:,}"
        return (
            f"at least {100 * self.accuracy:.2f} % in each of the last {self.last_epochs} epochs, "
            f"at most {self.max_epochs} epochs, {budget} parameters"
        )


def evidence(of, target, runs, environment):
    """Gather runs into what an evidence file says. A run tells of its own environment where it differs.

    `of` is {"step": 3} or {"study": "record"}; `runs` maps the name of a model, or of an arm of a study, to its list
    of src.runs.Run. Raises ValueError for runs that do not belong together.
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
                "recipe": asdict(run.recipe),
                "runs": [],
            },
        )
        if (run.code_sha256, asdict(run.recipe)) != (entry["code_sha256"], entry["recipe"]):
            raise ValueError(f"the runs of {name} differ in recipe or code: train them again")
        if run.seed in [earlier["seed"] for earlier in entry["runs"]]:
            raise ValueError(f"{name} has seed {run.seed} twice: run its cell again")
        differs = {name: value for name, value in run.environment.items() if environment.get(name) != value}
        record = {"seed": run.seed, "met": target.met(run.history, parameters)}
        entry["runs"].append(record | ({"environment": differs} if differs else {}) | {"history": run.history})
    return {"schema": SCHEMA, **of, "target": asdict(target), "environment": environment, "models": entries}


def write_evidence(content, folder):
    """Write Step{N}.json or study_{NAME}.json whole or not at all, one epoch a line, and return its path."""
    path = Path(folder) / (f"Step{content['step']}.json" if "step" in content else f"study_{content['study']}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1)
    text = re.sub(r"\{\s+(\"epoch\":[^}]*?)\s+\}", lambda epoch: "{" + re.sub(r"\s+", " ", epoch[1]) + "}", text)
    write_text(path, text + "\n")
    return path


def write_text(path, text):
    """Replace a file at once, so that nobody ever sees half of it."""
    partial = Path(f"{path}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def read_evidence(step, folder=RESULTS):
    """Read one step's evidence. Raises ValueError for what is not evidence of this schema."""
    return _read(Path(folder) / f"Step{step}.json", {"step": step}, f"run notebooks/Step{step}.ipynb")


def read_study(name, folder=RESULTS):
    """Read one study's evidence. Raises ValueError for what is not evidence of this schema."""
    return _read(Path(folder) / f"study_{name}.json", {"study": name}, f"run python -m src.study {name}")


def _read(path, of, remedy):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is missing or not JSON: restore it or {remedy}") from error
    if not isinstance(content, dict) or not ({"schema": SCHEMA} | of).items() <= content.items():
        ((kind, name),) = of.items()
        raise ValueError(f"{path} is not the evidence of {kind} {name}, schema {SCHEMA}: {remedy}")
    return content


def finals(entry):
    """Return the final test accuracy of each run, in percent, by seed."""
    last = {run["seed"]: run["history"][-1] for run in entry["runs"]}
    return {seed: 100 * epoch["test_correct"] / epoch["test_total"] for seed, epoch in last.items()}


class Mean(NamedTuple):
    """Hold a mean over seeds, the standard deviation of one seed, and the 95 % interval (t) of the mean."""

    mean: float
    sd: float
    low: float
    high: float


def mean_over_seeds(values):
    """Return the Mean of one value a seed. Raises ValueError for fewer than two: they have no spread."""
    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 seeds, got {len(values)}")
    mean, sd = statistics.mean(values), statistics.stdev(values)
    half = stats.t.ppf(0.975, len(values) - 1) * sd / math.sqrt(len(values))
    return Mean(mean, sd, mean - half, mean + half)


def paired_difference(values, baseline):
    """Return the Mean of `values` minus `baseline`, both {seed: value}, over the seeds that they share."""
    return mean_over_seeds([values[seed] - baseline[seed] for seed in values if seed in baseline])


def accuracy_interval(correct, total):
    """Return the 95 % interval (Wilson) of an accuracy that one run showed on `total` images, as two fractions."""
    return tuple(stats.binomtest(correct, total).proportion_ci(method="wilson"))


def pass_rate_interval(passed, seeds):
    """Return the 95 % interval (Clopper-Pearson) of the rate of seeds that pass, as two fractions."""
    return tuple(stats.binomtest(passed, seeds).proportion_ci(method="exact"))


def percent(correct, total=10_000):
    """Write a count of images as a percentage with two decimals."""
    return f"{100 * correct / total:.2f} %"


def named(seeds):
    """Name seeds: "seed 3", "seeds 0-29" or "seeds 0, 2, 5"."""
    seeds = sorted(seeds)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}-{seeds[-1]}"
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def summary(entry, target):
    """Summarise one model's runs as the strings that every table shows."""
    accuracies = list(finals(entry).values())
    last = [epoch for run in entry["runs"] for epoch in run["history"][-target["last_epochs"] :]]
    lowest = min(last, key=lambda epoch: epoch["test_correct"] / epoch["test_total"])
    met = sum(run["met"] for run in entry["runs"])
    final = f"{statistics.mean(accuracies):.2f} %"
    if len(accuracies) > 1:
        final += f" ± {statistics.stdev(accuracies):.2f}"
    field, before = entry["receptive_field"], entry["receptive_field_before_average"]
    return {
        "parameters": f"{entry['parameters']:,}",
        "field": f"{before}, then {field} by averaging" if before else str(field),
        "final": final,
        "lowest": percent(lowest["test_correct"], lowest["test_total"]),
        "met": ("yes" if met else "no") if len(accuracies) == 1 else f"{met} of {len(accuracies)} seeds",
        "seeds": named(finals(entry)),
    }


def against_published(name, entry):
    """Compare the first seed's best epoch with the published best epoch; None for a model of ours."""
    if name not in PUBLISHED:
        return None
    best = max(100 * epoch["test_correct"] / epoch["test_total"] for epoch in entry["runs"][0]["history"])
    difference = round(best - PUBLISHED[name], 2)
    verdict = "within" if abs(difference) <= CHANCE else "outside"
    return (
        f"best epoch {best:.2f} % against {PUBLISHED[name]:.2f} %, one run each: "
        f"{verdict} what chance explains ({difference:+.2f})"
    )


def card_result(content):
    """Write the Result lines of a step's card: one for each model."""
    lines = []
    for name, entry in content["models"].items():
        told = summary(entry, content["target"])
        last = entry["runs"][0]["history"][-1]
        low, high = accuracy_interval(last["test_correct"], last["test_total"])
        interval = f" (95 % interval {100 * low:.2f} to {100 * high:.2f})" if len(entry["runs"]) == 1 else ""
        line = (
            f"- **{name}**, {told['parameters']} parameters, receptive field {told['field']}: "
            f"final epoch **{told['final']}**{interval}, lowest of the last {content['target']['last_epochs']} epochs "
            f"{told['lowest']} ({told['seeds']}). Target met: **{told['met']}**."
        )
        published = against_published(name, entry)
        lines.append(f"{line} Published: {published}." if published else line)
    return "\n".join(lines)


def readme_table(contents):
    """Write README's table: one row for each model of the steps' evidence."""
    base = f"https://colab.research.google.com/github/{repository()}/blob/main/notebooks"
    rows = [
        "| step | model | what it is | parameters | receptive field | final test accuracy | lowest of last five "
        "| step's target | met | seeds |",
        "| - | - | - | -: | - | -: | -: | -: | - | -: |",
    ]
    for content in contents:
        notebook = f"Step{content['step']}.ipynb"
        links = (
            f"[{content['step']}](notebooks/{notebook}) "
            f"([Colab]({base}/{notebook}), [evidence](results/Step{content['step']}.json))"
        )
        for name, entry in content["models"].items():
            told = summary(entry, content["target"])
            cells = (links, name, what_changed(name), told["parameters"], told["field"], told["final"], told["lowest"])
            target = f"{100 * content['target']['accuracy']:.1f} %"
            rows.append("| " + " | ".join((*cells, target, told["met"], str(len(entry["runs"])))) + " |")
            links = ""
    return "\n".join(rows)


def card_studies(contents):
    """Write what the studies over seeds add to the Result lines of Step 3's card."""
    lines = []
    for content in contents:
        for entry in content["models"].values():
            told = over_seeds(entry, content["target"])
            lines.append(
                f"- **Study {content['study']}**: {entry['model']}, {told['epochs']} epochs, {told['seeds']}: mean "
                f"final accuracy **{told['mean']}** (95 % interval {told['interval']}), standard deviation of a seed "
                f"{told['sd']}, lowest {told['lowest']}. {_reach(content['target'])}: **{told['met']}** (95 % interval "
                f"of the rate {told['rate']})."
            )
    return "\n".join(lines)


def _reach(target):
    count = target["last_epochs"]
    where = f"in each of the last {count} epochs" if count > 1 else "in the final epoch"
    return f"{100 * target['accuracy']:.1f} % {where}"


def claim(content):
    """Write what README claims of a model, from the study of its declared seeds."""
    ((name, entry),) = content["models"].items()
    told = over_seeds(entry, content["target"])
    return (
        f"**{name}**, with **{told['parameters']} parameters**, classifies **{told['mean']}** of the 10,000 test "
        f"images after {told['epochs']} epochs: the mean of {told['seeds']}, declared before they ran (95 % interval "
        f"{told['interval']}). {_reach(content['target'])}: **{told['met']}**; the lowest of these epochs is "
        f"**{told['lowest']}**."
    )


def speed(benchmark):
    """Write how fast our loop is, from results/benchmark.json."""
    ours, published, where = benchmark["ours"], benchmark["published"], benchmark["environment"]
    return (
        f"The {len(ours['epochs'])} epochs of Model_8, augmentation and scoring included, take "
        f"**{ours['total_seconds']} s** ({ours['seconds']} s an epoch, {ours['images_per_second']:,} images/s, peak "
        f"memory {ours['peak_memory_mib']:,} MiB). The published kind of loop needs "
        f"**{published['total_seconds']} s** for as many epochs of the same model ({published['seconds']} s, "
        f"{published['images_per_second']:,} images/s, {published['peak_memory_mib']:,} MiB): "
        f"**{benchmark['ratio']} times as long**. Both in one run of `python -m src.benchmark` on {where['threads']} "
        f"cores of an {where['processor']}; an epoch's time is the median, images are those of training, memory is "
        "that of the main process and its largest data worker. The loops differ in data pipeline, precision (ours "
        f"{where['precision']}, the published one float32), augmentation, optimiser and averaging, so the ratio has no "
        "single cause."
    )


def over_seeds(entry, target):
    """Summarise one arm of a study as the strings that its table shows. Raises ValueError for a single seed."""
    told = summary(entry, target)
    mean = mean_over_seeds(list(finals(entry).values()))
    met = sum(run["met"] for run in entry["runs"])
    low, high = pass_rate_interval(met, len(entry["runs"]))
    return told | {
        "epochs": str(len(entry["runs"][0]["history"])),
        "mean": f"{mean.mean:.3f} %",
        "sd": f"{mean.sd:.3f}",
        "interval": f"{mean.low:.3f} to {mean.high:.3f} %",
        "rate": f"{100 * low:.0f} to {100 * high:.0f} %",
    }


def differences(content):
    """Compare each arm of a study with its first, paired by seed: {arm: Mean} in points of final test accuracy."""
    first, *others = content["models"]
    baseline = finals(content["models"][first])
    return {arm: paired_difference(finals(content["models"][arm]), baseline) for arm in others}


def studies_table(contents):
    """Write README's table of the studies that stand for a claim: one row each."""
    rows = [
        "| study | model | parameters | epochs | seeds | mean final accuracy, 95 % interval | sd of a seed | lowest | "
        "what a seed has to reach | seeds that do, 95 % interval of the rate |",
        "| - | - | -: | -: | - | - | -: | -: | - | - |",
    ]
    for content in contents:
        name, link = content["study"].replace("_", " "), f"results/study_{content['study']}.json"
        for entry in content["models"].values():
            told = over_seeds(entry, content["target"])
            cells = (
                f"[{name}]({link})", entry["model"], told["parameters"], told["epochs"],
                told["seeds"].removeprefix("seeds "),
                f"**{told['mean']}** ({told['interval']})", told["sd"], told["lowest"], _reach(content["target"]),
                f"**{told['met']}** ({told['rate']})",
            )  # fmt: skip
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def what_changed(name):
    """Return the idea of a model: its docstring up to the count of parameters."""
    return re.match(r"(.*?): [\d,]+ parameters", getattr(models, name).__doc__)[1]


def repository():
    """Return owner/name on GitHub, which pyproject.toml alone decides."""
    url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"]
    return "/".join(url.rstrip("/").split("/")[-2:])


def between(text, name, content):
    """Replace what stands between <!-- name --> and <!-- /name -->. Raises ValueError where the marks are missing."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no <!-- {name} --> … <!-- /{name} --> to write the table into")
    return pattern.sub(lambda match: match[1] + content + match[2], text)


def with_repository(text, notebook):
    """Point the links to this repository, which the bootstrap in `notebook` names, to the address in pyproject.toml."""
    old = re.search(r'REPOSITORY = \\?"https://github.com/([^/"]+/[^/"]+)\.git', notebook)[1]
    return text.replace(old, repository())


def published_texts(root=ROOT):
    """Return what README.md and the notebooks should say, by path, as the evidence under `root` has it."""
    contents = [read_evidence(step, root / "results") for step in STEPS]
    notebooks = {step: root / "notebooks" / f"Step{step}.ipynb" for step in STEPS}
    benchmark = json.loads((root / "results" / "benchmark.json").read_text(encoding="utf-8"))
    readme = root / "README.md"
    bootstrap = notebooks[1].read_text(encoding="utf-8")
    text = with_repository(readme.read_text(encoding="utf-8"), bootstrap)
    studies = {name: read_study(name, root / "results") for name in OVER_SEEDS}
    generated = {
        "claim": "\n\n".join(claim(studies[name]) for name in CLAIMS),
        "studies": studies_table(studies.values()),
        "table": readme_table(contents),
        "speed": speed(benchmark),
    }
    for name, part in generated.items():
        text = between(text, name, part)
    texts = {readme: text}
    for content in contents:
        path = notebooks[content["step"]]
        notebook = json.loads(with_repository(path.read_text(encoding="utf-8"), bootstrap))
        card = notebook["cells"][1]
        told = card_result(content) + ("\n" + card_studies(studies.values()) if content["step"] == STEPS[-1] else "")
        card["source"] = between("".join(card["source"]), "result", told).splitlines(keepends=True)
        notebook["metadata"].pop("papermill", None)  # it tells when and where one execution took place, and so do cells
        for cell in notebook["cells"]:
            tags = cell["metadata"].get("tags")
            cell["metadata"] = {"tags": tags} if tags else {}
        texts[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return texts


def main():
    for path, text in published_texts().items():
        changed = path.read_text(encoding="utf-8") != text
        if changed:
            write_text(path, text)
        print(f"{path.relative_to(ROOT)}: {'rewritten' if changed else 'up to date'}")


if __name__ == "__main__":
    sys.exit(main())
