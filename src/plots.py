"""Every picture. Each function returns a matplotlib Figure and shows nothing.

`strip`, `forest` and `frontier` draw the evidence of a study; which one, the study says.
"""

import io
import re

import matplotlib
import torch
from matplotlib.figure import Figure

from src import published
from src.evidence import accuracy, counted, finals, named, seeds_met
from src.files import write
from src.intervals import differences_to_first

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")  # told apart by colour-blind readers too
INK, FAINT = "#222222", "#999999"


def _figure(width, height, rows=1, columns=1, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure):
    """Render a figure as PNG bytes. The same version of matplotlib, which they name, gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": f"matplotlib {matplotlib.__version__}"})
    return buffer.getvalue()


def made_with(picture):
    """Return the version of matplotlib that PNG bytes name."""
    named = re.search(rb"matplotlib [\w.+]+", picture)
    return named and named[0].decode()


def save(figure, path):
    """Write a figure as PNG whole or not at all."""
    write(path, png(figure))


def samples(rows):
    """Draw a strip of images: `rows` maps a label to images of shape (N, 1, 28, 28), one row of them each."""
    count = max(len(images) for images in rows.values())
    figure, axes = _figure(0.85 * count, 0.95 * len(rows), len(rows), count)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images.cpu(), strict=False):
            axis.imshow(image[0].numpy(), cmap="gray_r")
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(label, fontsize=9, color=INK)
    return figure


def curves(histories, target):
    """Draw accuracy by epoch and the gap between training and test; `histories` maps a label to a history."""
    figure, axes = _figure(10, 3.8, 1, 2)
    percentages, gap = axes[0]
    floor = 100
    for (label, history), colour in zip(histories.items(), COLOURS * len(histories), strict=False):
        epochs = [e["epoch"] for e in history]
        test = [accuracy(e) for e in history]
        train = [accuracy(e, "train") for e in history]
        floor = min(floor, *test[len(test) // 3 :])
        percentages.plot(epochs, test, color=colour, marker=".", label=label)
        gap.plot(epochs, [a - b for a, b in zip(train, test, strict=True)], color=colour, marker=".", label=label)
    line = 100 * target.accuracy
    percentages.axhline(line, color=INK, linewidth=1, linestyle="--", label=f"target {line:.1f} %")
    last = max(len(history) for history in histories.values())
    percentages.axvspan(last - target.last_epochs + 0.5, last + 0.5, color=FAINT, alpha=0.15, linewidth=0)
    percentages.set_ylim(min(floor, line) - 0.1, max(100 * target.accuracy + 0.3, 99.75))
    percentages.set(title="Test accuracy (shaded: what counts; low values cut off)", xlabel="epoch", ylabel="%")
    gap.axhline(0, color=INK, linewidth=1)
    gap.set_ylim(-2.5, 1.25)
    gap.set(title="Training minus test accuracy (cut off at the frame)", xlabel="epoch", ylabel="points")
    for axis in (percentages, gap):
        axis.set_xlim(0.5, last + 0.5)
        axis.set_xticks(range(1, last + 1, 2))
        axis.grid(axis="y", alpha=0.25)
    figure.legend(*percentages.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=6)
    return figure


def confusion(labels, predicted):
    """Draw counts of true digit against predicted digit; the correct ones are left blank."""
    classes = max(10, int(predicted.max()) + 1)
    counts = torch.bincount(labels.cpu() * classes + predicted.cpu(), minlength=10 * classes).view(10, classes)
    wrong = counts.clone()
    wrong.fill_diagonal_(0)
    figure, axes = _figure(5, 4.6)
    axis = axes[0][0]
    axis.imshow(wrong.numpy(), cmap="Oranges", vmin=0, vmax=1.5 * max(6, int(wrong.max())))  # dark ink stays legible
    for row in range(10):
        for column in range(classes):
            if wrong[row, column]:
                axis.text(column, row, int(wrong[row, column]), ha="center", va="center", fontsize=9, color=INK)
    axis.set_xticks(range(classes))
    axis.set_yticks(range(10), [f"{digit}" for digit in range(10)])
    axis.set(xlabel="predicted digit", ylabel="true digit", title=f"{int(wrong.sum())} mistakes of {len(labels):,}")
    return figure


def mistakes(images, labels, logits, count=20):
    """Draw the mistakes that the model is surest of, the surest first: true digit, predicted digit, probability."""
    probability, predicted = torch.softmax(logits.float(), 1).max(1)
    wrong = (predicted != labels).nonzero().flatten()
    wrong = wrong[probability[wrong].argsort(descending=True)][:count]
    columns = 10
    figure, axes = _figure(10, 1.45 * -(-count // columns), -(-count // columns), columns)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, wrong.tolist(), strict=False):
        axis.imshow(images[index, 0].cpu().numpy(), cmap="gray_r")
        label, guess, sure = int(labels[index]), int(predicted[index]), 100 * float(probability[index])
        axis.set_title(f"{label} read as {guess}\n{sure:.0f} % sure", fontsize=8, color=INK)
    return figure


def overview(contents):
    """Draw the last five epochs of every model against its step's target and the published best."""
    rebuilt = published.rebuilt()
    figure, axes = _figure(9, 4.2)
    axis = axes[0][0]
    ticks = []
    for content in contents:
        first = len(ticks)
        for name, entry in content["models"].items():
            at = len(ticks)
            for run in entry["runs"]:
                last = [accuracy(e) for e in run["history"][-5:]]
                across = [at + 0.1 * (k - len(last) + 1) for k in range(len(last))]
                axis.scatter(across, last, s=26, color=COLOURS[content["step"] - 1], alpha=0.6, linewidths=0)
                axis.scatter([at], last[-1:], s=70, facecolors="none", edgecolors=INK, linewidths=1.2)
            if name in rebuilt:
                axis.scatter([at + 0.22], [rebuilt[name]], s=42, marker="D", facecolors="none", edgecolors=INK)
            ticks.append(f"{name}\n{entry['parameters']:,}")
        line = 100 * content["target"].accuracy
        axis.hlines(line, first - 0.5, len(ticks) - 0.5, color=INK, linewidth=1, linestyle="--")
        if first:
            axis.axvline(first - 0.5, color=FAINT, linewidth=0.8)
        axis.text(first - 0.4, 1.02, f"Step {content['step']}", transform=axis.get_xaxis_transform(), color=INK)
    axis.scatter([], [], s=26, color=INK, alpha=0.6, linewidths=0, label="the last five epochs, left to right")
    axis.scatter([], [], s=70, facecolors="none", edgecolors=INK, linewidths=1.2, label="the final epoch")
    axis.scatter([], [], s=42, marker="D", facecolors="none", edgecolors=INK, label="published: best of all epochs")
    axis.plot([], [], color=INK, linewidth=1, linestyle="--", label="the step's target")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=4)
    axis.margins(y=0.1)
    axis.set_xlabel("model and its number of parameters")
    axis.set_xticks(range(len(ticks)), ticks, fontsize=8.5)
    axis.set_xlim(-0.5, len(ticks) - 0.5)
    axis.set_ylabel("test accuracy, %")
    axis.grid(axis="y", alpha=0.25)
    return figure


