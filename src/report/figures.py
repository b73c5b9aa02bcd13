"""Every figure. Each function returns a matplotlib Figure and shows nothing."""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import PIL
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image, PngImagePlugin
from torch import nn

from src.evidence.intervals import mean_over_seeds, paired_difference
from src.evidence.results import Confidence, UspsArm, pareto_front, read_published
from src.evidence.schema import Evidence, seeds_text
from src.evidence.storage import write
from src.receptive_field import layers

INK, FAINT, SOFT = "#222222", "#777777", "#bbbbbb"
CLEAR = "#882255"  # no model's: for a difference that is shown, a receptive field, and what others reached
OUR_GREEN = "#009e73"
# One colour a model in every figure, told apart by colour-blind readers within a step.
COLOURS = {
    "Model_1": "#8c510a", "Model_2": "#e69f00", "Model_3": "#0072b2",
    "Model_4": "#999933", "Model_5": "#cc79a7", "Model_6": "#56b4e9",
    "Model_7": "#d55e00", "Model_8": OUR_GREEN, "Model_9": "#332288",
}  # fmt: skip
# Two arms of results/studies/ablation_training.json, and what a figure calls them.
AVERAGING = {"the whole recipe": "averaged weights", "no weight averaging": "no averaging"}
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps a label legible on a digit
LUMINANCE = (0.213, 0.715, 0.072)  # of red, green and blue
DARK = ("reading", "model_8_confirmation", "weight_averaging", "overview", "frontier")  # README has them in both
DARK_PAGE = (13, 17, 23)  # GitHub's
WIDTH = 8.5  # inches: the text of README on GitHub
NARROW = 6.4  # of plots in README, so that their letters can be read on a telephone, too


def _figure(height, rows=1, columns=1, width=WIDTH, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    return figure, axes


def _claim(axis, text):
    axis.set_title(text, loc="left", fontsize=11, color=INK)


def _colour(name):
    """Return the colour of a model; a network that only studies use has none of its own."""
    return COLOURS.get(name, FAINT)


def png(figure: Figure) -> bytes:
    """Render a figure as PNG bytes. The same versions of matplotlib and Pillow, which they name, give the same bytes.

    With 128 colours a figure has a third of the bytes, and nobody sees the difference.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=192)
    few = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    return _packed(few, f"matplotlib {matplotlib.__version__}, Pillow {PIL.__version__}")


def _packed(image, software):
    """Return an image as PNG bytes that name the software."""
    packed, named = io.BytesIO(), PngImagePlugin.PngInfo()
    named.add_text("Software", software)
    image.save(packed, "PNG", optimize=True, pnginfo=named)
    return packed.getvalue()


def dark(picture: bytes) -> bytes:
    """Return a figure's PNG bytes for a dark page: white becomes the page's colour, black white, hues stay.

    Colours are turned about the grey axis by 180 degrees and inverted, as CSS does with invert(1) hue-rotate(180deg).
    """
    drawn = Image.open(io.BytesIO(picture))
    colours = np.array(drawn.getpalette("RGB"), dtype=float).reshape(-1, 3)
    inverted = 255 - (2 * (colours @ LUMINANCE)[:, None] - colours)
    page = np.array(DARK_PAGE)
    drawn.putpalette((page + inverted.clip(0, 255) / 255 * (255 - page)).round().astype(np.uint8).tobytes())
    return _packed(drawn, drawn.text["Software"])


def made_with(picture: bytes) -> str | None:
    """Return the versions of matplotlib and Pillow that PNG bytes name."""
    named = re.search(rb"matplotlib [\w.+]+, Pillow [\w.+]+", picture)
    return named and named[0].decode()


def variants(path: Path, picture: bytes) -> dict[Path, bytes]:
    """Return what is written of a figure's PNG bytes, by path: with its dark variant, where README shows it."""
    return {path: picture} | ({path.with_stem(f"{path.stem}_dark"): dark(picture)} if path.stem in DARK else {})


def save_picture(picture: bytes, path: Path) -> None:
    """Write a figure's PNG bytes and its dark variant, where it has one, whole or not at all."""
    for variant, content in variants(path, picture).items():
        write(variant, content)


def samples(rows: dict[str, torch.Tensor]) -> Figure:
    """Draw a strip of images: `rows` maps a label to images of shape (N, 1, 28, 28), one row of them each."""
    count = max(len(images) for images in rows.values())
    figure, axes = _figure(0.82 * len(rows), len(rows), count)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images.cpu(), strict=False):
            axis.imshow(image[0].numpy(), cmap="gray_r")
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(label, fontsize=9, color=INK, rotation=0, ha="right", va="center")
    return figure


