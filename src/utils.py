"""What a step notebook imports besides its models."""

import dataclasses
import re
import time
from pathlib import Path

import torch
import torchsummary
from IPython.display import Image, display

from src import plots, results
from src.data import ROOT, augment
from src.data import load_mnist as _load_mnist
from src.receptive_field import layers
from src.results import RESULTS, TRIAL, Target
from src.runs import environment, fit
from src.training import Recipe, predict

__all__ = [
    "Recipe", "Target", "check_parameters", "finish_step", "fit_seeds", "load_data", "predict",
    "show_changes", "show_confusion", "show_curves", "show_frontier", "show_layers", "show_mistakes", "show_samples",
    "show_seeds", "show_summary",
]  # fmt: skip

BUDGET = 8000
MAX_EPOCHS = 15


@dataclasses.dataclass(frozen=True)
class Settings:
    """Hold a notebook's parameters, checked and resolved."""

    seeds: tuple
    epochs: int
    batch_size: int
    device: torch.device
    data_dir: Path | None
    results_dir: Path | None
    train_limit: int | None
    fresh: bool


def check_parameters(executed, *, seed, n_seeds, epochs, batch_size, device, data_dir, results_dir, train_limit, fresh):
    """Check the parameters of a notebook and resolve them into Settings.

    `executed` is IPython's `In`: papermill sets a name that no notebook knows without a word, so what it injected is
    read there. Relative folders count from the checkout. Raises ValueError with the name, the value and what is right.
    """
    known = {name: value for name, value in locals().items() if name != "executed"}
    for cell in executed:
        if cell.startswith("# Parameters"):  # papermill's own heading
            for name in re.findall(r"^(\w+) =", cell, re.MULTILINE):
                if name not in known:
                    raise ValueError(f"{name} is no parameter of this notebook: use one of {', '.join(known)}")
    _whole("seed", seed, 0, 2**31)
    _whole("n_seeds", n_seeds, 1, 1000)
    _whole("epochs", epochs, 1, MAX_EPOCHS)
    _whole("batch_size", batch_size, 1, 60_000)
    _whole("train_limit", train_limit, 0, 60_000)
    if not isinstance(fresh, bool):
        raise ValueError(f"fresh must be True or False, got {fresh!r}")
    for name in ("data_dir", "results_dir"):
        if not isinstance(known[name], str):
            raise ValueError(f"{name} must be a folder's name or empty, got {known[name]!r}")
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no such GPU here: use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Settings(
        seeds=tuple(range(seed, seed + n_seeds)),
        epochs=epochs,
        batch_size=batch_size,
        device=torch.device(device),
        data_dir=ROOT / Path(data_dir).expanduser() if data_dir else None,
        results_dir=ROOT / Path(results_dir).expanduser() if results_dir else None,
        train_limit=train_limit or None,
        fresh=fresh,
    )


def _whole(name, value, lowest, highest):
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a whole number from {lowest} to {highest}, got {value!r}")


def load_data(settings):
    """Load MNIST as the settings say and print in two lines what this notebook runs with."""
    data = _load_mnist(settings.data_dir, settings.device, train_limit=settings.train_limit)
    folder = results_folder(settings, data)
    made_with = environment(data)
    print(
        "Python {python}, torch {torch}, torchvision {torchvision}, {device} ({processor}), {precision}, "
        "{threads} threads".format(**made_with)
        + f", seed {', '.join(map(str, settings.seeds))}"
    )
    where = "the evidence in results/" if folder == RESULTS else f"a trial: its results go to {_short(folder)}/"
    print(f"{len(data.train_images):,} training and {len(data.test_images):,} test images. This run is {where}")
    return data


