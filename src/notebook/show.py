"""What a notebook trains, shows and writes."""

import contextlib
import inspect
import io
import warnings
from collections.abc import Sequence

import torch
import torchsummary
from IPython.display import HTML, Image, Markdown, display
from torch import nn

from src import ROOT, display_path
from src.demo import page
from src.demo.picture import look
from src.demo.reader import Reader, UnlikeMNIST, reader_of, save_weights
from src.evidence.fingerprint import fingerprinted
from src.evidence.git import git_commit
from src.evidence.provenance import environment
from src.evidence.results import read_usps
from src.evidence.runs import Trained, fit
from src.evidence.schema import Arm, Evidence, Target, path_to, read_named, steps, write_evidence
from src.evidence.storage import KEPT, RESULTS, check_writable, write
from src.learn.data import Data, load_dataset
from src.learn.images import Preprocess, augment
from src.learn.recipe import Recipe
from src.learn.training import Job, train_epoch
from src.notebook.progress import Progress
from src.notebook.settings import Settings, check_replaceable, results_folder
from src.report import figures, text
from src.studies import mine

PHOTOGRAPH = ROOT / "tests" / "pictures" / "blue-ink-ruled-paper_4.jpg"  # to be read where no other is named


def start_step(settings: Settings, studies: Sequence[str] = ()) -> Data:
    """Load MNIST as the settings say, and print what this notebook runs with: versions, checkout, seeds and images.

    Refuses before any training what would only be found out after it: folders that cannot be written into, evidence of
    a step in them, or of the `studies` that the notebook shows, that cannot be read.
    """
    data = load_dataset(
        settings.path("data_dir"), device=settings.torch_device, train_limit=settings.train_limit or None
    )
    folder = results_folder(settings, data)
    check_replaceable(folder, settings, data)
    check_writable(KEPT)
    check_writable(folder)
    steps(folder)  # the overview is drawn from all three
    _finished(*studies)
    here = environment(data)
    print(
        f"Python {here.python}, torch {here.torch}, torchvision {here.torchvision}, {here.device} ({here.processor}), "
        f"{here.precision}, {here.threads} threads, seed {', '.join(map(str, settings.seeds))}"
    )
    print(f"The code is that of commit {git_commit()}")
    where = "This run is the evidence in" if folder == RESULTS else "The results of this run go to"
    images = f"{len(data.train_images):,} training and {len(data.eval_images):,} test images"
    print(f"{images}. {where} {display_path(folder)}/")
    return data


def show_samples(data: Data, recipe: Recipe) -> None:
    """Show ten training images: raw, preprocessed if the recipe says so, and two draws of its augmentation."""
    generator = torch.Generator().manual_seed(0)
    raw = data.train_images[:10]
    images = Preprocess(recipe, data.statistics)(raw)
    rows = {"raw": raw} | ({"preprocessed": images} if recipe.preprocesses else {})
    for number in (1, 2):
        rows[f"augmented, draw {number}"] = augment(images, generator, **recipe.strengths)
    _show(figures.samples(rows))


def show_layers(model_class: type[nn.Module]) -> None:
    """Show a model's code, the receptive field table of its layers, and where it stands in the budget."""
    display(Markdown(f"```python\n{inspect.getsource(model_class)}```"))
    _show_table(text.layers_text(model_class))


def show_loop() -> None:
    """Show the training loop, as src/learn/training.py has it."""
    display(Markdown(f"```python\n{inspect.getsource(train_epoch)}```"))


def show_summary(model_class: type[nn.Module]) -> None:
    """Show torchsummary's table, folded. It draws a batch and sends it through the model, so it gets one of its own."""
    with torch.random.fork_rng(devices=[]), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()) as table:
        torchsummary.summary(model_class().eval(), (1, 28, 28), device="cpu")
    name = model_class.__name__
    display(HTML(f"<details><summary>{name} by torchsummary</summary><pre>{table.getvalue()}</pre></details>"))


def show_network(model_class: type[nn.Module], data: Data) -> None:
    """Show a model's maps as blocks, and what a pixel of each layer sees of a digit."""
    _show(figures.architecture(model_class(), data.train_images[0]))


