"""What a step notebook imports besides its models: its settings and data, and what it trains, shows and writes."""

import contextlib
import inspect
import io

import torch
import torchsummary
from IPython.display import HTML, Image, Markdown, display
from torchvision.transforms.functional import to_pil_image

from src import page, plots, published, reader, report
from src.data import load_mnist
from src.evidence import Target, gather, read_study, write_evidence
from src.files import RESULTS, ROOT, shown
from src.images import augment
from src.parameters import check_folders, check_parameters, results_folder
from src.progress import Progress
from src.reader import Reader, as_mnist
from src.receptive_field import layers
from src.recipe import Recipe
from src.runs import environment, fit, git_commit
from src.training import amounts, prepared

__all__ = [
    "Recipe", "Target", "check_parameters", "finish_step", "fit_seeds", "load_data", "read_digit", "save_networks",
    "show_changes", "show_confusion", "show_curves", "show_frontier", "show_layers", "show_mistakes", "show_network",
    "show_samples", "show_seeds", "show_summary",
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
    for name in report.carried_out():
        read_study(name)
    published.runs()
    made_with = environment(data)
    print(
        "Python {python}, torch {torch}, torchvision {torchvision}, {device} ({processor}), {precision}, "
        "{threads} threads".format(**made_with)
        + f", seed {', '.join(map(str, settings.seeds))}"
    )
    print(f"The code is that of the checkout {ROOT.name}/, commit {git_commit()}")
    where = "This run is the evidence in" if folder == RESULTS else "The results of this run go to"
    print(f"{len(data.train_images):,} training and {len(data.eval_images):,} test images. {where} {shown(folder)}/")
    return data


def show_samples(data, recipe):
    """Show ten training images: as they come, prepared if the recipe says so, and two draws of its augmentation."""
    generator = torch.Generator().manual_seed(0)
    rows = _before_the_network("as it comes", data.train_images[:10], recipe)
    images = list(rows.values())[-1]
    for number in (1, 2):
        rows[f"augmented, draw {number}"] = augment(images, generator, **amounts(recipe))
    _show(plots.samples(rows))


def show_layers(model_class):
    """Show a model's code, the receptive field table of its layers, and where it stands in the budget."""
    display(Markdown(f"```python\n{inspect.getsource(model_class)}```"))
    found = layers(model_class())
    rows = [("layer", "kernel", "stride", "padding", "jump", "receptive field", "output shape", "parameters")]
    for layer in found:
        shape = " x ".join(map(str, layer.shape))
        numbers = layer.kernel, layer.stride, layer.padding, layer.jump, layer.receptive_field
        rows.append((layer.name, *map(str, numbers), shape, f"{layer.parameters:,}"))
    total = sum(layer.parameters for layer in found)
    room = f"{BUDGET - total:,} under" if total < BUDGET else f"{total - BUDGET + 1:,} too many for"
    told = f"{total:,} parameters: {room} the budget of fewer than {BUDGET:,}."
    display(Markdown(f"{report.table(*rows, right=range(1, 8))}\n\n{told}"))


def show_summary(model_class):
    """Show torchsummary's table, folded. It draws a batch and sends it through the model, so it gets one of its own."""
    with torch.random.fork_rng(devices=[]), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()) as table:
        torchsummary.summary(model_class().eval(), (1, 28, 28), device="cpu")
    name = model_class.__name__
    display(HTML(f"<details><summary>{name} as torchsummary tells it</summary><pre>{table.getvalue()}</pre></details>"))


def show_network(model_class, data):
    """Show a model's maps as blocks, and what a pixel of each layer sees of a digit."""
    _show(plots.network(model_class(), data.train_images[0]))


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
    """Show accuracy by epoch beside the target; `runs` maps a model's name to its runs."""
    _show(report.step_figure(gather({}, "test", target, runs, {})))


def show_confusion(logits, data):
    """Show which digits are taken for which."""
    _show(plots.confusion(data.eval_labels, logits.argmax(1)))


def show_mistakes(logits, data):
    """Show the mistakes that the model is surest of, as the files have the images."""
    _show(plots.mistakes(data.eval_images, data.eval_labels, logits))


def read_digit(run, data, settings):
    """Let a trained network read the picture that `digit` names, else the first test image, and show what it sees."""
    picture = settings.digit or to_pil_image(data.eval_images[0].cpu())
    probabilities = Reader(run.model, run.recipe).read(picture)
    digit = max(range(10), key=probabilities.__getitem__)
    name = shown(settings.digit) if settings.digit else "The first test image"
    print(f"{name}: {digit}, {probabilities[digit]:.1%} sure")
    print(*(f"{number}: {probability:6.1%}" for number, probability in enumerate(probabilities)), sep="\n")
    _show(plots.reading(_before_the_network("as MNIST has it", as_mnist(picture), run.recipe), probabilities))


def save_networks(runs, data, settings):
    """Write the weights of the first seed of each model, and the page on which one draws a digit for them."""
    folder = results_folder(settings, data)
    written = [reader.save(of_name[0], folder) for of_name in runs.values()]
    written.append(
        page.save({name: Reader(of_name[0].model, of_name[0].recipe) for name, of_name in runs.items()}, folder)
    )
    print("Written:", ", ".join(map(shown, written)))


def show_seeds(*names):
    """Print how the studies ended over their seeds and show each seed of the first."""
    if contents := _carried_out(*names):
        print(*report.seeds_lines(contents), sep="\n")
        _show(plots.strip(contents[0]))


def show_changes(name):
    """Print what each change in a study makes of its first arm, and show it."""
    for content in _carried_out(name):
        print(*report.changes_lines(content), sep="\n")
        _show(plots.forest(content))


def show_frontier():
    """Show accuracy against parameters, the public results beside ours."""
    for content in _carried_out("frontier"):
        _show(plots.frontier(content))


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


def _before_the_network(label, images, recipe):
    """Return rows for plots.samples: the images and, if the recipe prepares them, what becomes of them."""
    ready = prepared(images, recipe)
    return {label: images} if ready is images else {label: images, "prepared": ready}


def _carried_out(*names):
    """Read the studies that have evidence, and say which have none."""
    present = report.carried_out()
    for name in names:
        if name not in present:
            print(f"The study {name} has not been carried out: run python -m src.run_study {name}")
    return [read_study(name) for name in names if name in present]


def _show(figure):
    # Two pixels of the picture for each of the page, so that it is sharp on every screen.
    display(Image(plots.png(figure), width=round(96 * figure.get_figwidth())))