def strip(content):
    """Draw each seed's last epochs, those that the target asks for, arm by arm in order of the final accuracy."""
    figure, axes = _figure(9, 3.8)
    axis = axes[0][0]
    target = content["target"]
    ticks, seeds, count = [], [], target.last_epochs
    for arm, entry in content["models"].items():
        first = ticks[-1] + 2 if ticks else 0
        by_seed = sorted(counted(entry, target).items(), key=lambda item: item[1][-1])
        for at, (seed, last) in enumerate(by_seed, first):
            axis.plot([at, at], [min(last), max(last)], color=FAINT, linewidth=1, zorder=1)
            axis.scatter([at] * len(last), last, s=18, color=COLOURS[2], alpha=0.5, linewidths=0)
            axis.scatter([at], last[-1:], s=46, facecolors="none", edgecolors=INK, linewidths=1.2)
            ticks.append(at)
            seeds.append(seed)
        title = f"{arm}: {seeds_met(entry)} of {len(by_seed)} seeds"
        axis.text((first + ticks[-1]) / 2, 1.02, title, transform=axis.get_xaxis_transform(), ha="center", fontsize=9)
        if first:
            axis.axvline(first - 1, color=FAINT, linewidth=0.8)
    line = 100 * target.accuracy
    axis.axhline(line, color=INK, linewidth=1, linestyle="--", label=f"target {line:.1f} %")
    if count > 1:
        axis.scatter([], [], s=18, color=COLOURS[2], alpha=0.5, linewidths=0, label=f"one of the last {count} epochs")
    axis.scatter([], [], s=46, facecolors="none", edgecolors=INK, linewidths=1.2, label="the final epoch")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    axis.margins(y=0.1)
    axis.set_xticks(ticks, seeds, fontsize=8)
    axis.set_xlim(-0.7, ticks[-1] + 0.7)
    axis.set(xlabel="seed, in order of its final accuracy", ylabel=f"{content['split']} accuracy, %")
    axis.grid(axis="y", alpha=0.25)
    return figure


