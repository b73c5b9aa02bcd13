"""The training loop: a model, data, a recipe and a seed in, one record an epoch out."""

import copy
import math
import time
from itertools import chain
from typing import NamedTuple

import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import update_bn

from src.learn.images import as_float, augment, normalise, preprocessing_maps, resample

AUGMENTATION_SEED = 2**31  # added to the seed for the augmentation's generator: more than there are seeds
BATCH = 1000  # images at a time, where nothing is trained


class Score(NamedTuple):
    """Mean cross-entropy, and how many of how many images are classified correctly."""

    loss: float
    correct: int
    total: int

    @property
    def accuracy(self):
        """In percent."""
        return 100 * self.correct / self.total


class Epoch(NamedTuple):
    """What one epoch of training gave.

    `lr` is that of its last step. `train_*` is counted on the augmented images as they pass, while the weights move
    and dropout is on; `eval_*` afterwards, in evaluation mode, on all evaluation images.
    """

    epoch: int
    lr: float
    train_loss: float
    train_correct: int
    train_total: int
    eval_loss: float
    eval_correct: int
    eval_total: int
    seconds: float

    @property
    def accuracy(self):
        """On the evaluation images, in percent."""
        return 100 * self.eval_correct / self.eval_total

    @property
    def train_accuracy(self):
        """On the training images as they passed, in percent."""
        return 100 * self.train_correct / self.train_total


# ---------------------------------------------------------------- evaluation


def fastest_precision(device):
    """Return the number format for `device`: bfloat16 on an x86 processor that has it in hardware, else float32.

    A GPU's float32 is torch's default there, which lets convolutions round their inputs (TF32).
    """
    # Older versions of torch cannot say what the processor has; float32 is always right.
    can = getattr(torch.cpu, "get_capabilities", dict)() if torch.device(device).type == "cpu" else {}
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32


def autocast(device, precision=None):
    """Compute layers in `precision`, by default the device's fastest; weights and losses keep torch's default."""
    dtype = precision or fastest_precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16)


def preprocess(images, recipe, statistics):
    """Do what the recipe does to every image, to train with, to score, to predict and to show.

    Takes images (N, 1, 28, 28) of values from 0 to 255 and returns float32, or the images themselves where there is
    nothing to do.
    """
    if not recipe.preprocesses:
        return images
    return torch.cat([resample(batch, _maps(batch, recipe, statistics)) for batch in images.split(BATCH)])


def _maps(images, recipe, statistics):
    return preprocessing_maps(
        images, statistics, recipe.deslant, recipe.size_normalisation, recipe.zoom_x, recipe.zoom_y
    )


def predict(model, images, recipe, statistics, precision=None):
    """Return the logits (N, classes), float32, of uint8 images (N, 1, 28, 28) as they are in the files.

    Leaves the model in evaluation mode.
    """
    return _logits(model, preprocess(images, recipe, statistics), statistics, precision)


def evaluate(model, images, labels, recipe, statistics, precision=None):
    """Return the Score of the model on uint8 images (N, 1, 28, 28) and labels (N,), in evaluation mode."""
    return _score(model, preprocess(images, recipe, statistics), labels, statistics, precision)


@torch.no_grad()
def _logits(model, images, statistics, precision):
    model.eval()
    with autocast(images.device, precision):
        return torch.cat([as_float(model(normalise(batch, statistics))) for batch in images.split(BATCH)])


def _score(model, images, labels, statistics, precision):
    logits = _logits(model, images, statistics, precision)
    return Score(
        F.cross_entropy(logits.double(), labels).item(), (logits.argmax(1) == labels).sum().item(), len(labels)
    )


# ---------------------------------------------------------------- training


def new_model(network, seed):
    """Return `network()`, a model class's or function's, with the initial weights that belong to the seed."""
    torch.manual_seed(seed)
    return network()


def train(model, data, recipe, seed, *, progress=None, precision=None):
    """Train `model` in place from beginning to end and return its history, a tuple of Epochs. See `epochs`."""
    *_, last = epochs(model, data, recipe, seed, progress=progress, precision=precision)
    return tuple(last.history)