def results_folder(settings, data):
    """Return where this run's evidence goes: results/ for the whole recipe on the whole of MNIST, else elsewhere.

    Raises ValueError when a run that is no evidence is told to write into results/.
    """
    full = Recipe()
    trial = (
        settings.epochs != full.epochs
        or settings.batch_size != full.batch_size
        or settings.train_limit is not None
        or not data.official
    )
    if settings.results_dir is None:
        return TRIAL if trial else RESULTS
    inside = any(f.exists() and f.samefile(RESULTS) for f in (settings.results_dir, *settings.results_dir.parents))
    if trial and inside:
        raise ValueError(
            f"results_dir is results/, which keeps only runs of {full.epochs} epochs, batch size {full.batch_size} "
            "and all of MNIST: name another folder, or leave it empty"
        )
    return settings.results_dir


def _short(path):
    """Name a path as seen from the checkout: a notebook must not show the machine's folders."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def show_samples(data, recipe):
    """Show ten training images and two draws of the recipe's augmentation of them."""
    generator = torch.Generator().manual_seed(0)
    images = data.train_images[:10]
    rows = {"as is": images}
    for number in (1, 2):
        moved = augment(images, generator, recipe.rotation, recipe.translation, recipe.scale, recipe.shear)
        rows[f"draw {number}"] = moved
    _show(plots.samples(rows))


def show_layers(model_class):
    """Print the receptive field table of a model and where it stands in the budget."""
    found = layers(model_class())
    width = max(len(layer.name) for layer in found)
    print(f"{'layer':{width}}  kernel stride padding  jump  receptive field  output shape  parameters")
    for layer in found:
        shape = " x ".join(str(size) for size in layer.shape)
        print(
            f"{layer.name:{width}}  {layer.kernel:6} {layer.stride:6} {layer.padding:7}  {layer.jump:4}  "
            f"{layer.receptive_field:15}  {shape:>12}  {layer.parameters:10,}"
        )
    total = sum(layer.parameters for layer in found)
    room = f"{BUDGET - total:,} under" if total < BUDGET else f"{total - BUDGET + 1:,} too many for"
    print(f"\n{total:,} parameters: {room} the budget of fewer than {BUDGET:,}.")


def show_summary(model_class):
    """Print torchsummary's table. It draws a batch and sends it through the model, so it gets one of its own."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torchsummary.summary(model_class().eval(), (1, 28, 28), device="cpu")


def fit_seeds(model_class, recipe, data, settings):
    """Train a model once for each seed, with live progress, or pick up the runs that are kept. Returns them."""
    runs = []
    for seed in settings.seeds:
        progress = _Progress(f"{model_class.__name__}, seed {seed}", recipe)
        run = fit(model_class, data, recipe, seed, fresh=settings.fresh, progress=progress)
        progress.finish(run)
        runs.append(run)
    return runs


class _Progress:
    """Show a run's epochs as they come, in one output that ends as the plain table of all of them."""

    def __init__(self, title, recipe):
        self.title, self.recipe, self.started, self.shown, self.before = title, recipe, None, 0.0, 0.0
        self.handle = display({"text/plain": f"{title}: starting"}, raw=True, display_id=True)

    def __call__(self, history, epoch, fraction):
        now = time.perf_counter()
        done = len(history) + (fraction if len(history) < epoch else 0)
        if self.started is None:
            self.started, self.before = now, done
        if now - self.shown < 1:
            return
        self.shown = now
        left = ""
        if done > self.before:
            seconds = (now - self.started) / (done - self.before) * (self.recipe.epochs - done)
            left = f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"
        self._write(f"{self.title}: epoch {epoch} of {self.recipe.epochs}, {fraction:.0%} of it{left}", history)

    def finish(self, run):
        how = f"{len(run.history)} epochs in {sum(epoch['seconds'] for epoch in run.history):.0f} s"
        if run.kept:
            how += ", trained by an earlier execution and picked up (fresh trains anew)"
        self._write(f"{self.title}: {how}", run.history)

    def _write(self, heading, history):
        lines = [heading, "", "epoch       lr  train loss  train accuracy  test loss  test accuracy  seconds"]
        for epoch in history:
            lines.append(
                f"{epoch['epoch']:5}  {epoch['lr']:7.5f}  {epoch['train_loss']:10.4f}  "
                f"{results.percent(epoch['train_correct'], epoch['train_total']):>14}  {epoch['test_loss']:9.4f}  "
                f"{results.percent(epoch['test_correct'], epoch['test_total']):>13}  {epoch['seconds']:7.1f}"
            )
        self.handle.update({"text/plain": "\n".join(lines)}, raw=True)


