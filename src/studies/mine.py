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
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from src import display_path
from src.evidence.runs import Trained, fit
from src.evidence.schema import Arm, Evidence, Target, read_named, write_evidence
from src.evidence.storage import KEPT, TRIAL, check_writable
from src.learn.data import Data, load_dataset
from src.learn.networks import register
from src.learn.recipe import Recipe
from src.learn.training import EpochMetrics, Job
from src.report import figures, text
from src.studies.command import ended_in_a_sentence, seeds_of

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
    module_name = f"mine_{path.stem}"  # in nobody's way
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where its source is looked for
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # what lies beside it may be imported
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise NetworkError(f"{file} does not run: {type(error).__name__}: {_line(error)}") from None
    found = {key: value for key, value in vars(module).items() if _is_own_network(value, module_name)}
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


def try_network(
    network: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    seeds: Sequence[int],
    progress_of: Callable[[str], "Lines"],
) -> Evidence:
    """Train a network from each seed; return the evidence, which is written to .runs/trial/ after each.

    `progress_of` makes from a run's title what follows it, as Lines does. Raises NetworkError for a network whose
    training breaks.
    """
    register(network)
    name, runs = network.__name__, []
    target = replace(Target(), last_epochs=min(Target.last_epochs, recipe.epochs), max_parameters=None)
    for seed in seeds:
        progress = progress_of(f"{name}, seed {seed}")
        try:
            trained = fit(Job(network, data, recipe, seed), progress=progress)
        except FloatingPointError as error:
            raise NetworkError(f"{name}, seed {seed}: {error}") from None
        progress.finish(trained)
        runs.append(trained.run)
        evidence = Evidence(f"mine_{name}", {name: Arm(name, recipe, runs)}, seeds[: len(runs)], target=target)
        write_evidence(evidence, TRIAL / f"{evidence.name}.json")
    return evidence


def picture_of(evidence: Evidence) -> Path:
    """Draw the epochs of a try beside its evidence, and return where."""
    path = TRIAL / f"{evidence.name}.png"
    figures.save_picture(figures.png(figures.step_curves(evidence)), path)
    return path


def verdict(evidence: Evidence) -> str:
    """Say in a few sentences how a network of the user's own ended."""
    ((name, arm),) = evidence.arms.items()
    target, images = evidence.target, arm.runs[0].history[0].train_total
    several = target.last_epochs > 1
    says = [
        f"{name} {'holds' if several else 'reaches'} {target.percent:.1f} % in {arm.holding(target)} of "
        f"{len(arm.runs)} runs; the lowest epoch is {arm.lowest(target):.2f} %, the final one "
        f"{statistics.mean(arm.finals.values()):.2f} % on average."
    ]
    if several:
        says.append(f"A run holds it if each of its last {target.last_epochs} epochs has so much.")
    if arm.parameters > Target.max_parameters:
        says.append(f"Its {arm.parameters:,} parameters are beyond the assignment's budget.")
    if images < 60_000 or arm.recipe.epochs < Target.last_epochs:
        says.append(f"This was a quick look, at {images:,} images for {arm.recipe.epochs} epochs.")
    return " ".join(says)


class Lines:
    """Follow a run by a printed line an epoch."""

    def __init__(self, title: str):
        self.printed = 0
        print(f"\n{title}", flush=True)

    def __call__(self, history: Sequence[EpochMetrics], done: float) -> None:
        """Print the epochs that are new in the history."""
        for epoch in history[self.printed :]:
            accuracies = f"training {epoch.train_accuracy:.2f} %, test {epoch.accuracy:.2f} %"
            print(f"epoch {epoch.epoch}: {accuracies}, {epoch.seconds:.0f} s", flush=True)
        self.printed = len(history)

    def finish(self, trained: Trained) -> None:
        """Print what is left, as of a run that was kept from before."""
        self(trained.run.history, len(trained.run.history))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.studies.mine", description=__doc__.split("\n")[0])
    parser.add_argument("network", help="a file and a class in it: my_network.py:Net")
    parser.add_argument("--recipe", default="model_8", choices=RECIPES, help="whose recipe (default: model_8)")
    parser.add_argument("--seeds", type=seeds_of, default=tuple(range(5)), help="0-4 or 0,2,5-7 (default: 0-4)")
    parser.add_argument("--epochs", type=int, help="another number of epochs than the recipe's")
    parser.add_argument("--train-limit", type=int, help="a quick look at the first N training images")
    arguments = parser.parse_args()
    with ended_in_a_sentence("try"):
        network, recipe = loaded(arguments.network), recipe_named(arguments.recipe, arguments.epochs)
        check_network(network)
        print(text.layers_text(network), f"Recipe: {recipe}", sep="\n\n", flush=True)
        check_writable(KEPT)
        data = load_dataset(train_limit=arguments.train_limit)
        evidence = try_network(network, data, recipe, arguments.seeds, Lines)
        print(f"\n{verdict(evidence)}\nWritten: {display_path(picture_of(evidence))}")


if __name__ == "__main__":
    main()