def forest(content):
    """Draw each arm's difference to the first in points, paired by seed, with 95 % intervals."""
    finals_by_arm = {arm: finals(entry) for arm, entry in content["models"].items()}
    baseline, seeds = next(iter(finals_by_arm.items()))
    by_arm = differences_to_first(finals_by_arm)
    figure, axes = _figure(9, 1.5 + 0.34 * len(by_arm))
    axis = axes[0][0]
    arms = sorted(by_arm, key=lambda arm: by_arm[arm].mean, reverse=True)
    for at, arm in enumerate(arms):
        mean, _, low, high = by_arm[arm]
        colour = COLOURS[1] if low > 0 or high < 0 else FAINT
        axis.plot([low, high], [at, at], color=colour, linewidth=2)
        axis.scatter([mean], [at], s=36, color=colour, zorder=2)
        value = f"{mean:+.2f}".replace("-", "\N{MINUS SIGN}")
        axis.text(1.01, at, value, transform=axis.get_yaxis_transform(), va="center", fontsize=9, color=INK)
    axis.axvline(0, color=INK, linewidth=1)
    axis.plot([], [], color=COLOURS[1], marker="o", label="interval without 0")
    axis.plot([], [], color=FAINT, marker="o", label="interval with 0: no difference shown")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    axis.set_yticks(range(len(arms)), arms, fontsize=9)
    axis.set_ylim(-0.6, len(arms) - 0.4)
    axis.set_xlabel(
        f"final {content['split']} accuracy minus that of {baseline}, points\n"
        f"({named(seeds)}, paired; each interval at 95 %)"
    )
    axis.grid(axis="x", alpha=0.25)
    return figure


def frontier(content):
    """Draw accuracy against parameters: our seeds and their means, and single public runs."""
    line = 100 * content["target"].accuracy
    figure, axes = _figure(9, 4.8)
    axis = axes[0][0]
    sizes, means = [], []
    for arm, entry in sorted(content["models"].items(), key=lambda item: item[1]["parameters"]):
        values = list(finals(entry).values())
        sizes.append(entry["parameters"])
        means.append(sum(values) / len(values))
        axis.scatter(sizes[-1:] * len(values), values, s=14, color=COLOURS[2], alpha=0.45, linewidths=0)
        if arm == entry["model"]:
            axis.annotate(arm, (sizes[-1], max(values)), (0, 7), textcoords="offset points", ha="center")
    axis.plot(sizes, means, color=COLOURS[2], marker="o", label="ours: mean of the seeds")
    axis.scatter([], [], s=14, color=COLOURS[2], alpha=0.45, linewidths=0, label="ours: one seed, final epoch")
    axis.scatter(
        *zip(*published.runs(), strict=True), s=42, marker="D", facecolors="none", edgecolors=COLOURS[1],
        label="public: one run, its best epoch",
    )  # fmt: skip
    axis.axhline(line, color=INK, linewidth=1, linestyle="--", label=f"target {line:.1f} %")
    axis.axvline(8000, color=INK, linewidth=1, linestyle=":", label="budget: fewer than 8,000")
    axis.margins(y=0.1)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set(xlabel="parameters", ylabel=f"{content['split']} accuracy, %")
    axis.grid(alpha=0.25)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure
