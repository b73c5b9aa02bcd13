"""What README, the notebooks' cards and the figures say, made from the evidence: `python -m src.report`."""

import json
import re
import sys
import tomllib

from src import model as models
from src import plots
from src.evidence import (
    STEPS,
    finals,
    lowest,
    named,
    path_of,
    percent,
    read_step,
    read_study,
    seeds_met,
    steps_in,
)
from src.files import ROOT, shown, write
from src.intervals import accuracy_interval, differences_to_first, mean_over_seeds, pass_rate_interval
from src.published import difference_to_published
from src.studies import STUDIES

# ---------------------------------------------------------------- numbers as words


def field_text(entry):
    """Write a receptive field, and that before a global average where there is one."""
    field, before = entry["receptive_field"], entry["receptive_field_before_average"]
    return f"{before}, then {field} by averaging" if before else str(field)


def final_text(entry):
    """Write the final accuracy, of several seeds their mean and standard deviation."""
    values = list(finals(entry).values())
    if len(values) == 1:
        return percent(values[0])
    mean = mean_over_seeds(values)
    return f"{percent(mean.mean)} ± {mean.sd:.2f}"


def met_text(entry):
    """Write whether the target is met, of several seeds by how many."""
    met, count = seeds_met(entry), len(entry["runs"])
    return ("yes" if met else "no") if count == 1 else f"{met} of {count} seeds"


def mean_text(entry):
    """Write the mean final accuracy of several seeds and its 95 % interval, as two strings."""
    mean = mean_over_seeds(list(finals(entry).values()))
    return f"{mean.mean:.3f} %", f"{mean.low:.3f} to {mean.high:.3f} %"


def sd_text(entry):
    """Write the standard deviation of a seed's final accuracy, in points."""
    return f"{mean_over_seeds(list(finals(entry).values())).sd:.3f}"


def rate_text(entry):
    """Write the 95 % interval of the rate of seeds that meet the target."""
    low, high = pass_rate_interval(seeds_met(entry), len(entry["runs"]))
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def reach_text(target):
    """Write what a target asks of a seed."""
    count = target.last_epochs
    where = f"in each of the last {count} epochs" if count > 1 else "in the final epoch"
    return f"{100 * target.accuracy:.1f} % {where}"


def published_text(name, entry):
    """Write how a rebuilt model compares with its write-up; None for a model of ours."""
    compared = difference_to_published(name, entry)
    if compared is None:
        return None
    best, theirs, difference, chance = compared
    return (
        f"best epoch {percent(best)} against {percent(theirs)}, one run each: "
        f"{'within' if chance else 'outside'} what chance explains ({difference:+.2f})"
    )


def epochs_of(entry):
    """Return how many epochs each run of an arm has."""
    return len(entry["runs"][0]["history"])


# ---------------------------------------------------------------- the parts of README and the cards


def card_result(content):
    """Write the Result lines of a step's card: one for each model."""
    target, lines = content["target"], []
    for name, entry in content["models"].items():
        interval = ""
        if len(entry["runs"]) == 1:
            last = entry["runs"][0]["history"][-1]
            low, high = accuracy_interval(last["eval_correct"], last["eval_total"])
            interval = f" (95 % interval {100 * low:.2f} to {100 * high:.2f})"
        line = (
            f"- **{name}**, {entry['parameters']:,} parameters, receptive field {field_text(entry)}: "
            f"final epoch **{final_text(entry)}**{interval}, lowest of the last {target.last_epochs} epochs "
            f"{percent(lowest(entry, target))} ({named(finals(entry))}). Target met: **{met_text(entry)}**."
        )
        published = published_text(name, entry)
        lines.append(f"{line} Published: {published}." if published else line)
    return "\n".join(lines)


def card_studies(contents):
    """Write what the studies over seeds add to the Result lines of Step 3's card."""
    lines = []
    for content in contents:
        target = content["target"]
        for entry in content["models"].values():
            mean, interval = mean_text(entry)
            lines.append(
                f"- **Study {content['study']}**: {entry['model']}, {epochs_of(entry)} epochs, {named(finals(entry))}: "
                f"mean final accuracy **{mean}** (95 % interval {interval}), standard deviation of a seed "
                f"{sd_text(entry)}, lowest {percent(lowest(entry, target))}. {reach_text(target)}: "
                f"**{met_text(entry)}** (95 % interval of the rate {rate_text(entry)})."
            )
    return "\n".join(lines)


