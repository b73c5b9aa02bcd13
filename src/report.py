"""What README, the notebooks' cards and the figures say, made from the evidence: `python -m src.report`."""

import inspect
import json
import re
import statistics
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import replace

from src import model as models
from src import page, plots, reader
from src.evidence import (
    STEPS,
    finals,
    lowest,
    named,
    path_of,
    read_step,
    read_study,
    seeds_met,
    steps_in,
)
from src.files import RESULTS, ROOT, shown, write
from src.intervals import differences_to_first, mean_over_seeds, pass_rate_interval
from src.published import difference_to_published, rebuilt
from src.runs import git_commit
from src.studies import STUDIES

# ---------------------------------------------------------------- numbers as words


def field_text(entry):
    """Write a receptive field, and that before a global average where there is one."""
    field, before = entry["receptive_field"], entry["receptive_field_before_average"]
    return f"{before}, then {field} by averaging" if before else str(field)


def final_text(entry, part="eval"):
    """Write the accuracy of the final epoch in percent, of several seeds their mean and standard deviation."""
    values = list(finals(entry, part).values())
    if len(values) == 1:
        return f"{values[0]:.2f}"
    mean = mean_over_seeds(values)
    return f"{mean.mean:.2f} ± {mean.sd:.2f}"


def met_text(entry):
    """Write whether the target is met: one run speaks for itself only, of several it says how many."""
    met, count = seeds_met(entry), len(entry["runs"])
    return f"this run: {'yes' if met else 'no'}" if count == 1 else f"{met} of {count} seeds"


def mean_text(entry):
    """Write the mean final accuracy of several seeds in percent and its 95 % interval, as two strings."""
    mean = mean_over_seeds(list(finals(entry).values()))
    return f"{mean.mean:.3f}", f"{mean.low:.3f} to {mean.high:.3f}"


def sd_text(entry):
    """Write the standard deviation of a seed's final accuracy, in points."""
    return f"{mean_over_seeds(list(finals(entry).values())).sd:.3f}"


def rate_text(entry):
    """Write the 95 % interval of the rate of seeds that meet the target."""
    low, high = pass_rate_interval(seeds_met(entry), len(entry["runs"]))
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def published_text(name, entry):
    """Write how a rebuilt model compares with its write-up; None for a model of ours."""
    compared = difference_to_published(name, entry)
    if compared is None:
        return None
    best, theirs, difference, chance = compared
    return (
        f"best epoch {best:.2f}, published {theirs:.2f}, one run each: "
        f"{'within' if chance else 'outside'} what chance explains ({difference:+.2f})"
    )


def epochs_of(entry):
    """Return how many epochs each run of an arm has."""
    return len(entry["runs"][0]["history"])