def fit_seeds(model_class: type[nn.Module], recipe: Recipe, data: Data, settings: Settings) -> list[Trained]:
    """Train a model once for each seed, with live progress, or pick up kept runs. Returns them, Trained."""
    runs = []
    for seed in settings.seeds:
        progress = Progress(f"{model_class.__name__}, seed {seed}", recipe)
        trained = fit(Job(model_class, data, recipe, seed), fresh=settings.fresh, progress=progress)
        progress.finish(trained)
        runs.append(trained)
    return runs


def try_network(
    network: type[nn.Module],
    recipe: str = "model_8",
    *,
    seeds: Sequence[int] = range(5),
    epochs: int | None = None,
    train_limit: int | None = None,
) -> None:
    """Show whether a network of your own holds 99.4 %, trained by one of our recipes: see src/studies/mine.py.

    Fewer `epochs`, `seeds` or training images are a quick look. Raises ValueError in one sentence for a network that
    cannot be trained.
    """
    mine.check_network(network)
    show_layers(network)
    chosen = mine.recipe_named(recipe, epochs)
    data = load_dataset(device="cuda" if torch.cuda.is_available() else "cpu", train_limit=train_limit)
    evidence = mine.try_network(network, data, chosen, seeds, lambda title: Progress(title, chosen))
    _show(figures.step_curves(evidence))
    print(mine.verdict(evidence))


def show_curves(runs: dict[str, list[Trained]], target: Target) -> None:
    """Show accuracy by epoch beside the target; `runs` maps a model's name to its Trained runs."""
    _show(figures.step_curves(_gathered("curves", target, runs)))


def show_confusion(logits: torch.Tensor, data: Data) -> None:
    """Show which digits are taken for which."""
    _show(figures.confusion(data.eval_labels, logits.argmax(1), data.classes))


def show_mistakes(logits: torch.Tensor, data: Data) -> None:
    """Show the mistakes that the model is surest of, as the files have the images."""
    _show(figures.mistakes(data.eval_images, data.eval_labels, logits))


def read_digit(reader: Reader, data: Data, settings: Settings) -> None:
    """Let a Reader read the picture that `digit` names, else a photograph, and show its way to the answer."""
    picture = settings.path("digit") or PHOTOGRAPH
    seen = look(picture)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UnlikeMNIST)
        probabilities = reader.probabilities(seen.image)
    digit = max(range(10), key=probabilities.__getitem__)
    print(f"{display_path(picture)}: {digit}, {probabilities[digit]:.1%} sure")
    print(*(f"{number}: {probability:6.1%}" for number, probability in enumerate(probabilities)), sep="\n")
    print(*(f"But {warning.message}" for warning in warned))
    panels = {"picture\n": seen.picture, "ink\n": seen.ink, "the digit\n": seen.ink * seen.kept}
    figure = figures.reading(panels | _given(reader, seen.image), probabilities)
    _show(figure, None if settings.digit else results_folder(settings, data) / "photograph.png")


def save_networks(runs: dict[str, list[Trained]], data: Data, settings: Settings) -> dict[str, Reader]:
    """Write the weights of the first seed of each model and the page on which one draws a digit; return their Readers.

    Show and write, too, what the first of them makes of a test image, layer by layer.
    """
    folder = results_folder(settings, data)
    readers = {name: reader_of(of_name[0], data.train_images, data.train_labels) for name, of_name in runs.items()}
    written = [save_weights(runs[name][0], reader, folder) for name, reader in readers.items()]
    try:
        write(folder / page.NAME, page.page_html(readers))
        written.append(folder / page.NAME)
    except TypeError as error:
        print(f"No page is written: {error}")
    reader, image = next(iter(readers.values())), data.eval_images[:1]
    logits, _ = reader.logits_and_distance(image)  # a network of a smoke run may know no digit yet: no warning of that
    figure = figures.reading(_given(reader, image) | _layer_maps(reader, image), logits[0].softmax(0).tolist())
    _show(figure, folder / "reading.png")
    print("Written:", ", ".join(map(display_path, [*written, folder / "reading.png"])))
    return readers