def epochs(model, data, recipe, seed, *, state=None, progress=None, precision=None):
    """Train `model` in place and yield its Training after each epoch.

    `seed` decides the order of the images, the augmentation and dropout; for the initial weights see `new_model`. On a
    processor the same model, data, recipe, seed, versions and thread count give the same history to the last bit, but
    for the seconds, also when training goes on from the `state` that `Training.state_dict` returned earlier. In the end
    the model is in evaluation mode and, with an EMA, holds the averaged weights.

    `progress(history, epoch, fraction)` is called after each step and once more after each epoch. Raises
    FloatingPointError, after the epoch, where a loss was not finite.
    """
    device, statistics = data.train_images.device, data.statistics
    model.to(device, memory_format=torch.channels_last)  # the faster layout for convolutions
    images = TrainingImages(data.train_images, recipe, statistics)
    eval_images = preprocess(data.eval_images, recipe, statistics)
    count = len(data.train_labels)
    steps = math.ceil(count / recipe.batch_size)
    training = Training(model, recipe, steps, seed)
    if state:
        training.load_state_dict(state)

    for epoch in range(len(training.history) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        model.train()
        losses, correct = [], torch.zeros((), dtype=torch.int64, device=device)
        batches = torch.randperm(count, generator=training.order).to(device).split(recipe.batch_size)
        for step, batch in enumerate(batches, 1):
            labels = data.train_labels[batch]
            inputs = images.augmented(batch, training.strengths(), training.augmentation)
            with autocast(device, precision):
                logits = as_float(model(normalise(inputs, statistics)))
            loss = F.cross_entropy(logits, labels)
            training.step(loss)
            losses.append(loss.detach())  # stays on the device: nothing waits for it
            correct += (logits.argmax(1) == labels).sum()
            if progress:
                progress(training.history, epoch, step / steps)

        train_loss = _mean_loss(torch.stack(losses).tolist(), [len(batch) for batch in batches], epoch, recipe)
        evaluated = training.evaluated_model()
        if recipe.bn_images:
            _recompute_batchnorm(evaluated, images.preprocessed[: recipe.bn_images], statistics, precision)
        score = _score(evaluated, eval_images, data.eval_labels, statistics, precision)
        if not math.isfinite(score.loss):  # the last step of an epoch can still break the weights
            raise FloatingPointError(
                f"the {data.split} loss is {score.loss} after epoch {epoch}: lower lr ({recipe.lr})"
            )
        seconds = round(time.perf_counter() - started, 2)
        training.history.append(Epoch(epoch, training.lr, train_loss, int(correct), count, *score, seconds))
        yield training
        if progress:
            progress(training.history, epoch, 1.0)

    if training.average is not None:
        model.load_state_dict(training.average.state_dict())
    model.eval()


class Training:
    """All that changes while a model is trained: weights, optimiser, schedule, average, random streams, history."""

    def __init__(self, model, recipe, steps, seed):
        """Begin: `steps` is the number of steps in an epoch."""
        total = steps * recipe.epochs
        self.model, self.history, self.lr = model, [], recipe.lr
        self.optimizer = make_optimizer(model, recipe)
        self.schedule = LambdaLR(self.optimizer, lr_factor(recipe, total))
        self.average = copy.deepcopy(model) if recipe.ema else None
        self._decay = ema_decay(recipe)
        self._strengths = augmentation_schedule(recipe, total)
        torch.manual_seed(seed)  # dropout
        # On the CPU, so that neither depends on the device; two, so that the order does not depend on augmentation.
        self.order = torch.Generator().manual_seed(seed)
        self.augmentation = torch.Generator().manual_seed(seed + AUGMENTATION_SEED)

    def step(self, loss):
        """Make one step of the optimiser, the schedule and the average."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.lr = self.optimizer.param_groups[0]["lr"]
        if self.average is not None:
            update_average(self.average, self.model, self._decay(self.schedule.last_epoch))
        self.schedule.step()

    def strengths(self):
        """Return the strengths of augmentation for the next step."""
        return self._strengths(self.schedule.last_epoch)  # so many steps have been made

    def evaluated_model(self):
        """Return the averaged model, or where the recipe has none the model itself."""
        return self.model if self.average is None else self.average

    def state_dict(self):
        """Return what `load_state_dict` needs. The tensors are the ones in use: write them before the next step."""
        return {
            "history": [epoch._asdict() for epoch in self.history],
            "parts": [part.state_dict() for part in self._parts()],
            "streams": [stream.get_state() for stream in self._streams()],
        }

    def load_state_dict(self, state):
        """Go on from what `state_dict` returned."""
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        for part, saved in zip(self._parts(), state["parts"], strict=True):
            part.load_state_dict(saved)
        for stream, saved in zip(self._streams(), state["streams"], strict=True):
            stream.set_state(saved)

    def _parts(self):
        return [part for part in (self.model, self.optimizer, self.schedule, self.average) if part is not None]

    def _streams(self):
        return torch.default_generator, self.order, self.augmentation


class TrainingImages:
    """The training images as a recipe shows them: preprocessed once, augmented anew for each batch."""

    def __init__(self, images, recipe, statistics):
        self.preprocessed = preprocess(images, recipe, statistics)
        self._sources, self._maps = self.preprocessed, None
        if recipe.one_resampling:
            self._sources, self._maps = images, _maps(images, recipe, statistics)

    def augmented(self, batch, strengths, generator):
        """Return the images that `batch` (B,) picks, augmented with these strengths: (B, 1, 28, 28)."""
        if not any(strengths.values()):
            return self.preprocessed[batch]
        maps = self._maps and self._maps.of(batch)
        return augment(self._sources[batch], generator, maps=maps, **strengths)


def _mean_loss(losses, sizes, epoch, recipe):
    """Return the mean over images of the losses of an epoch's steps."""
    total = 0.0
    for step, (loss, size) in enumerate(zip(losses, sizes, strict=True), 1):
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {epoch}, step {step} of {len(losses)}: lower lr ({recipe.lr})"
            )
        total += loss * size
    return total / sum(sizes)