def claim(content):
    """Write what README claims of a model, from the study of its declared seeds."""
    ((name, entry),) = content["models"].items()
    mean, interval = mean_text(entry)
    return (
        f"**{name}**, with **{entry['parameters']:,} parameters**, classifies **{mean}** of the 10,000 test "
        f"images after {epochs_of(entry)} epochs: the mean of {named(finals(entry))}, declared before they ran "
        f"(95 % interval {interval}). {reach_text(content['target'])}: **{met_text(entry)}**; the lowest of these "
        f"epochs is **{percent(lowest(entry, content['target']))}**."
    )


def steps_table(contents):
    """Write README's table: one row for each model of the steps' evidence."""
    base = f"https://colab.research.google.com/github/{repository()}/blob/main/notebooks"
    rows = [
        "| step | model | what it is | parameters | receptive field | final test accuracy | lowest of last five "
        "| step's target | met | seeds |",
        "| - | - | - | -: | - | -: | -: | -: | - | -: |",
    ]
    for content in contents:
        target, notebook = content["target"], f"Step{content['step']}.ipynb"
        links = (
            f"[{content['step']}](notebooks/{notebook}) "
            f"([Colab]({base}/{notebook}), [evidence](results/Step{content['step']}.json))"
        )
        for name, entry in content["models"].items():
            cells = (
                links, name, what_changed(name), f"{entry['parameters']:,}", field_text(entry), final_text(entry),
                percent(lowest(entry, target)), f"{100 * target.accuracy:.1f} %", met_text(entry),
                str(len(entry["runs"])),
            )  # fmt: skip
            rows.append("| " + " | ".join(cells) + " |")
            links = ""
    return "\n".join(rows)


def studies_table(contents):
    """Write README's table of the studies that stand for a claim: one row for each arm."""
    rows = [
        "| study | model | parameters | epochs | seeds | mean final accuracy, 95 % interval | sd of a seed | lowest | "
        "what a seed has to reach | seeds that do, 95 % interval of the rate |",
        "| - | - | -: | -: | - | - | -: | -: | - | - |",
    ]
    for content in contents:
        name, link = content["study"].replace("_", " "), f"results/study_{content['study']}.json"
        for entry in content["models"].values():
            mean, interval = mean_text(entry)
            cells = (
                f"[{name}]({link})", entry["model"], f"{entry['parameters']:,}", str(epochs_of(entry)),
                named(finals(entry)).split(" ", 1)[1], f"**{mean}** ({interval})", sd_text(entry),
                percent(lowest(entry, content["target"])), reach_text(content["target"]),
                f"**{met_text(entry)}** ({rate_text(entry)})",
            )  # fmt: skip
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


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


def what_changed(name):
    """Return the idea of a model: its docstring up to the count of parameters."""
    return re.match(r"(.*?): [\d,]+ parameters", getattr(models, name).__doc__)[1]


# ---------------------------------------------------------------- tables that a notebook prints


def step_lines(content, compare=True):
    """Write the table that ends a notebook: target, measured and met; `compare` with what is published."""
    target = content["target"]
    yield f"Target: {target}.\n"
    yield f"{'model':8}  {'parameters':>10}  {'final epoch':>16}  {'lowest of the last':>18}  met"
    for name, entry in content["models"].items():
        lowest_text = percent(lowest(entry, target))
        yield f"{name:8}  {entry['parameters']:>10,}  {final_text(entry):>16}  {lowest_text:>18}  {met_text(entry)}"
        if compare and (published := published_text(name, entry)):
            yield f"{'':8}  published: {published}"


def seeds_lines(contents):
    """Write how studies ended over their seeds."""
    width = max(len(arm) for content in contents for arm in content["models"])
    yield f"{'':{width}}  epochs  mean final  95 % interval       sd     lowest   target met, 95 % interval of the rate"
    for content in contents:
        for arm, entry in content["models"].items():
            mean, interval = mean_text(entry)
            yield (
                f"{arm:{width}}  {epochs_of(entry):>6}  {mean:>10}  {interval:18}  {sd_text(entry)}  "
                f"{percent(lowest(entry, content['target']))}  {met_text(entry)}, {rate_text(entry)}"
            )


def changes_lines(content):
    """Write what each change in a study makes of its first arm."""
    difference = differences_to_first({arm: finals(entry) for arm, entry in content["models"].items()})
    width = max(map(len, content["models"]))
    yield f"{'':{width}}  parameters  mean final  lowest of last 5  minus the first, 95 % interval"
    for arm, entry in content["models"].items():
        mean, _ = mean_text(entry)
        gap = "{0.mean:+.3f}  ({0.low:+.3f} to {0.high:+.3f})".format(difference[arm]) if arm in difference else ""
        lowest_text = percent(lowest(entry, content["target"]))
        yield f"{arm:{width}}  {entry['parameters']:>10,}  {mean:>10}  {lowest_text:>16}  {gap}"


