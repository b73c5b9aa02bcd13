"""Every table of README, cards and notebooks, and how numbers are written: evidence in, Markdown out."""

import inspect
import re
import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from torch import nn

from src import model as models
from src.evidence import standings
from src.evidence.intervals import Mean, mean_over_seeds, paired_difference, pass_rate_interval
from src.evidence.results import Timed, Usps, read_published
from src.evidence.schema import Arm, Evidence, Target, path_to, read_named, seed_numbers
from src.evidence.storage import RESULTS
from src.receptive_field import layers

# README's first table: its label, the study, the arm; all of confirmation seeds.
CLAIMS = (
    ("Model_8", "model_8_confirmation", "Model_8"),
    ("Model_9", "model_9_confirmation", "Model_9"),
    ("Model_8, 3 epochs", "three_epochs_confirmation", "Model_8, 3 epochs"),
    ("Model_8, 2 epochs", "three_epochs_confirmation", "Model_8, 2 epochs"),
)
# Its second table: seeds that earlier recipes had met, too.
EARLIER = (
    ("Model_8, earlier seeds", "model_8", "Model_8"),
    ("Model_8, raw images", "raw_images", "Model_8, raw images"),
    ("Model_9's plan, 3,998 parameters", "model_9", "3,998 parameters"),
)

# Two things that are combined in four ways, five seeds each: what to hold, the columns, the rows.
DROPOUT_AND_DECAY = 99.0, ("constant learning rate", "learning-rate decay"), {
    "Model_5, no dropout": (("published_models", "Model_5"), ("model_5", "learning-rate decay")),
    "Model_6, dropout": (("published_models", "Model_6"), ("published_models", "Model_6, learning-rate decay")),
}  # fmt: skip
SWAPPED = 99.4, ("Model_5's recipe", "Model_8's recipe"), {
    "Model_5's network": (("model_5", "Model_5 as published"), ("model_5", "Model_8's recipe")),
    "Model_8's network": (("model_5", "Model_8's network, Model_5's recipe"), ("layout", "Model_8")),
}  # fmt: skip

# Single changes to Model_8, and which of them its card shows.
ABLATIONS = ("ablation_images", "ablation_training", "ablation_network", "ablation_rivals")
CHANGES = (
    ("ablation_training", "no weight averaging"),
    ("ablation_rivals", "no weight averaging, decay from epoch 4"),
    ("ablation_images", "no augmentation"),
    ("ablation_images", "no augmentation decay"),
    ("ablation_rivals", "half of each augmentation, no decay"),
    ("ablation_images", "raw images"),
    ("ablation_images", "size normalisation, no deslanting"),
    ("ablation_images", "no elastic distortion"),
    ("ablation_rivals", "no deslanting, no elastic distortion"),
    ("ablation_rivals", "SGD, rate and weight decay tuned"),
    ("ablation_training", "no learning-rate decay"),
    ("ablation_network", "dropout 0.1"),
)

BUDGET = Target.max_parameters + 1
MOST_ROWS = 12  # of a search's trials

Claim = tuple[str, Evidence, str]  # a label, a study, and the name of its arm

# ---------------------------------------------------------------- numbers as words


def percent(value: float) -> str:
    """Write a percentage with two decimals: what 10,000 images can tell."""
    return f"{value:.2f} %"


def field_text(receptive_field: tuple) -> str:
    """Write a receptive field and that before a global average, where they are known."""
    field, before = receptive_field
    if field is None:
        return "–"
    return f"{before}, then {field} by averaging" if before else str(field)


def accuracy_text(values: Iterable[float]) -> str:
    """Write an accuracy in percent, of several runs their mean and standard deviation; "–" of none."""
    values = list(values)
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    mean = mean_over_seeds(values)
    return f"{mean.mean:.2f} ± {mean.sd:.2f}"


def held_text(arm: Arm, target: Target) -> str:
    """Write in how many runs the target is met."""
    return f"{arm.holding(target)}\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}{len(arm.runs)}"


def interval_text(mean: Mean) -> str:
    """Write the 95 % interval of a Mean."""
    return f"{mean.low:.3f} to {mean.high:.3f}"