def show_seeds(*names: str) -> None:
    """Show how studies ended over their seeds, and each run of the first."""
    if studies := _finished(*names):
        _show_table(text.claims_table(text.claims_of(*studies), "../results"))
        _show(figures.strip(studies[0]))


def show_changes(name: str) -> None:
    """Show what each change in a study makes of its first arm."""
    for study in _finished(name):
        _show_table(text.changes_table(study))
        _show(figures.forest(study))


def show_averaging() -> None:
    """Show epoch by epoch what averaging the weights does."""
    for study in _finished("ablation_training"):
        _show(figures.epoch_by_epoch(study, figures.AVERAGING))


def show_frontier() -> None:
    """Show accuracy against parameters, the public results beside ours."""
    for study in _finished("frontier"):
        _show(figures.frontier(study))


def show_usps() -> None:
    """Show how networks read digits from outside MNIST, and how far one is right where it is sure."""
    found = read_usps()
    _show_table(text.usps_table(found))
    print(*text.confidence_lines(found), sep="\n")
    accuracies = {name: of_name["all"] for name, of_name in found.accuracies().items()}
    _show(figures.usps(accuracies, found.arms[found.confidence.network], found.confidence))


def finish_step(step: int, target: Target, runs: dict[str, list[Trained]], data: Data, settings: Settings) -> None:
    """Write the step's evidence and figures, and show target, measured and held.

    `runs` maps a model's name to its Trained runs.
    """
    folder = results_folder(settings, data)
    evidence = _gathered(f"Step{step}", target, runs)
    if folder == RESULTS:
        evidence = fingerprinted(evidence, load_dataset(settings.path("data_dir")))
    path = write_evidence(evidence, path_to(evidence.name, folder))
    figures.save_picture(figures.png(figures.step_curves(evidence)), folder / f"{evidence.name}.png")
    figures.save_picture(figures.png(figures.overview(steps(folder))), folder / "overview.png")
    print(f"Target: {target}.")
    _show_table(text.card_table(evidence))
    pictures = folder / f"{evidence.name}.png", folder / "overview.png"
    print("Written:", ", ".join(map(display_path, (path, *pictures))))


def _gathered(name, target, runs):
    """Gather Trained runs, by model, into Evidence."""
    arms = {
        model: Arm(of_model[0].network, of_model[0].recipe, tuple(trained.run for trained in of_model))
        for model, of_model in runs.items()
    }
    seeds = tuple(run.seed for arm in arms.values() for run in arm.runs)
    return Evidence(name, arms, tuple(dict.fromkeys(seeds)), target=target)


def _given(reader, image):
    """Return panels for figures.reading: an image (1, 1, H, W) and what preprocessing makes of it."""
    ready = reader.preprocess(image)
    size = f"{image.shape[-2]} x {image.shape[-1]}"
    return {f"digit\n{size}": image[0, 0].cpu().numpy(), f"preprocessed\n{size}": ready[0, 0].cpu().numpy()}


@torch.no_grad()
def _layer_maps(reader, image):
    """Return panels for figures.reading: the maps of the last layer of each size."""
    maps, last = reader.preprocess.normalise(reader.preprocess(image)), {}
    for layer in reader.model.to(image.device):
        maps = layer(maps)
        if maps.dim() == 4 and maps.shape[-1] > 1:
            last[maps.shape[-1]] = maps[0].float().cpu().numpy()
    return {f"{len(found)} maps\n{size} x {size}": figures.mosaic(found) for size, found in last.items()}


def _finished(*names):
    """Read the studies that have evidence, and say which have none."""
    found = []
    for name in names:
        study = read_named(name)
        if study.complete:
            found.append(study)
        else:
            print(f"The study {name} has no runs: run python -m src.studies.run {display_path(path_to(name))}")
    return found


def _show_table(markdown):
    """Show a table; where only text is printed, as by papermill --log-output, as it is written."""
    display({"text/markdown": markdown, "text/plain": markdown}, raw=True)


def _show(figure, path=None):
    """Show a figure, and write it to `path`."""
    picture = figures.png(figure)
    if path:
        figures.save_picture(picture, path)
    # Two pixels of the picture for each of the page, so that it is sharp on every screen.
    display(Image(picture, width=round(96 * figure.get_figwidth())))
