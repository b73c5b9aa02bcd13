"""What a step notebook imports besides its models: its settings and data, and what it trains, shows and writes."""

import torch
import torchsummary
from IPython.display import Image, display

from src import plots, report
from src.data import load_mnist
from src.evidence import Target, gather, read_study, write_evidence
from src.files import RESULTS, ROOT, shown
from src.images import augment
from src.parameters import check_folders, check_parameters, results_folder
from src.progress import Progress
from src.receptive_field import layers
from src.runs import environment, fit, git_commit
from src.training import Recipe, predict

__all__ = [
    "Recipe", "Target", "check_parameters", "finish_step", "fit_seeds", "load_data", "predict",
    "show_changes", "show_confusion", "show_curves", "show_frontier", "show_layers", "show_mistakes", "show_samples",
    "show_seeds", "show_summary",
]  # fmt: skip

BUDGET = 8000


def load_data(settings):
    """Load MNIST as the settings say, and print what this notebook runs with: versions, checkout, seeds and images.

    Refuses before any training what would only be found out after it: folders that cannot be written into, evidence
    that cannot be read.
    """
    data = load_mnist(settings.data_dir, settings.device, train_limit=settings.train_limit)
    folder = results_folder(settings, data)
    check_folders(folder)
    made_with = environment(data)
    print(
        "Python {python}, torch {torch}, torchvision {torchvision}, {device} ({processor}), {precision}, "
        "{threads} threads".format(**made_with)
        + f", seed {', '.join(map(str, settings.seeds))}"
    )
    print(f"The code is that of the checkout {ROOT.name}/, commit {git_commit()}")
    where = "the evidence in results/" if folder == RESULTS else f"a trial: its results go to {shown(folder)}/"
    print(f"{len(data.train_images):,} training and {len(data.eval_images):,} test images. This run is {where}")
    return data


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
        progress = Progress(f"{model_class.__name__}, seed {seed}", recipe)
        run = fit(model_class, data, recipe, seed, fresh=settings.fresh, progress=progress)
        progress.finish(run)
        runs.append(run)
    return runs


def show_curves(runs, target):
    """Show accuracy by epoch beside the target, and the gap to training; `runs` maps a model's name to its runs."""
    _show(report.step_figure(gather({}, "test", target, runs, {})))


def show_confusion(logits, data):
    """Show which digits are taken for which."""
    _show(plots.confusion(data.eval_labels, logits.argmax(1)))


def show_mistakes(logits, data):
    """Show the mistakes that the model is surest of."""
    _show(plots.mistakes(data.eval_images, data.eval_labels, logits))


def show_seeds(*names):
    """Print how the studies ended over their seeds and show each seed of the first."""
    contents = [read_study(name) for name in names]
    print(*report.seeds_lines(contents), sep="\n")
    _show(plots.strip(contents[0]))


def show_changes(name):
    """Print what each change in a study makes of its first arm, and show it."""
    content = read_study(name)
    print(*report.changes_lines(content), sep="\n")
    _show(plots.forest(content))


def show_frontier():
    """Show accuracy against parameters, the public results beside ours."""
    _show(plots.frontier(read_study("frontier")))


def finish_step(step, target, runs, data, settings):
    """Write the step's evidence and figures, and print target, measured and met.

    `runs` maps a model's name to its runs.
    """
    folder = results_folder(settings, data)
    content = gather({"step": step}, data.split, target, runs, environment(data))
    path = write_evidence(content, folder)
    report.save_step_figures(content, folder)
    print(*report.step_lines(content, compare=folder == RESULTS), sep="\n")
    print(f"\nWritten: {shown(path)}, {shown(folder)}/Step{step}.png, {shown(folder)}/overview.png")


def _show(figure):
    display(Image(plots.png(figure)))