def gap_text(gap: Mean, comparisons: int) -> str:
    """Write a difference and its 95 % interval, bold if p < 0.05 after Bonferroni's correction for `comparisons`."""
    written = f"{gap.mean:+.3f} ({interval_text(gap)})"
    return f"**{written}**" if comparisons * gap.p < 0.05 else written


def mean_of(arm: Arm) -> Mean:
    """Return the Mean of an arm's final accuracies in percent."""
    return mean_over_seeds(list(arm.finals.values()))


def _mean_lowest(arm, target):
    return f"{statistics.mean(arm.lowest_by_seed(target).values()):.3f}"


def rate_text(arm: Arm, target: Target) -> str:
    """Write the 95 % interval of the rate of runs that meet the target."""
    low, high = pass_rate_interval(arm.holding(target), len(arm.runs))
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def table(*rows: Sequence[str], right: Iterable[int] = ()) -> str:
    """Write a Markdown table: the first row is its head; the columns that `right` numbers are flush right."""
    head, *body = rows
    rule = ["-:" if column in right else "-" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


# ---------------------------------------------------------------- tables of README and the cards


def card_table(step: Evidence) -> str:
    """Write the Result table of a step's card: one row for each model."""
    target = step.target
    rows = [
        (
            "model", "parameters", "receptive field", "training, %", "test, %",
            f"lowest of the last {target.last_epochs}, %", f"{target.percent:.1f} % held", "published: best, %",
        )
    ]  # fmt: skip
    for name, arm in step.arms.items():
        training = [run.train_score.accuracy if run.train_score else run.history[-1].train_accuracy for run in arm.runs]
        published = f"{read_published().rebuilt[name].best:.2f}" if name in read_published().rebuilt else ""
        rows.append(
            (
                name, f"{arm.parameters:,}", field_text(arm.receptive_field), accuracy_text(training),
                f"**{accuracy_text(arm.finals.values())}**", f"{arm.lowest(target):.2f}", held_text(arm, target),
                published,
            )
        )  # fmt: skip
    return table(*rows, right=(1, 3, 4, 5, 7))


def read_claims(claims: Iterable[tuple[str, str, str]]) -> list[Claim]:
    """Read the studies of CLAIMS, or of claims like these, for `claims_table`."""
    return [(label, read_named(study), name) for label, study, name in claims]


def claims_of(*studies: Evidence) -> list[Claim]:
    """Return each arm of studies, under its own name, for `claims_table`."""
    return [(name, study, name) for study in studies for name in study.arms]


def claims_table(claims: list[Claim], folder: str = RESULTS.name) -> str:
    """Write what studies found: `claims` are labels, Evidence and arms. `folder` is results/ as seen from the text."""
    held = f"runs that hold {claims[0][1].target.percent:.1f} % (95 % interval)"
    rows = [("model", "parameters", held, "mean final, %", "mean lowest, %", "lowest of all, %", "seeds")]
    for label, study, name in claims:
        arm, target = study.arms[name], study.target
        rows.append(
            (
                f"[{label}]({path_to(study.name, folder).as_posix()})", f"{arm.parameters:,}",
                f"**{held_text(arm, target)}** ({rate_text(arm, target)})", f"**{mean_of(arm).mean:.3f}**",
                _mean_lowest(arm, target), f"{arm.lowest(target):.2f}", seed_numbers(arm.finals),
            )
        )  # fmt: skip
    return table(*rows, right=(1, 3, 4, 5))


def combined_table(percent: float, columns: Sequence[str], combinations: dict[str, Sequence[tuple[str, str]]]) -> str:
    """Write how runs end by two things combined: the mean of their lowest epochs, and how many hold `percent`.

    Beside and below are the four differences, bold where p < 0.05 after Bonferroni's correction for four.
    """
    rows, lowest = [("mean lowest", *columns, "difference")], {}
    for name, pair in combinations.items():
        cells = []
        for study, arm_name in pair:
            evidence = read_named(study)
            arm, target = evidence.arms[arm_name], replace(evidence.target, accuracy=percent / 100)
            cells.append(f"{_mean_lowest(arm, target)} %, {held_text(arm, target)} hold {percent} %")
            lowest.setdefault(name, []).append(arm.lowest_by_seed(target))
        rows.append((name, *cells, gap_text(paired_difference(*reversed(lowest[name])), 4)))
    below = (gap_text(paired_difference(low, high), 4) for high, low in zip(*lowest.values(), strict=True))
    return table(*rows, ("difference", *below, ""))


def changes_table(*studies: Evidence, only: Sequence[tuple[str, str]] = ()) -> str:
    """Write what each change makes of its study's first arm; `only` names some, as pairs of a study and an arm.

    Bold has p < 0.05 after Bonferroni's correction for all changes of these studies.
    """
    found = {(study.name, name): study for study in studies for name in list(study.arms)[1:]}
    last = studies[0].target.last_epochs
    rows = [("change", "final epoch, points", f"lowest of the last {last}, points", "hold 99.4 %")]
    for change in only or found:
        study, (_, name) = found[change], change
        arm, first = study.arms[name], next(iter(study.arms.values()))
        lowest = (each.lowest_by_seed(study.target) for each in (arm, first))
        gaps = paired_difference(arm.finals, first.finals), paired_difference(*lowest)
        cells = (gap_text(gap, len(found)) for gap in gaps)
        rows.append((name, *cells, held_text(arm, study.target)))
    return table(*rows)


def leaderboard_table() -> str:
    """Write the best mean of each category of the leaderboard."""
    rows = [("at most", "mean final, %", "95 % interval", "seeds", "parameters", "epochs", "who", "evidence")]
    entries = standings.entries()
    for category, parameters, epochs in standings.categories():
        entry = standings.best(entries, parameters, epochs)
        if entry is None:
            rows.append((category, *["–"] * 7))
            continue
        mean, arm, bold = entry.mean, entry.arm, "**" if entry.counts else ""
        rows.append(
            (
                category, f"{bold}{mean.mean:.3f}{bold}", interval_text(mean), str(len(arm.runs)),
                f"{arm.parameters:,}", str(len(arm.runs[0].history)), entry.by or "this repository",
                f"[{entry.name}](studies/{entry.study}.json)",
            )
        )  # fmt: skip
    return table(*rows, right=(1, 3, 4, 5))


def single_runs_table() -> str:
    """Write the public run with the best epoch of each size that records are kept for."""
    rows = [("at most", "best epoch, %", "final, %", "parameters", "epochs", "who")]
    for category, parameters, _ in standings.categories()[: len(standings.PARAMETERS)]:
        run = max((run for run in read_published().runs if run.parameters <= parameters), key=lambda run: run.best)
        final, epochs = ("–" if value is None else str(value) for value in (run.final, run.epochs))
        who = f"[{run.of}]({run.url})"
        rows.append((category, f"{run.best:.2f}", final, f"{run.parameters:,}", epochs, who))
    return table(*rows, right=(1, 2, 3, 4))


def steps_table(steps: list[Evidence]) -> str:
    """Write README's table: one row for each model of the steps."""
    last = f"lowest of the last {steps[0].target.last_epochs}, %"
    rows = [("step", "model", "holds", "final, %", last, "parameters", "what it is")]
    for step in steps:
        number, target = step.name.removeprefix("Step"), step.target
        link = f"[{number}](notebooks/{step.name}.ipynb)"
        for name, arm in step.arms.items():
            held = "yes" if arm.holding(target) == len(arm.runs) else "no"
            held = f"{target.percent:.1f} %: {held}".replace(" ", "\N{NO-BREAK SPACE}")
            rows.append(
                (
                    link, name, held, accuracy_text(arm.finals.values()),
                    f"{arm.lowest(target):.2f}", f"{arm.parameters:,}", idea(name),
                )
            )  # fmt: skip
            link = ""
    return table(*rows, right=(3, 4, 5))


def search_table(study: Evidence) -> str:
    """Write what one study on the validation split found."""
    rows = [(f"[runs]({study.name}.json)", "parameters", "seeds", "final accuracy, %", "lowest, %", "loss")]
    for name, arm in list(study.arms.items())[:MOST_ROWS]:
        last = study.target.last_epochs if len(arm.runs[0].history) > study.target.last_epochs else 1
        lowest = min(epoch.accuracy for run in arm.runs for epoch in run.history[-last:])
        rows.append(
            (
                f"**{name}**" if name == study.chosen else name, f"{arm.parameters:,}",
                seed_numbers(arm.finals), with_error(arm.finals.values(), 3), f"{lowest:.2f}",
                with_error([run.history[-1].eval_loss for run in arm.runs], 4),
            )
        )  # fmt: skip
    shown = f"\n\n{MOST_ROWS} of {len(study.arms)} are shown." if len(study.arms) > MOST_ROWS else ""
    return f"### {study.question}\n\n{table(*rows, right=(1, 3, 4, 5))}{shown}"


def with_error(values: Iterable[float], digits: int) -> str:
    """Write the mean of one value a run and its standard error."""
    values = list(values)
    mean = mean_over_seeds(values)
    return f"{mean.mean:.{digits}f} ± {mean.sd / len(values) ** 0.5:.{digits}f}"


def speed_table(programs: dict[str, Timed]) -> str:
    """Write the table of results/benchmark.json: `programs` maps a name to each Timed."""
    rows = [
        (
            "program", "parameters", "epochs", "accuracy, %", "seconds", "seconds to 99.0 %", "seconds to 99.4 %",
            "peak memory, MiB",
        )
    ]  # fmt: skip
    for name, timed in programs.items():
        until = (timed.seconds_until(correct) for correct in (9_900, 9_940))
        rows.append(
            (
                name, f"{timed.parameters:,}", str(len(timed.epochs)), f"{timed.correct[-1] / 100:.2f}",
                f"{timed.seconds:,.0f}", *("–" if seconds is None else f"{seconds:.0f}" for seconds in until),
                f"{timed.peak_memory_mib:,}",
            )
        )  # fmt: skip
    return table(*rows, right=range(1, 8))


def layers_text(network: Callable[[], nn.Module]) -> str:
    """Write a network's layers as a table, and where it stands in the budget."""
    found = layers(network())
    rows = [("layer", "kernel", "stride", "padding", "jump", "receptive field", "output shape", "parameters")]
    for layer in found:
        numbers = layer.kernel, layer.stride, layer.padding, layer.jump, layer.receptive_field
        shape = " x ".join(map(str, layer.shape))
        cells = ("–" if number is None else str(number) for number in numbers)
        rows.append((layer.name, *cells, shape, f"{layer.parameters:,}"))
    total = sum(layer.parameters for layer in found)
    room = f"{BUDGET - total:,} under" if total < BUDGET else f"{total - BUDGET + 1:,} too many for"
    says = f"{total:,} parameters: {room} the budget of fewer than {BUDGET:,}."
    return f"{table(*rows, right=range(1, 8))}\n\n{says}"


def layer_lines(model_class: type) -> str:
    """Return the lines of src/model.py that list a model's layers."""
    listed = re.search(r"super\(\).__init__\(\n(.*?)\n +\)\n", inspect.getsource(model_class), re.DOTALL)[1]
    return textwrap.dedent(listed)


def idea(name: str) -> str:
    """Return the idea of a model: its docstring up to the count of parameters."""
    return re.match(r"(.*?): [\d,]+ parameters", getattr(models, name).__doc__)[1]


# ---------------------------------------------------------------- digits from USPS


def usps_table(usps: Usps) -> str:
    """Write how networks read USPS."""
    count = usps.images.train + usps.images.test
    rows = [("network", "runs", f"all {count:,}, %", "95 % interval", f"test part ({usps.images.test:,}), %")]
    for name, of_name in usps.accuracies().items():
        whole, test = (statistics.mean(of_name[part]) for part in ("all", "test"))
        interval = interval_text(mean_over_seeds(of_name["all"])) if len(of_name["all"]) > 1 else "–"
        rows.append((name, str(len(of_name["all"])), f"{whole:.3f}", interval, f"{test:.2f}"))
    return table(*rows, right=(1, 2, 4))


def confidence_lines(usps: Usps) -> Iterator[str]:
    """Write how far one network is right where it is sure."""
    sure = usps.confidence
    errors = ", ".join(f"{100 * e:.2f} points ({name})" for name, e in sure.expected_calibration_error.items())
    answered, wrong = sure.without_warning.answered, sure.without_warning.wrong
    warned = usps.images.train + usps.images.test - answered
    rest = next(iter(sure.wrong.values()))[0] - wrong
    yield f"{sure.network}, seed 0, calibration error: {errors}; temperature {sure.temperature:.2f}"
    yield f"Answers without a warning: {answered:,}, {wrong} of them wrong; with one: {warned:,}, {rest} wrong"