def show_curves(runs, target):
    """Show accuracy by epoch beside the target, and the gap to training; `runs` maps a model's name to its runs."""
    _show(_curves(runs, target))


def _curves(runs, target):
    several = any(len(seeds) > 1 for seeds in runs.values())
    return plots.curves(
        {f"{name}, seed {run.seed}" if several else name: run.history for name in runs for run in runs[name]}, target
    )


def show_confusion(logits, data):
    """Show which digits are taken for which."""
    _show(plots.confusion(data.test_labels, logits.argmax(1)))


def show_mistakes(logits, data):
    """Show the mistakes that the model is surest of."""
    _show(plots.mistakes(data.test_images, data.test_labels, logits))


def show_seeds(*names):
    """Print how the studies ended over their seeds and show each seed of the first."""
    contents = [results.read_study(name) for name in names]
    width = max(len(arm) for content in contents for arm in content["models"])
    print(
        f"{'':{width}}  epochs  mean final  95 % interval       sd     lowest   target met, 95 % interval of the rate"
    )
    for content in contents:
        for arm, entry in content["models"].items():
            told = results.over_seeds(entry, content["target"])
            print(
                f"{arm:{width}}  {told['epochs']:>6}  {told['mean']:>10}  {told['interval']:18}  {told['sd']}  "
                f"{told['lowest']}  {told['met']}, {told['rate']}"
            )
    _show(plots.study(contents[0]))


def show_changes(name):
    """Print what each change in a study makes of its first arm, and show it."""
    content = results.read_study(name)
    difference = results.differences(content)
    width = max(map(len, content["models"]))
    print(f"{'':{width}}  parameters  mean final  lowest of last 5  minus the first, 95 % interval")
    for arm, entry in content["models"].items():
        told = results.over_seeds(entry, content["target"])
        gap = "{0.mean:+.3f}  ({0.low:+.3f} to {0.high:+.3f})".format(difference[arm]) if arm in difference else ""
        print(f"{arm:{width}}  {told['parameters']:>10}  {told['mean']:>10}  {told['lowest']:>16}  {gap}")
    _show(plots.study(content))


def show_frontier():
    """Show accuracy against parameters, the public results beside ours."""
    _show(plots.study(results.read_study("frontier")))


def finish_step(step, target, runs, data, settings):
    """Write the step's evidence and figures, and print target, measured and met.

    `runs` maps a model's name to its runs.
    """
    folder = results_folder(settings, data)
    content = results.evidence({"step": step}, target, runs, environment(data))
    path = results.write_evidence(content, folder)
    plots.save(_curves(runs, target), folder / f"Step{step}.png")
    contents = [results.read_evidence(k, folder) for k in results.STEPS if (folder / f"Step{k}.json").exists()]
    plots.save(plots.overview(contents, results.PUBLISHED), folder / "overview.png")

    print(f"Target: {target}.\n")
    print(f"{'model':8}  {'parameters':>10}  {'final epoch':>16}  {'lowest of the last':>18}  met")
    for name, entry in content["models"].items():
        told = results.summary(entry, content["target"])
        print(f"{name:8}  {told['parameters']:>10}  {told['final']:>16}  {told['lowest']:>18}  {told['met']}")
        published = results.against_published(name, entry)
        if published and folder == RESULTS:
            print(f"{'':8}  published: {published}")
    print(f"\nWritten: {_short(path)}, {_short(folder)}/Step{step}.png, {_short(folder)}/overview.png")


def _show(figure):
    display(Image(plots.png(figure)))
