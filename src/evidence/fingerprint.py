"""What a tiny training by an arm's own recipe gives: evidence carries it, so that a change of the code is found.

The training has the recipe's epochs, so that every schedule is in it, on 256 images, in float32 and on one thread. Code
may be moved, renamed and rewritten; where it still does the same, the fingerprint is the same: to the last digit on one
kind of processor, within TOLERANCE on others, which round differently.
"""

import functools
import math
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from src.learn.networks import named
from src.learn.training import ema_update, epochs, new_model

FIRST, TOUCHING = 192, 64  # images: the first ones, and those with the most ink at the border, to see what lies beyond
FULL_SIZE = 60_000
SEED = 0
EXACT = 1e-5  # relative, of what is no loss
TOLERANCE = (1e-6, 1e-4, 1e-2, 5e-2)  # relative, of the losses of each epoch and those after it


def fingerprint(network, recipe, data):
    """Take the fingerprint of a network and a recipe: a tuple of floats.

    For each epoch of the tiny training its training loss, evaluation loss and learning rate; last the average's lag.
    `network` makes the model. `data` are MNIST's, whole, on the CPU; the split does not matter.
    """
    few = tiny(data)
    with one_thread(), torch.random.fork_rng(devices=[]):
        model = new_model(network, SEED)
        *_, training = epochs(model, few, recipe, SEED, precision=torch.float32)
    found = [value for e in training.history for value in (e.train_loss, e.eval_loss, e.lr)]
    steps = recipe.epochs * math.ceil(FULL_SIZE / recipe.batch_size)
    return tuple(float(f"{value:.9g}") for value in (*found, average_lag(recipe, steps)))


def fingerprinted(evidence, data):
    """Return evidence with the fingerprint of each arm."""
    arms = {
        name: replace(arm, fingerprint=fingerprint(named(arm.network), arm.recipe, data))
        for name, arm in evidence.arms.items()
    }
    return replace(evidence, arms=arms)


def deviation(found, stored):
    """Return the largest difference between two fingerprints as a multiple of what is tolerated, and what differs.

    Losses may differ within the TOLERANCE of their epoch, for rounding grows as training goes on; what is no loss, by
    EXACT. Over 1 the code does something else, or the recipe is another.
    """
    if len(found) != len(stored):
        return math.inf, "the number of epochs"
    names, worst = ("training loss", "evaluation loss", "learning rate"), (0.0, "nothing")
    for at, (new, old) in enumerate(zip(found, stored, strict=True)):
        epoch, kind = divmod(at, len(names))
        tolerance, what = TOLERANCE[min(epoch, len(TOLERANCE) - 1)], f"the {names[kind]} of epoch {epoch + 1}"
        if at == len(stored) - 1:
            what = "the average's lag"
        if kind == 2 or at == len(stored) - 1:
            tolerance = EXACT
        gap = abs(new - old) / max(abs(old), 1e-3) / tolerance
        worst = max(worst, (gap if math.isfinite(gap) else math.inf, what))
    return worst


@functools.cache
def _chosen(images):
    border = images.float().sum((1, 2, 3)) - images[..., 1:-1, 1:-1].float().sum((1, 2, 3))
    return torch.cat([torch.arange(FIRST), border.argsort(descending=True, stable=True)[:TOUCHING]])


def tiny(data):
    """Return the data that fingerprints are taken on."""
    train, scored = _chosen(data.train_images), _chosen(data.eval_images)
    return replace(
        data,
        train_images=data.train_images[train], train_labels=data.train_labels[train],
        eval_images=data.eval_images[scored], eval_labels=data.eval_labels[scored],
    )  # fmt: skip


@contextmanager
def one_thread():
    """Compute on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def average_lag(recipe, steps):
    """Return how many steps the average of weights lags behind after a whole training, which a tiny one cannot show.

    The weights are one number here, which counts the steps.
    """
    if not recipe.ema:
        return 0.0
    counter = nn.Linear(1, 1, bias=False).requires_grad_(False)
    average = AveragedModel(counter, multi_avg_fn=ema_update(recipe))
    for step in range(steps):
        counter.weight.fill_(step)
        average.update_parameters(counter)
    return steps - 1 - average.module.weight.item()
