"""Will it work with mine? `python -m src.studies.mine my_network.py:Net` trains a network of yours by a recipe of ours.

The network takes images of 1 x 28 x 28, normalised, and returns a number for each of the ten digits: logits, or
log-probabilities, of which the cross-entropy is the same. What comes of it goes to .runs/trial/. In a notebook,
`src.utils.try_network` does the same.
"""

import argparse
import importlib.util
import inspect
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from src import display_path
from src.evidence.runs import fit
from src.evidence.schema import Arm, Evidence, Run, Target, read_named, write_evidence
from src.evidence.storage import KEPT, TRIAL, check_writable
from src.learn.data import load_dataset
from src.learn.networks import register
from src.learn.recipe import Recipe
from src.learn.training import EpochMetrics, Job
from src.report import figures, text
from src.studies.cluster import ended_in_a_sentence
from src.studies.run import seeds_of

RECIPES = {  # a name to a study and its arm
    "model_8": ("model_8_confirmation", "Model_8"),
    "model_9": ("model_9_confirmation", "Model_9"),
    "three_epochs": ("three_epochs_confirmation", "Model_8, 3 epochs"),
    "published": ("published_models", "Model_5"),
}


class NetworkError(ValueError):
    """Say in one sentence why a network cannot be tried, and what to do."""


def recipe_named(name: str, epochs: int | None = None) -> Recipe:
    """Return one of RECIPES, for other epochs where they are given. Raises ValueError for another name."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}: use one of {', '.join(RECIPES)}")
    study, arm = RECIPES[name]
    recipe = read_named(study).arms[arm].recipe
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def loaded(place: str) -> type[nn.Module]:
    """Return the class that "my_network.py:Net" names. Raises NetworkError."""
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not (file.endswith(".py") and name.isidentifier()):
        raise NetworkError(f"{place!r} names no class in a Python file: write it as my_network.py:Net")
    if not path.is_file():
        raise NetworkError(f"{file} is no file: correct the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where its source is looked for
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise NetworkError(f"{file} does not run: {type(error).__name__}: {_line(error)}") from None
    found = {key: value for key, value in vars(module).items() if _is_own_network(value, path.stem)}
    if name not in found:
        raise NetworkError(f"{file} has no network {name}: it has {', '.join(found) or 'none'}")
    return found[name]


def _is_own_network(value, module):
    return inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == module


def _line(error):
    return (str(error).strip() or "no message").splitlines()[0]


def check_network(network: Callable[[], nn.Module]) -> None:
    """Find out before any training whether a network can be made and classifies images. Raises NetworkError."""
    name = network.__name__
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model = network()
        except Exception as error:
            raise NetworkError(f"{name}() fails: {_line(error)}; give every argument a default") from None
        try:
            answer = model.eval()(torch.randn(2, 1, 28, 28))
        except Exception as error:
            raise NetworkError(f"{name} takes no images of 1 x 28 x 28: {_line(error)}") from None
    shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else (type(answer).__name__,)
    if len(shape) != 2 or shape[0] != 2 or shape[1] < 10:
        got = " x ".join(map(str, shape))
        raise NetworkError(f"{name} makes {got} of two images: end it with ten numbers an image, 2 x 10")
    if not answer.isfinite().all():
        raise NetworkError(f"{name} answers nan or inf before any training: look for a division by 0 or a logarithm")
    if not any(weights.requires_grad for weights in model.parameters()):
        raise NetworkError(f"{name} has no weights to train: add a layer")


def evidence_of(network: Callable[[], nn.Module], recipe: Recipe, runs: list[Run]) -> Evidence:
    """Return the runs of a network of the user's own as evidence, by the assignment's target."""
    register(network)
    name = network.__name__
    target = replace(Target(), last_epochs=min(Target.last_epochs, recipe.epochs))
    seeds = [run.seed for run in runs]
    return Evidence(f"mine_{name}", {name: Arm(name, recipe, runs)}, seeds, target=target)


def keep_try(evidence: Evidence) -> Path:
    """Write what came of a try to .runs/trial/, and return where its picture goes."""
    return write_evidence(evidence, TRIAL / f"{evidence.name}.json").with_suffix(".png")


def verdict(evidence: Evidence) -> str:
    """Say in a sentence or two how a network of the user's own ended."""
    ((name, arm),) = evidence.arms.items()
    target = evidence.target
    which = f"each of the last {target.last_epochs} epochs" if target.last_epochs > 1 else "the final epoch"
    reached = sum(min(each) >= 100 * target.accuracy for each in arm.counted(target).values())
    says = (
        f"{name} holds {100 * target.accuracy:.1f} % in {reached} of {len(arm.runs)} runs; the lowest epoch is "
        f"{arm.lowest(target):.2f} %, the final one {statistics.mean(arm.finals.values()):.2f} % on average."
    ).replace("holds", "holds" if target.last_epochs > 1 else "reaches")
    images = arm.runs[0].history[0].train_total
    notes = [f"A run holds it in {which}."] if target.last_epochs > 1 else []
    if images < 60_000 or arm.recipe.epochs < Target.last_epochs:
        notes.append(f"This was a quick look: {images:,} images, {arm.recipe.epochs} epochs.")
    if arm.parameters >= text.BUDGET:
        notes.append(f"Its {arm.parameters:,} parameters are beyond the assignment's budget.")
    return " ".join([says, *notes])


def try_network(
    network: Callable[[], nn.Module], recipe: Recipe, seeds: tuple[int, ...], train_limit: int | None
) -> Path:
    """Train a network from each seed, print what comes of it, and return where the picture of its epochs lies."""
    check_network(network)
    print(text.layers_text(network), f"Recipe: {recipe}", sep="\n\n", flush=True)
    check_writable(KEPT)
    data, runs = load_dataset(train_limit=train_limit), []
    for seed in seeds:
        print(f"\n{network.__name__}, seed {seed}", flush=True)
        try:
            runs.append(fit(Job(network, data, recipe, seed), progress=_Lines()).run)
        except FloatingPointError as error:
            raise NetworkError(f"{network.__name__}, seed {seed}: {error}") from None
        evidence = evidence_of(network, recipe, runs)
        picture = keep_try(evidence)
    figures.save_picture(figures.png(figures.step_curves(evidence)), picture)
    print(f"\n{verdict(evidence)}")
    return picture


class _Lines:
    """Print a line an epoch."""

    def __init__(self):
        self.printed = 0

    def __call__(self, history: list[EpochMetrics], done: float) -> None:
        for epoch in history[self.printed :]:
            print(
                f"epoch {epoch.epoch}: training {epoch.train_accuracy:.2f} %, test {epoch.accuracy:.2f} %, "
                f"{epoch.seconds:.0f} s",
                flush=True,
            )
        self.printed = len(history)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.studies.mine", description=__doc__.split("\n")[0])
    parser.add_argument("network", help="a file and a class in it: my_network.py:Net")
    parser.add_argument("--recipe", default="model_8", choices=RECIPES, help="whose recipe (default: model_8)")
    parser.add_argument("--seeds", type=seeds_of, default=tuple(range(5)), help="0-4 or 0,2,5-7 (default: 0-4)")
    parser.add_argument("--epochs", type=int, help="another number of epochs than the recipe's")
    parser.add_argument("--train-limit", type=int, help="a quick look at the first N training images")
    arguments = parser.parse_args()
    with ended_in_a_sentence("try"):
        recipe = recipe_named(arguments.recipe, arguments.epochs)
        picture = try_network(loaded(arguments.network), recipe, arguments.seeds, arguments.train_limit)
        print(f"Written: {display_path(picture)}")


if __name__ == "__main__":
    main()