def _recompute_batchnorm(model, images, statistics, precision):
    """Replace BatchNorm's statistics by those of these preprocessed images."""
    with autocast(images.device, precision):
        update_bn((normalise(batch, statistics) for batch in images.split(BATCH)), model)


def make_optimizer(model, recipe):
    """Build the recipe's optimiser, with weight decay on the weights of convolutions and linear layers only."""
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=True)


def lr_factor(recipe, total):
    """Return the function from steps made (0 to `total`) to the fraction of the recipe's learning rate."""
    warmup, decay = round(recipe.warmup * total), round(recipe.lr_decay * total)

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        return min(1.0, (total - step) / decay) if decay else 1.0

    return factor


def augmentation_schedule(recipe, total):
    """Return the function from steps made (0 to `total`) to the strengths of augmentation."""
    full = recipe.strengths
    decayed = {name: recipe.augmentation_factor * strength for name, strength in full.items()}
    begin = total - round(recipe.augmentation_decay * total)
    return lambda step: full if step < begin else decayed


def ema_decay(recipe):
    """Return the function from steps averaged so far to the next decay: zero at first, so the model is copied."""

    def decay(step):
        warming = (1 + step) / (10 + step) if recipe.ema_warmup else 1.0
        return min(recipe.ema, warming) if step else 0.0

    return decay


@torch.no_grad()
def update_average(average, model, decay):
    """Make the weights and BatchNorm statistics of `average` decay * its own + (1 - decay) * the model's.

    torch's AveragedModel would wait for a GPU in every step, to learn how many steps it has averaged.
    """
    ours, theirs = (
        [tensor for tensor in chain(each.parameters(), each.buffers()) if tensor.is_floating_point()]
        for each in (average, model)
    )
    torch._foreach_lerp_(ours, theirs, 1 - decay)
