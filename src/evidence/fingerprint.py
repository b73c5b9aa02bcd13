"""What a tiny training by an arm's own recipe gives: evidence carries it, so that a change of the code is found.

The training has the recipe's epochs, so that every schedule is in it, on 48 images in small batches, in float64 and on
one thread. Code may be moved, renamed and rewritten; where it still does the same, the fingerprint is the same, within
TOLERANCE also on another kind of processor. Processors round differently, and training lets that grow: in float32 until
nothing can be told.
"""

import copy
import functools
import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, replace

import torch
from torch import nn

from src.evidence.schema import Evidence
from src.learn.data import Data
from src.learn.images import Statistics
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.learn.schedules import ema_decay
from src.learn.training import Job, train_epochs, update_average

FIRST, TOUCHING = 32, 16  # images to train on: the first ones, and those with the most ink at the border
SCORED = 16  # images
FULL_SIZE = 60_000
BATCH_SIZE = 16  # at most, so that an epoch has some steps
SEED = 0
DIGITS = 6  # of the data's statistics, so that they are the same on every processor
TOLERANCE = 1e-7  # relative


def fingerprint(network: Callable[[], nn.Module], recipe: Recipe, data: Data) -> tuple[float, ...]:
    """Take the fingerprint of a network and a recipe.

    For each epoch of the tiny training its training loss, evaluation loss and learning rate; last the average's lag.
    `network` makes the model. `data` are MNIST's, whole, on the CPU; the split does not matter.
    """
    job = Job(network, tiny(data), replace(recipe, batch_size=min(recipe.batch_size, BATCH_SIZE)), SEED)
    found = []
    with _in_float64_on_one_thread(), torch.random.fork_rng(devices=[]):
        for state in train_epochs(job, precision=torch.float64):
            epoch = state.history[-1]
            found += epoch.train_loss, epoch.eval_loss, state.optimizer.param_groups[0]["lr"]
    steps = recipe.epochs * math.ceil(FULL_SIZE / recipe.batch_size)
    return tuple(float(f"{value:.9g}") for value in (*found, average_lag(recipe, steps)))


def fingerprinted(evidence: Evidence, data: Data) -> Evidence:
    """Return evidence with a fingerprint for each arm that has none.

    Raises ValueError for an arm that can never be trained.
    """
    arms = dict(evidence.arms)
    for name, arm in arms.items():
        try:
            found = arm.fingerprint or fingerprint(named(arm.network), arm.recipe, data)
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"arms.{name} ({arm.network}) cannot be trained: {reason}; correct its network or recipe"
            ) from None
        arms[name] = replace(arm, fingerprint=found)
    return replace(evidence, arms=arms)


def deviation(found: tuple[float, ...], stored: tuple[float, ...]) -> tuple[float, str]:
    """Return the largest difference between two fingerprints as a multiple of TOLERANCE, and what differs.

    Over 1 the code does something else, or the recipe is another.
    """
    if len(found) != len(stored):
        return math.inf, "the number of epochs"
    names, worst = ("training loss", "evaluation loss", "learning rate"), (0.0, "nothing")
    for at, (new, old) in enumerate(zip(found, stored, strict=True)):
        epoch, kind = divmod(at, len(names))
        what = f"the {names[kind]} of epoch {epoch + 1}" if at < len(stored) - 1 else "the average's lag"
        gap = abs(new - old) / max(abs(old), 1e-3) / TOLERANCE
        worst = max(worst, (gap if math.isfinite(gap) else math.inf, what))
    return worst


@functools.cache
def _chosen(images):
    border = images.float().sum((1, 2, 3)) - images[..., 1:-1, 1:-1].float().sum((1, 2, 3))
    return torch.cat([torch.arange(FIRST), border.argsort(descending=True, stable=True)[:TOUCHING]])


def tiny(data: Data) -> Data:
    """Return the data that fingerprints are taken on."""
    train, scored = _chosen(data.train_images), torch.arange(SCORED)
    statistics = {name: float(f"{value:.{DIGITS}g}") for name, value in asdict(data.statistics).items()}
    return replace(
        data,
        statistics=Statistics(**statistics),
        train_images=data.train_images[train], train_labels=data.train_labels[train],
        eval_images=data.eval_images[scored], eval_labels=data.eval_labels[scored],
    )  # fmt: skip


@contextmanager
def _in_float64_on_one_thread():
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


def average_lag(recipe: Recipe, steps: int) -> float:
    """Return how many steps the average of weights lags behind after a whole training, which a tiny one cannot show.

    The weights are one number here, which counts the steps.
    """
    if not recipe.ema_decay:
        return 0.0
    counter = nn.Linear(1, 1, bias=False).requires_grad_(False)
    average = copy.deepcopy(counter)
    for step in range(steps):
        counter.weight.fill_(step)
        update_average(average, counter, ema_decay(recipe, step))
    return steps - 1 - average.weight.item()