# ---------------------------------------------------------------- figures


def step_figure(content):
    """Draw the curves of a step's runs."""
    several = any(len(entry["runs"]) > 1 for entry in content["models"].values())
    histories = {
        f"{name}, seed {run['seed']}" if several else name: run["history"]
        for name, entry in content["models"].items()
        for run in entry["runs"]
    }
    return plots.curves(histories, content["target"])


def study_figure(content):
    """Draw a study's evidence in the way that the study says."""
    return getattr(plots, STUDIES[content["study"]].figure)(content)


def save_step_figures(content, folder):
    """Write a step's curves and the overview of the steps that `folder` has."""
    plots.save(step_figure(content), folder / f"Step{content['step']}.png")
    plots.save(plots.overview(steps_in(folder)), folder / "overview.png")


def save_study_figure(content, folder):
    """Write a study's figure."""
    plots.save(study_figure(content), path_of(content, folder).with_suffix(".png"))


# ---------------------------------------------------------------- the command


def repository():
    """Return owner/name on GitHub, which pyproject.toml alone decides."""
    url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"]
    return "/".join(url.rstrip("/").split("/")[-2:])


def between(text, name, content):
    """Replace what stands between <!-- name --> and <!-- /name -->. Raises ValueError where the marks are missing."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no <!-- {name} --> … <!-- /{name} --> to write into: put the two marks back")
    return pattern.sub(lambda match: match[1] + content + match[2], text)


def with_repository(text, notebook):
    """Point the links to this repository, which the bootstrap in `notebook` names, to the address in pyproject.toml."""
    old = re.search(r'REPOSITORY = \\?"https://github.com/([^/"]+/[^/"]+)\.git', notebook)[1]
    return text.replace(old, repository())


def texts(root=ROOT):
    """Return what README.md and the notebooks should say, by path, as the evidence under `root` has it."""
    results = root / "results"
    contents = [read_step(step, results) for step in STEPS]
    notebooks = {step: root / "notebooks" / f"Step{step}.ipynb" for step in STEPS}
    benchmark = json.loads((results / "benchmark.json").read_text(encoding="utf-8"))
    readme = root / "README.md"
    bootstrap = notebooks[1].read_text(encoding="utf-8")
    studies = [read_study(name, results) for name in _carried_out(results) if STUDIES[name].readme]
    generated = {
        "claim": "\n\n".join(claim(content) for content in studies if STUDIES[content["study"]].readme == "claim"),
        "studies": studies_table(studies),
        "table": steps_table(contents),
        "speed": speed(benchmark),
    }
    text = with_repository(readme.read_text(encoding="utf-8"), bootstrap)
    for name, part in generated.items():
        text = between(text, name, part)
    found = {readme: text}
    for content in contents:
        path = notebooks[content["step"]]
        notebook = json.loads(with_repository(path.read_text(encoding="utf-8"), bootstrap))
        card = notebook["cells"][1]
        result = card_result(content) + ("\n" + card_studies(studies) if content["step"] == STEPS[-1] else "")
        card["source"] = between("".join(card["source"]), "result", result).splitlines(keepends=True)
        notebook["metadata"].pop("papermill", None)  # it tells when and where one execution took place, and so do cells
        for cell in notebook["cells"]:
            tags = cell["metadata"].get("tags")
            cell["metadata"] = {"tags": tags} if tags else {}
        found[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return found


def figures(root=ROOT):
    """Draw every figure of results/ from the evidence under `root`: yield its path and its PNG bytes."""
    results = root / "results"
    contents = [read_step(step, results) for step in STEPS]
    for content in contents:
        yield results / f"Step{content['step']}.png", plots.png(step_figure(content))
    yield results / "overview.png", plots.png(plots.overview(contents))
    for name in _carried_out(results):
        picture = path_of({"study": name}, results).with_suffix(".png")
        yield picture, plots.png(study_figure(read_study(name, results)))


def _carried_out(results):
    """Name the studies that have evidence: one that is only declared is not told of yet."""
    return [name for name in STUDIES if path_of({"study": name}, results).exists()]


def main():
    try:
        made = {path: text.encode() for path, text in texts().items()} | dict(figures())
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for path, content in made.items():
        same = path.exists() and path.read_bytes() == content
        if not same:
            write(path, content)
        print(f"{shown(path)}: {'up to date' if same else 'rewritten'}")


if __name__ == "__main__":
    main()
