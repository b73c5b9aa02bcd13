"""The training loop: a job in, one record an epoch out."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import torch
from pydantic import model_validator
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from src.checked import Count, NotNegative, Positive, checked
from src.learn.data import Data
from src.learn.evaluation import forward, logits_of, score
from src.learn.images import BATCH, Preprocess, augment
from src.learn.recipe import Recipe
from src.learn.schedules import augmentation_strengths, ema_decay, learning_rate

AUGMENTATION_SEED_OFFSET = 2**31  # added to the seed for the augmentation's generator: more than there are seeds


@dataclass(frozen=True)
class Job:
    """What decides a training: a function that makes the network, a class mostly, the data, the recipe and the seed."""

    network: Callable[[], nn.Module]
    data: Data
    recipe: Recipe
    seed: int

    @property
    def preprocess(self) -> Preprocess:
        """What is done to every image before the network sees it."""
        return Preprocess(self.recipe, self.data.statistics)

    def new_model(self) -> nn.Module:
        """Return the network with the initial weights that belong to the seed."""
        torch.manual_seed(self.seed)
        return self.network()


@checked
class EpochMetrics:
    """What one epoch of training gave.

    `train_*` is counted on the augmented images as they pass, while the weights move and dropout is on; `eval_*`
    afterwards, in evaluation mode, on all evaluation images.
    """

    epoch: Positive
    train_loss: NotNegative
    train_correct: Count
    train_total: Positive
    eval_loss: NotNegative
    eval_correct: Count
    eval_total: Positive
    seconds: NotNegative

    @model_validator(mode="after")
    def _no_more_than_all(self):
        for part in ("train", "eval"):
            correct, total = getattr(self, f"{part}_correct"), getattr(self, f"{part}_total")
            if correct > total:
                raise ValueError(f"{part}_correct is {correct} of a {part}_total of {total}: it is at most that")
        return self

    @property
    def accuracy(self) -> float:
        """On the evaluation images, in percent."""
        return 100 * self.eval_correct / self.eval_total

    @property
    def train_accuracy(self) -> float:
        """On the training images as they passed, in percent."""
        return 100 * self.train_correct / self.train_total


class TrainState:
    """All that changes while a model is trained: weights, optimiser, average, steps made, random streams, history."""

    def __init__(self, job: Job):
        self.model = job.new_model().to(job.data.train_images.device, memory_format=torch.channels_last)  # the faster
        self.optimizer = make_optimizer(self.model, job.recipe)
        self.average = copy.deepcopy(self.model) if job.recipe.ema_decay else None
        self.step, self.total_steps = 0, steps_of(job) * job.recipe.epochs
        self.history: list[EpochMetrics] = []
        torch.manual_seed(job.seed)  # dropout
        # On the CPU, so that neither depends on the device; two, so that the order does not depend on augmentation.
        self.order = torch.Generator().manual_seed(job.seed)
        self.augmentation = torch.Generator().manual_seed(job.seed + AUGMENTATION_SEED_OFFSET)

    def evaluated_model(self) -> nn.Module:
        """Return the averaged model, or where the recipe has none the model itself."""
        return self.model if self.average is None else self.average

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs. The tensors are the ones in use: write them before the next step."""
        return {
            "step": self.step,
            "history": [asdict(epoch) for epoch in self.history],
            "parts": [part.state_dict() for part in self._parts()],
            "streams": [stream.get_state() for stream in self._streams()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.step, self.history = state["step"], [EpochMetrics(**epoch) for epoch in state["history"]]
        for part, saved in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(saved)
        for stream, saved in zip(self._streams(), state["streams"], strict=True):
            stream.set_state(saved)

    def _parts(self):
        return [part for part in (self.model, self.optimizer, self.average) if part is not None]

    def _streams(self):
        return torch.default_generator, self.order, self.augmentation


def train_epoch(
    state: TrainState,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    recipe: Recipe,
    forward: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    after_step: Callable[[], None],
) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """Train for one epoch; return the loss and the size of each batch, and how many images were classified correctly.

    `batches` are images (B, 1, 28, 28) and targets: classes (B,), or probabilities (B, classes). `forward` makes logits
    of a model and images. Nothing here waits for a GPU.
    """
    losses, sizes, correct = [], [], 0
    state.model.train()
    for images, targets in batches:
        logits = forward(state.model, images)
        loss = F.cross_entropy(logits, targets)
        state.optimizer.zero_grad()
        loss.backward()
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, state.step, state.total_steps)
        state.optimizer.step()
        if state.average is not None:
            update_average(state.average, state.model, ema_decay(recipe, state.step))
        state.step += 1
        losses.append(loss.detach())
        sizes.append(len(images))
        correct += (logits.argmax(1) == (targets if targets.dim() == 1 else targets.argmax(1))).sum()
        after_step()
    return torch.stack(losses), sizes, correct


def train_epochs(
    job: Job,
    state: TrainState | None = None,
    *,
    progress: Callable[[list[EpochMetrics], float], None] | None = None,
    precision: torch.dtype | None = None,
) -> Iterator[TrainState]:
    """Train a job's network and yield its TrainState after each epoch; go on from `state` where one is given.

    On a processor the same job, versions and thread count give the same history to the last bit, but for the seconds,
    also when training goes on from a state that was loaded.

    `progress(history, epochs)` is called after each step and once more after each epoch: `epochs` are done, 2.5 in the
    middle of the third. Raises FloatingPointError, after the epoch, where a loss was not finite.
    """
    data, recipe, preprocess = job.data, job.recipe, job.preprocess
    images, eval_images = preprocess(data.train_images), preprocess(data.eval_images)
    steps, state = steps_of(job), state or TrainState(job)

    def logits(model, images):
        return forward(model, images, preprocess, precision)

    def after_step():
        if progress:
            progress(state.history, state.step / steps)

    while len(state.history) < recipe.epochs:
        epoch, started = len(state.history) + 1, time.perf_counter()
        batches = augmented_batches(images, data.train_labels, recipe, state)
        losses, sizes, correct = train_epoch(state, batches, recipe, logits, after_step)
        train_loss = _mean_loss(losses.tolist(), sizes, f"in epoch {epoch}", recipe)
        evaluated = state.evaluated_model()
        if recipe.bn_images:
            sample = images[: recipe.bn_images].split(BATCH)
            update_bn((preprocess.normalise(batch) for batch in sample), evaluated)
        try:
            found = score(logits_of(evaluated, eval_images, preprocess, precision), data.eval_labels)
        except FloatingPointError as error:  # the last step of an epoch can still break the weights
            raise FloatingPointError(f"{data.split}: {error} after epoch {epoch}: lower lr ({recipe.lr})") from None
        seconds = round(time.perf_counter() - started, 2)
        trained = train_loss, int(correct), sum(sizes)
        state.history.append(EpochMetrics(epoch, *trained, found.loss, found.correct, found.total, seconds))
        yield state
        if progress:
            progress(state.history, float(epoch))


def augmented_batches(
    images: torch.Tensor, labels: torch.Tensor, recipe: Recipe, state: TrainState
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield all preprocessed images once, in random order, in batches: augmented images and their targets."""
    order = torch.randperm(len(labels), generator=state.order).to(labels.device)
    for step, index in enumerate(order.split(recipe.batch_size), state.step):
        strengths = augmentation_strengths(recipe, step, state.total_steps)
        yield augment(images[index], state.augmentation, **strengths), labels[index]


def steps_of(job: Job) -> int:
    """Return how many steps of the optimiser an epoch has."""
    return math.ceil(len(job.data.train_labels) / job.recipe.batch_size)


def _mean_loss(losses, sizes, when, recipe):
    """Return the mean over images of the losses of batches of these sizes."""
    for step, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} {when}, step {step} of {len(losses)}: lower lr ({recipe.lr})")
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the recipe's optimiser, with weight decay on the weights of convolutions and linear layers only."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=True)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Make the weights and BatchNorm statistics of `average` decay * its own + (1 - decay) * the model's.

    torch's AveragedModel would wait for a GPU in every step, to learn how many steps it has averaged.
    """
    ours, theirs = (
        [tensor for tensor in chain(each.parameters(), each.buffers()) if tensor.is_floating_point()]
        for each in (average, model)
    )
    torch._foreach_lerp_(ours, theirs, 1 - decay)