def reading(panels: dict[str, np.ndarray], probabilities: list[float]) -> Figure:
    """Draw what becomes of a picture on its way through a network, and the ten probabilities at its end.

    `panels` maps a label to an array: (H, W), of which high values are dark, or (H, W, 3) from 0 to 1.
    """
    figure = Figure(figsize=(NARROW, 1.4), layout="constrained")
    *pictures, bars = figure.subplots(1, len(panels) + 1, width_ratios=[1] * len(panels) + [1.4])
    for axis, (label, values) in zip(pictures, panels.items(), strict=True):
        axis.imshow(values, cmap="gray_r")
        axis.axis("off")
        axis.set_anchor("N")
        axis.set_title(label, fontsize=9, color=INK)
    bars.bar(range(10), probabilities, color=OUR_GREEN)
    bars.spines[["top", "right", "left"]].set_visible(False)
    bars.set_xticks(range(10))
    bars.set_yticks([])
    bars.set_ylim(0, 1)
    bars.tick_params(labelsize=8)
    best = max(range(10), key=probabilities.__getitem__)
    bars.set_title(f"answer: {best}\n{100 * probabilities[best]:.1f} % sure", fontsize=9, color=INK)
    return figure


def mosaic(maps: np.ndarray) -> np.ndarray:
    """Lay the square maps of a layer (C, S, S) out in a square, with gaps between them."""
    count, size, _ = maps.shape
    columns = math.ceil(math.sqrt(count))
    pitch = size + max(1, size // 8)
    found = np.full((columns * pitch, columns * pitch), np.nan)
    for at, values in enumerate(maps):
        top, left = at // columns * pitch, at % columns * pitch
        found[top : top + size, left : left + size] = values
    return found


def step_curves(step: Evidence) -> Figure:
    """Draw accuracy by epoch of each run of a step, each line with its name at its end."""
    figure, ((axis,),) = _figure(3.6)
    target, line = step.target, step.target.percent
    runs = [(name, run) for name, arm in step.arms.items() for run in arm.runs]
    last = max(len(run.history) for _, run in runs)
    ends, floor = {f"target {line:.1f} %": (line, INK)}, line
    for name, run in runs:
        test = [epoch.accuracy for epoch in run.history]
        axis.plot([epoch.epoch for epoch in run.history], test, color=_colour(name), marker=".", linewidth=1.6)
        label = f"{name}, seed {run.seed}" if len(runs) > len(step.arms) else name
        ends[f"{label}  {test[-1]:.2f}"] = (test[-1], _colour(name))
        floor = min(floor, *test[len(test) // 3 :])
    top = max(value for value, _ in ends.values()) + 0.2
    floor -= 0.1
    axis.axhline(line, color=INK, linewidth=1, linestyle="--")
    first = max(0.5, last - target.last_epochs + 0.5)  # a short trial has fewer epochs than count
    axis.axvspan(first, last + 0.5, color=SOFT, alpha=0.25, linewidth=0)
    says = f"the last {target.last_epochs} epochs count"
    at_top, at_right = axis.get_xaxis_transform(), axis.get_yaxis_transform()
    axis.text((first + last + 0.5) / 2, 0.97, says, transform=at_top, fontsize=9, color=FAINT, ha="center", va="top")
    for text, height in _apart({text: value for text, (value, _) in ends.items()}, (top - floor) / 14).items():
        axis.text(1.01, height, text, transform=at_right, fontsize=9, color=ends[text][1], va="center")
    axis.set_ylim(floor, top)
    axis.set_xlim(0.5, last + 0.5)
    axis.set_xticks(range(1, last + 1, 2))
    axis.set(xlabel="epoch (lower values are cut off)", ylabel="test accuracy, %")
    axis.grid(axis="y", alpha=0.25)
    return figure


def _apart(heights, least):
    """Move labels apart that would lie on each other, keeping their order; `heights` maps a label to its place."""
    placed, below = {}, None
    for label, height in sorted(heights.items(), key=lambda item: item[1]):
        below = height if below is None else max(height, below + least)
        placed[label] = below
    return placed


def architecture(model: nn.Module, image: torch.Tensor) -> Figure:
    """Draw a network as the maps that its layers make, and on a digit (1, H, W) what a pixel of each sees."""
    found = layers(model)
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    blocks, digit = figure.subplots(1, 2, width_ratios=(5.2, 3.1))
    size = image.shape[-1]
    at, ticks = 0.0, []
    shown = [
        ("image", (1, size, size), 1),
        *((layer.name.split()[0], layer.shape, layer.receptive_field) for layer in found),
    ]
    for name, shape, receptive_field in shown:
        field = "\N{EN DASH}" if receptive_field is None else receptive_field
        channels, height = shape[0], shape[1] if len(shape) > 1 else 1
        width = 0.4 + channels / 16
        blocks.add_patch(
            Rectangle((at, -height / 2), width, height, facecolor=OUR_GREEN, alpha=0.25, edgecolor=OUR_GREEN)
        )
        blocks.text(
            at + width / 2, height / 2 + 0.6, f"{channels}", ha="center", va="bottom", fontsize=9, color=OUR_GREEN
        )
        short = name.replace("Conv2d", "conv").replace("MaxPool2d", "pool").replace("GlobalAvgPool", "average")
        ticks.append((at + width / 2, f"{short}\n{height}\N{MULTIPLICATION SIGN}{height}\n{field}"))
        at += max(width + 0.75, 1.8)  # room for the label of a thin one
    blocks.set_xlim(-0.5, at - 0.25)
    blocks.set_ylim(-size / 2 - 1, size / 2 + 5)
    blocks.spines[:].set_visible(False)
    blocks.set_xticks([x for x, _ in ticks], [label for _, label in ticks], fontsize=9)
    blocks.tick_params(length=0)
    blocks.set_yticks([])
    parameters = sum(layer.parameters for layer in found)
    _claim(blocks, f"{type(model).__name__}: {parameters:,} parameters")
    blocks.set_xlabel("layer, size of its maps, receptive field in pixels of the image (green: channels)", fontsize=9)

    digit.imshow(image[0].cpu().numpy(), cmap="gray_r", vmax=500)
    fields = sorted({(at.receptive_field, at.global_average) for at in found if isinstance(at.receptive_field, int)})
    digit.add_patch(Rectangle((-0.5, -0.5), size, size, fill=False, edgecolor=FAINT, linewidth=1, linestyle=":"))
    for number, (field, averaged) in enumerate(fields):
        line = "--" if averaged else "-"
        low, high = size / 2 - field / 2 - 0.5, size / 2 + field / 2 - 0.5
        digit.add_patch(Rectangle((low, low), field, field, fill=False, edgecolor=CLEAR, linewidth=1, linestyle=line))
        # One corner after the other, so that labels do not lie on each other.
        x, y = ((high, high), (high, low), (low, low), (low, high))[number % 4]
        digit.text(x, y, f"{field}", fontsize=9, color=CLEAR, va="center", ha="center", path_effects=HALO)
    widest = max([size, *(field for field, _ in fields)])
    digit.set_xlim(size / 2 - widest / 2 - 2, size / 2 + widest / 2 + 1)
    digit.set_ylim(size / 2 + widest / 2 + 1, size / 2 - widest / 2 - 2)
    digit.axis("off")
    digit.set_title("receptive fields\n(dotted: image; dashed: after averaging)", fontsize=9, color=INK)
    return figure


def usps(accuracies: dict[str, list[float]], arm: UspsArm, confidence: Confidence) -> Figure:
    """Draw how networks read USPS: each run, one network's mistakes, and its errors if it may be silent.

    `accuracies` maps a network's name to a percentage a run; `arm` and `confidence` are those of results/usps.json.
    """
    figure, ((runs, mistakes, silent),) = _figure(3.3, 1, 3, width_ratios=(1.1, 1, 1.2))
    for at, (name, values) in enumerate(accuracies.items()):
        colour = _colour(name)
        runs.scatter(values, [at] * len(values), s=18, color=colour, alpha=0.5, linewidths=0)
        label = f"{name}: {np.mean(values):.2f} %"
        runs.text(0.02, at - 0.25, label, transform=runs.get_yaxis_transform(), fontsize=9, color=colour)
    runs.set_ylim(len(accuracies) - 0.6, -0.7)
    runs.margins(x=0.1)
    runs.set_yticks([])
    runs.set_xlabel("accuracy of each run, %")

    wrong = np.array(arm.confusion) / len(arm.runs)
    np.fill_diagonal(wrong, 0)
    mistakes.imshow(wrong, cmap="Oranges", vmax=1.5 * wrong.max())
    for row, column in zip(*np.nonzero(wrong >= 1), strict=True):
        mistakes.text(column, row, f"{wrong[row, column]:.0f}", ha="center", va="center", fontsize=8, color=INK)
    mistakes.set_xticks(range(10))
    mistakes.set_yticks(range(10))
    mistakes.set(xlabel=f"read as (mistakes of {confidence.network},\nmean of its runs)", ylabel="digit")

    answered = np.array(confidence.answered)
    for (name, counts), colour, line in zip(confidence.wrong.items(), (OUR_GREEN, CLEAR), ("-", "--"), strict=True):
        silent.plot(100 * answered / answered.max(), 100 * np.array(counts) / answered, line, color=colour, label=name)
    kept = confidence.without_warning
    at = 100 * kept.answered / answered.max(), 100 * kept.wrong / kept.answered
    silent.scatter(*at, s=46, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=3, label="without a warning")
    silent.legend(frameon=False, fontsize=9, loc="upper left", title="sorted by", title_fontsize=9)
    silent.set_ylim(0, None)
    silent.set(xlabel="digits answered, %", ylabel="wrong answers, %")
    return figure


def confusion(labels: torch.Tensor, predicted: torch.Tensor, names: Sequence[str]) -> Figure:
    """Draw counts of true class against predicted class, by name; the correct ones are left blank."""
    rows, columns = len(names), max(len(names), int(predicted.max()) + 1)
    counts = torch.bincount(labels.cpu() * columns + predicted.cpu(), minlength=rows * columns).view(rows, columns)
    wrong = counts.clone()
    wrong.fill_diagonal_(0)
    figure, ((axis,),) = _figure(4.6, width=5)
    axis.imshow(wrong.numpy(), cmap="Oranges", vmin=0, vmax=1.5 * max(6, int(wrong.max())))  # dark ink stays legible
    for row in range(rows):
        for column in range(columns):
            if wrong[row, column]:
                axis.text(column, row, int(wrong[row, column]), ha="center", va="center", fontsize=9, color=INK)
    axis.set_xticks(range(columns), [*names, *map(str, range(rows, columns))])
    axis.set_yticks(range(rows), names)
    axis.set(xlabel="predicted", ylabel="true", title=f"{int(wrong.sum())} mistakes of {len(labels):,}")
    return figure


def mistakes(images: torch.Tensor, labels: torch.Tensor, logits: torch.Tensor, count: int = 20) -> Figure:
    """Draw the mistakes that the model is surest of, the surest first: true digit, predicted digit, probability."""
    probability, predicted = torch.softmax(logits.float(), 1).max(1)
    wrong = (predicted != labels).nonzero().flatten()
    wrong = wrong[probability[wrong].argsort(descending=True)][:count]
    columns = 10
    figure, axes = _figure(1.35 * -(-count // columns), -(-count // columns), columns)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, wrong.tolist(), strict=False):
        axis.imshow(images[index, 0].cpu().numpy(), cmap="gray_r")
        label, guess, sure = int(labels[index]), int(predicted[index]), 100 * float(probability[index])
        axis.set_title(f"{label} read as {guess}\n{sure:.0f} % sure", fontsize=9, color=INK)
    return figure


def overview(steps: list[Evidence]) -> Figure:
    """Draw the epochs of every model that its step's target asks for against that target and the published best."""
    rebuilt = read_published().rebuilt
    figure, ((axis,),) = _figure(4.2, width=NARROW)
    ticks = []
    for evidence in steps:
        first = len(ticks)
        for name, arm in evidence.arms.items():
            at = len(ticks)
            for last in arm.counted(evidence.target).values():
                across = [at + 0.1 * (k - len(last) + 1) for k in range(len(last))]
                axis.scatter(across, last, s=26, color=_colour(name), alpha=0.6, linewidths=0)
                axis.scatter([at], last[-1:], s=70, facecolors="none", edgecolors=INK, linewidths=1.2)
            if name in rebuilt:
                axis.scatter([at + 0.22], [rebuilt[name].best], s=42, marker="D", facecolors="none", edgecolors=INK)
            count = arm.parameters
            ticks.append(f"{name}\n{count / 1e6:.1f} M" if count > 1e6 else f"{name}\n{count:,}")
        line = evidence.target.percent
        axis.hlines(line, first - 0.5, len(ticks) - 0.5, color=INK, linewidth=1, linestyle="--")
        if first:
            axis.axvline(first - 0.5, color=SOFT, linewidth=0.8)
        axis.text(
            first - 0.4, 1.02, evidence.name.replace("Step", "Step "), transform=axis.get_xaxis_transform(), color=INK
        )
    axis.scatter([], [], s=26, color=INK, alpha=0.6, linewidths=0, label="the epochs that count, left to right")
    axis.scatter([], [], s=70, facecolors="none", edgecolors=INK, linewidths=1.2, label="the final epoch")
    axis.scatter([], [], s=42, marker="D", facecolors="none", edgecolors=INK, label="published: best of all epochs")
    axis.plot([], [], color=INK, linewidth=1, linestyle="--", label="the step's target")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    axis.margins(y=0.1)
    axis.set_xlabel("model and its number of parameters")
    axis.set_xticks(range(len(ticks)), ticks, fontsize=9)
    axis.set_xlim(-0.5, len(ticks) - 0.5)
    axis.set_ylabel("test accuracy, %")
    axis.grid(axis="y", alpha=0.25)
    return figure


def strip(evidence: Evidence) -> Figure:
    """Draw each run's last epochs, those that the target asks for, arm by arm in order of the final accuracy."""
    arms, target, at = evidence.arms, evidence.target, 0
    figure, ((axis,),) = _figure(2.4, width=NARROW) if len(arms) == 1 else _figure(3.8)
    gap = max(2, max(len(arm.runs) for arm in arms.values()) // 5)
    line, count = target.percent, target.last_epochs
    which, verb = (f"each of the last {count} epochs", "hold") if count > 1 else ("the final epoch", "reach")
    for name, arm in arms.items():
        first = at
        by_seed = sorted(arm.counted(target).values(), key=lambda last: last[-1])
        colour = _colour(arm.network)
        for at, last in enumerate(by_seed, first):
            axis.plot([at, at], [min(last), max(last)], color=SOFT, linewidth=1, zorder=1)
            axis.scatter([at] * len(last), last, s=18, color=colour, alpha=0.5, linewidths=0)
            axis.scatter([at], last[-1:], s=46, facecolors="none", edgecolors=INK, linewidths=1.2)
        if len(by_seed) > 1:
            mean = mean_over_seeds([last[-1] for last in by_seed])
            axis.fill_between([first - 0.5, at + 0.5], mean.low, mean.high, color=colour, alpha=0.2, linewidth=0)
            axis.plot([first - 0.5, at + 0.5], [mean.mean] * 2, color=colour, linewidth=1.2)
            if len(arms) == 1:
                says = f"mean\n{mean.mean:.3f} %"
                at_right = axis.get_yaxis_transform()
                axis.text(1.01, mean.mean, says, transform=at_right, fontsize=9, color=colour, va="center")
            else:
                says = f"{name}\nmean {mean.mean:.3f} %\n{arm.holding(target)} of {len(by_seed)} {verb} {line:.1f} %"
                axis.text((first + at) / 2, 1.02, says, transform=axis.get_xaxis_transform(), ha="center", fontsize=9)
        at += 1 + gap
    if len(arms) == 1:
        ((name, arm),) = arms.items()
        _claim(axis, f"{name}: {arm.holding(target)} of {len(arm.runs)} runs {verb} {line:.1f} % in {which}")
    axis.axhline(line, color=INK, linewidth=1, linestyle="--")
    says = f"target\n{line:.1f} %"
    axis.text(1.01, line, says, transform=axis.get_yaxis_transform(), fontsize=9, color=INK, va="center")
    if count > 1:
        axis.scatter([], [], s=18, color=INK, alpha=0.5, linewidths=0, label=f"one of the last {count} epochs")
    axis.scatter([], [], s=46, facecolors="none", edgecolors=INK, linewidths=1.2, label="the final epoch")
    axis.fill_between([], [], [], color=INK, alpha=0.2, linewidth=0, label="95 % interval of the mean")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    axis.margins(y=0.12)
    axis.set_xticks([])
    last = at - gap - 1
    axis.set_xlim(-0.8, last + 0.8)
    axis.set(xlabel="one column per run, sorted by final accuracy", ylabel=f"{evidence.split} accuracy, %")
    axis.grid(axis="y", alpha=0.25)
    return figure


def epoch_by_epoch(evidence: Evidence, labels: dict[str, str]) -> Figure:
    """Draw the test accuracy of all runs of some arms by epoch: the mean, and from the lowest to the highest run.

    `labels` maps an arm's name to what the figure calls it.
    """
    target = evidence.target
    figure, ((axis,),) = _figure(3.2, width=NARROW)
    line = target.percent
    for (name, label), colour in zip(labels.items(), (OUR_GREEN, CLEAR), strict=False):
        arm = evidence.arms[name]
        values = np.array([[epoch.accuracy for epoch in run.history] for run in arm.runs])
        numbers = range(1, values.shape[1] + 1)
        says = f"{label}: {arm.holding(target)} of {len(arm.runs)} runs hold {line:.1f} %"
        axis.plot(numbers, values.mean(0), color=colour, marker=".", linewidth=1.6, label=says)
        axis.fill_between(numbers, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
    last = len(numbers)
    axis.axhline(line, color=INK, linewidth=1, linestyle="--")
    axis.axvspan(last - target.last_epochs + 0.5, last + 0.5, color=SOFT, alpha=0.25, linewidth=0)
    axis.text(
        last - target.last_epochs / 2 + 0.5, 0.03, f"the last {target.last_epochs} epochs count", fontsize=9,
        color=FAINT, ha="center", transform=axis.get_xaxis_transform(),
    )  # fmt: skip
    axis.set_ylim(98.8, values.max() + 0.1)
    axis.set_xlim(0.5, last + 0.5)
    axis.set(xlabel="epoch (lower values are cut off)", ylabel=f"{evidence.split} accuracy, %")
    axis.grid(axis="y", alpha=0.25)
    axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def forest(evidence: Evidence) -> Figure:
    """Draw each arm's difference to the first in points, paired by seed, with 95 % intervals, in the study's order."""
    arms, target = evidence.arms, evidence.target
    (baseline, first), *_ = arms.items()
    figure, ((axis,),) = _figure(1.3 + 0.3 * len(arms))
    labels, colours = [], set()
    for at, (name, arm) in enumerate(arms.items()):
        if name == baseline:
            value = f"{mean_over_seeds(list(arm.finals.values())).mean:.3f} %"
            axis.scatter([0], [at], s=40, color=INK, zorder=2)
        else:
            mean, _, low, high, _ = paired_difference(arm.finals, first.finals)
            value = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}")
            colour = CLEAR if low > 0 or high < 0 else FAINT
            colours.add(colour)
            axis.plot([low, high], [at, at], color=colour, linewidth=2)
            axis.scatter([mean], [at], s=36, color=colour, zorder=2)
        labels.append(f"{value}, {arm.holding(target)} of {len(arm.runs)} hold")
    clear, faint = "the interval excludes zero (not corrected)", "no measurable effect on the final epoch"
    for colour, says in ((CLEAR, clear), (FAINT, faint)):
        if colour in colours:
            axis.plot([], [], color=colour, marker="o", label=says)
    axis.axvline(0, color=INK, linewidth=1)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    axis.locator_params(axis="x", nbins=5)
    axis.set_yticks(range(len(arms)), arms, fontsize=9)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(arms)), labels, fontsize=9)
    right.spines[:].set_visible(False)
    right.tick_params(length=0)
    axis.set_xlabel(
        f"final {evidence.split} accuracy minus that of \N{LEFT DOUBLE QUOTATION MARK}{baseline}"
        f"\N{RIGHT DOUBLE QUOTATION MARK}, points\n({seeds_text(first.finals)}, paired; 95 % intervals; "
        f"a run holds if each of its last {target.last_epochs} epochs has {target.percent:.1f} %)"
    )
    axis.grid(axis="x", alpha=0.25)
    return figure


def frontier(evidence: Evidence) -> Figure:
    """Draw accuracy against parameters: the mean of our runs, and the best epochs of public runs."""
    line = evidence.target.percent
    figure, ((axis,),) = _figure(5.4, width=NARROW)

    found = read_published().runs
    comparable = [run for run in found if run.keeps_to_the_assignment]
    small = [run for run in found if run.parameters < 8000]
    best = pareto_front(comparable)
    longer = [run for run in pareto_front(small) if not run.keeps_to_the_assignment]
    ours = sorted(evidence.arms.items(), key=lambda item: item[1].parameters)
    sizes = [arm.parameters for _, arm in ours]
    means = [mean_over_seeds(list(arm.finals.values())) for _, arm in ours]
    seeds = {len(arm.runs) for _, arm in ours}
    floor = min(99.0, *(m.low for m in means)) - 0.1
    cut_off = sum(run.best < floor for run in comparable)
    axis.scatter(
        [run.parameters for run in comparable], [run.best for run in comparable], s=12, facecolors="none",
        edgecolors=SOFT, linewidths=0.7,
        label=f"public, up to 15 epochs: {len(comparable)} runs ({cut_off} below the frame)",
    )  # fmt: skip
    for runs, marker, label in (
        (best, "D", "their Pareto front"),
        (longer, "s", "Pareto front, more or unknown epochs"),
    ):
        axis.scatter(
            [run.parameters for run in runs], [run.best for run in runs], s=34, marker=marker, facecolors="none",
            edgecolors=CLEAR, label=label, zorder=3,
        )  # fmt: skip
    level = line - 0.42
    for run in sorted(best + longer, key=lambda run: run.parameters):
        name, size = run.of.split("/")[0], run.parameters
        if size < 4000:
            says, at, side = f"{name} {run.best:.2f}", (size + 100, run.best), ("left", "center")
        else:  # a crowd: names on stairs, so that no line crosses one
            says, at, side = f"{name} {run.best:.2f}", (size - 30, level), ("right", "center")
            axis.plot([size] * 2, [run.best - 0.015, level - 0.03], color=CLEAR, linewidth=0.6, alpha=0.6)
            level -= 0.09
        axis.annotate(says, at, ha=side[0], va=side[1], fontsize=9, color=CLEAR, path_effects=HALO)

    axis.plot(sizes, [mean.mean for mean in means], color=INK, linewidth=1.2)
    lift = 0
    for (name, _), size, before, mean in zip(ours, sizes, [0, *sizes], means, strict=False):
        lift = 13 - lift if size - before < 600 else 0  # points: labels of close sizes are not to touch
        colour = COLOURS.get(name, INK)
        axis.errorbar(size, mean.mean, mean.high - mean.mean, color=colour, marker="o", capsize=3, zorder=4)
        title = f"{name}\n" if name in COLOURS else ""
        axis.annotate(
            f"{title}{mean.mean:.2f}", (size, mean.high), (0, 5 + lift), textcoords="offset points", ha="center",
            fontsize=9, color=colour, path_effects=HALO,
        )  # fmt: skip
    says = f"ours, 15 epochs: mean of {min(seeds)} seeds, 95 % interval"
    axis.errorbar([], [], [], color=INK, marker="o", capsize=3, label=says)

    axis.axhline(line, color=INK, linewidth=1, linestyle="--")
    axis.text(100, line, f"target {line:.1f} %", fontsize=9, color=INK, va="bottom")
    axis.vlines(8000, floor, line, color=INK, linewidth=1, linestyle=":")
    axis.set_ylim(floor, max(m.high for m in means) + 0.12)
    axis.set_xlim(0, 8400)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set(
        xlabel="parameters (dotted: the budget)",
        ylabel=f"{evidence.split} accuracy, % (ours: final epoch; public: best epoch)",
    )
    axis.grid(alpha=0.25)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center")
    return figure