def table(*rows, right=()):
    """Write a Markdown table: the first row is its head; the columns that `right` numbers are flush right."""
    head, *body = rows
    rule = ["-:" if column in right else "-" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


# ---------------------------------------------------------------- the parts of README and the cards


def card_result(content):
    """Write the Result table of a step's card: one row for each model, trained once or a few times."""
    target = content["target"]
    rows = [
        (
            "model", "parameters", "receptive field", "training, %", "test, %",
            f"lowest of the last {target.last_epochs}, %", f"{100 * target.accuracy:.1f} % target met",
            "published: best, %",
        )
    ]  # fmt: skip
    for name, entry in content["models"].items():
        rows.append(
            (
                name, f"{entry['parameters']:,}", field_text(entry), final_text(entry, "train"),
                f"**{final_text(entry)}**",
                f"{lowest(entry, target):.2f}", met_text(entry), f"{rebuilt()[name]:.2f}" if name in rebuilt() else "",
            )
        )  # fmt: skip
    return table(*rows, right=(1, 3, 4, 5, 7))


def studies_table(contents):
    """Write what the studies that stand for a claim found over their seeds: README's first table."""
    rows = [("model", "seeds that hold 99.4 %", "mean final, %", "parameters", "epochs")]
    for content in contents:
        link = path_of(content, RESULTS.name).as_posix()
        for arm in STUDIES[content["study"]].claims:
            if arm not in content["models"]:
                raise ValueError(f"{link} has no arm {arm!r}: run python -m src.run_study {content['study']}")
            entry = content["models"][arm]
            mean, _ = mean_text(entry)
            rows.append(
                (
                    f"[{arm}]({link})",
                    f"**{seeds_met(entry)}\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}{len(entry['runs'])}**"
                    + (" at the end" if content["target"].last_epochs == 1 else ""),
                    f"**{mean}**", f"{entry['parameters']:,}", str(epochs_of(entry)),
                )
            )  # fmt: skip
    return table(*rows, right=(2, 3, 4))


def steps_table(contents):
    """Write README's table: one row for each model of the steps' evidence."""
    rows = [("step", "model", "this run ≥ target", "final, %", "lowest of the last 5, %", "parameters", "what it is")]
    for content in contents:
        target, step = content["target"], content["step"]
        link = f"[{step}](notebooks/Step{step}.ipynb)"
        for name, entry in content["models"].items():
            rows.append(
                (
                    link, name, f"{met_text(entry).split(': ')[-1]} ({100 * target.accuracy:.1f})", final_text(entry),
                    f"{lowest(entry, target):.2f}", f"{entry['parameters']:,}", what_changed(name),
                )
            )  # fmt: skip
            link = ""
    return table(*rows, right=(3, 4, 5))


def search(contents):
    """Write what the studies on the validation split found: one table for each question."""
    parts = []
    for content in contents:
        study, link = STUDIES[content["study"]], f"[runs]({path_of(content, '').as_posix()})"
        rows = [(link, "parameters", "seeds", "final accuracy, %", "lowest, %", "loss")]
        for arm, entry in content["models"].items():
            losses = [run["history"][-1]["eval_loss"] for run in entry["runs"]]
            count = content["target"].last_epochs if epochs_of(entry) > content["target"].last_epochs else 1
            counts = replace(content["target"], last_epochs=count)
            rows.append(
                (
                    f"**{arm}**" if arm == study.chosen else arm, f"{entry['parameters']:,}",
                    named(finals(entry)).split(" ", 1)[1], with_error(finals(entry).values(), 3),
                    f"{lowest(entry, counts):.2f}", with_error(losses, 4),
                )
            )  # fmt: skip
        parts.append(f"### {study.question}\n\n{table(*rows, right=(1, 3, 4, 5))}")
    return "\n\n".join(parts)


def with_error(values, digits):
    """Write the mean of one value a seed and its standard error."""
    mean = mean_over_seeds(list(values))
    return f"{mean.mean:.{digits}f} ± {mean.sd / len(values) ** 0.5:.{digits}f}"


def speed(benchmark):
    """Write the table of results/benchmark.json."""
    where = benchmark["environment"]
    rows = [("training Model_8", "epochs", "seconds in all", "seconds an epoch", "peak memory, MiB")]
    for name, loop in (("ours, the recipe for few epochs", "ours"), ("the published kind of loop", "published")):
        told = benchmark[loop]
        rows.append(
            (
                name, str(len(told["epochs"])), f"**{told['total_seconds']:.0f}**",
                f"{statistics.mean(told['epochs']):.1f}", f"{told['peak_memory_mib']:,}",
            )
        )  # fmt: skip
    ours, theirs = benchmark["ours"], benchmark["published"]
    slower = statistics.mean(theirs["epochs"]) / statistics.mean(ours["epochs"])
    note = (
        f"The published kind of loop takes **{benchmark['ratio']:.1f} times as long**: "
        f"{len(theirs['epochs']) / len(ours['epochs']):.0f} times the epochs, and "
        f"{slower:.1f} times the seconds an epoch. It computes in float32, on images that PIL turns one at a time; "
        f"ours in {where['precision']}, on whole batches. One `python -m src.benchmark` timed both on "
        f"{where['threads']} cores of an {where['processor']}, preparation, augmentation and scoring included; ours "
        f"is the median of {len(ours['runs'])} runs."
    )
    return table(*rows, right=range(1, 5)) + "\n\n" + note


def layers_of(model_class):
    """Return the lines of src/model.py that list a model's layers."""
    listed = re.search(r"super\(\).__init__\(\n(.*?)\n +\)\n", inspect.getsource(model_class), re.DOTALL)[1]
    return textwrap.dedent(listed)


def what_changed(name):
    """Return the idea of a model: its docstring up to the count of parameters."""
    return re.match(r"(.*?): [\d,]+ parameters", getattr(models, name).__doc__)[1]


# ---------------------------------------------------------------- tables that a notebook prints


def step_lines(content, compare=True):
    """Write the table that ends a notebook: target, measured and met; `compare` with what is published."""
    target = content["target"]
    yield f"Target: {target}.\n"
    lowest_of = f"lowest of the last {target.last_epochs}, %"
    yield f"{'model':8}  {'parameters':>10}  {'final epoch, %':>14}  {lowest_of:>23}  met"
    for name, entry in content["models"].items():
        yield (
            f"{name:8}  {entry['parameters']:>10,}  {final_text(entry):>14}  {lowest(entry, target):>23.2f}  "
            f"{met_text(entry)}"
        )
        if compare and (published := published_text(name, entry)):
            yield f"{'':8}  {published}"


def seeds_lines(contents):
    """Write how studies ended over their seeds."""
    width = max(len(arm) for content in contents for arm in content["models"])
    yield f"{'':{width}}  epochs  mean, %  95 % interval        sd  lowest  target met (95 % interval)"
    for content in contents:
        for arm, entry in content["models"].items():
            mean, interval = mean_text(entry)
            yield (
                f"{arm:{width}}  {epochs_of(entry):>6}  {mean:>7}  {interval:16}  {sd_text(entry)}  "
                f"{lowest(entry, content['target']):6.2f}  {met_text(entry)} ({rate_text(entry)})"
            )


def changes_lines(content):
    """Write what each change in a study makes of its first arm."""
    difference = differences_to_first({arm: finals(entry) for arm, entry in content["models"].items()})
    width = max(map(len, content["models"]))
    yield f"{'':{width}}  parameters  mean, %  lowest  minus the first, 95 % interval"
    for arm, entry in content["models"].items():
        mean, _ = mean_text(entry)
        gap = "{0.mean:+.3f}  ({0.low:+.3f} to {0.high:+.3f})".format(difference[arm]) if arm in difference else ""
        yield f"{arm:{width}}  {entry['parameters']:>10,}  {mean:>7}  {lowest(entry, content['target']):6.2f}  {gap}"


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


NO_NAME = "your-name/mnist-under-8000"  # what stands in pyproject.toml until the repository has an address


def repository():
    """Return owner/name on GitHub, which pyproject.toml alone decides."""
    url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"]
    return "/".join(url.rstrip("/").split("/")[-2:])


def name_from(origin, project):
    """Return pyproject.toml's text with the repository that git's `origin` names, where it is on GitHub.

    Only once: a name that somebody has settled stays, also in a fork.
    """
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", origin)
    return project.replace(f"https://github.com/{NO_NAME}", f"https://github.com/{found[1]}") if found else project


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


def texts():
    """Return what README.md and the notebooks should say, by path, as the evidence has it."""
    contents = [read_step(step) for step in STEPS]
    notebooks = {step: ROOT / "notebooks" / f"Step{step}.ipynb" for step in STEPS}
    benchmark = json.loads((RESULTS / "benchmark.json").read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    bootstrap = notebooks[1].read_text(encoding="utf-8")
    studies = [read_study(name) for name in carried_out() if STUDIES[name].claims]
    generated = {
        "studies": studies_table(studies),
        "network": f"```python\n{layers_of(models.Model_8)}\n```",
        "table": steps_table(contents),
        "speed": speed(benchmark),
    }
    log = RESULTS / "search.md"
    choices = [read_study(name) for name in carried_out() if STUDIES[name].question]
    text = with_repository(readme.read_text(encoding="utf-8"), bootstrap)
    for name, part in generated.items():
        text = between(text, name, part)
    citation = ROOT / "CITATION.cff"
    found = {
        readme: text,
        citation: with_repository(citation.read_text(encoding="utf-8"), bootstrap),
        log: between(log.read_text(encoding="utf-8"), "search", search(choices)),
    }
    if saved := reader.saved():
        found[RESULTS / page.NAME] = page.html({name: reader.load(name) for name in saved})
    for content in contents:
        path = notebooks[content["step"]]
        notebook = json.loads(with_repository(path.read_text(encoding="utf-8"), bootstrap))
        card = notebook["cells"][1]
        # The last step is judged over many seeds; its single runs stand at the notebook's end.
        many = content["step"] == STEPS[-1]
        result = generated["studies"].replace("(results/", "(../results/") if many else card_result(content)
        card["source"] = between("".join(card["source"]), "result", result).splitlines(keepends=True)
        notebook["metadata"].pop("papermill", None)  # it tells when and where one execution took place, and so do cells
        for cell in notebook["cells"]:
            tags = cell["metadata"].get("tags")
            cell["metadata"] = {"tags": tags} if tags else {}
            if "outputs" in cell:
                cell["outputs"] = joined(cell["outputs"])
        found[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return found


def joined(outputs):
    """Join what a cell printed bit by bit, as a training prints its epochs: a viewer sets every output apart."""
    kept = []
    for output in outputs:
        if kept and output["output_type"] == kept[-1]["output_type"] == "stream" and output["name"] == kept[-1]["name"]:
            output = output | {"text": [*kept.pop()["text"], *output["text"]]}
        kept.append(output)
    return kept


def figures():
    """Draw every figure of results/ from the evidence: yield its path and its PNG bytes."""
    contents = steps_in(RESULTS)
    for content in contents:
        yield RESULTS / f"Step{content['step']}.png", plots.png(step_figure(content))
    if contents:
        yield RESULTS / "overview.png", plots.png(plots.overview(contents))
    for name in carried_out():
        if not STUDIES[name].figure:
            continue
        picture = path_of({"study": name}, RESULTS).with_suffix(".png")
        yield picture, plots.png(study_figure(read_study(name)))


def carried_out():
    """Name the studies that have evidence: one that is only declared is not told of yet."""
    return [name for name in STUDIES if path_of({"study": name}, RESULTS).exists()]


def main():
    project = ROOT / "pyproject.toml"
    git = ["git", "remote", "get-url", "origin"]
    try:
        own = git_commit() != "unknown"  # a copy inside another repository has no name of its own
        origin = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout if own else ""
        write(project, name_from(origin.strip(), project.read_text(encoding="utf-8")))
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
