"""The one training loop: a recipe, a seed and a model in, a history out."""

import math
import time
from typing import NamedTuple

import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from src.images import augment, normalise, preparation, prepare

AUGMENTATION_OFFSET = 2**31  # from the seed of the order to that of the augmentation: more than there are seeds


class Score(NamedTuple):
    """Mean negative log likelihood and the count of images classified correctly."""

    loss: float
    correct: int
    total: int


def precision(device):
    """Return the number format for `device`: bfloat16 on an x86 processor that has it in hardware, else float32.

    A GPU's float32 is torch's default there, which lets convolutions round their inputs (TF32).
    """
    # Older versions of torch cannot say what the processor has; float32 is always right.
    can = getattr(torch.cpu, "get_capabilities", dict)() if torch.device(device).type == "cpu" else {}
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32


def autocast(device):
    """Compute the layers in the device's precision; weights and losses stay float32."""
    dtype = precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def predict(model, images, recipe, batch_size=1000):
    """Return the logits, float32, of uint8 images as the files have them: the recipe prepares them here.

    Leaves the model in evaluation mode.
    """
    return _logits(model, prepared(images, recipe), batch_size)


def prepared(images, recipe):
    """Do what the recipe does to every image, to train with, to score, to predict and to show."""
    return prepare(images, recipe.straighten, recipe.spread, (recipe.zoom_x, recipe.zoom_y))


@torch.no_grad()
def _logits(model, images, batch_size=1000):
    model.eval()
    with autocast(images.device):
        return torch.cat([model(normalise(batch)).float() for batch in images.split(batch_size)])


def _score(model, images, labels):
    """Score the model on every one of the prepared images. Leaves it in evaluation mode."""
    logits = _logits(model, images)
    loss = F.cross_entropy(logits.double(), labels).item()
    return Score(loss, (logits.argmax(1) == labels).sum().item(), len(labels))


def _retake_statistics(model, images):
    """Take BatchNorm's statistics anew from these prepared images."""
    with autocast(images.device):
        update_bn((normalise(batch) for batch in images.split(1000)), model)


def new_model(model_class, seed):
    """Make a model with the initial weights that belong to the seed."""
    torch.manual_seed(seed)
    return model_class()


def train(model, data, recipe, seed, progress=None):
    """Train `model` in place, whole, leave it in evaluation mode, and return its history: see `epochs`."""
    for state in epochs(model, data, recipe, seed, progress=progress):
        history = state["history"]
    return history


def epochs(model, data, recipe, seed, state=None, progress=None):
    """Train `model` in place and yield, after each epoch, the state to go on from.

    `state["history"]` has one record an epoch, scored on the whole evaluation split. `seed` decides the order of the
    images, the augmentation and dropout; for the initial weights see `new_model`. On a processor the same model, data,
    recipe, seed, versions and thread count give the same history to the last bit, but for the seconds, also when
    training goes on from an earlier call's `state`. The tensors of a state are the ones in use: save it before the next
    epoch begins. Once the iteration has ended the model is in evaluation mode and, with an EMA, holds the averaged
    weights.

    Training accuracy is that of the augmented images as they pass; `lr` is that of an epoch's last step.
    `progress(history, epoch, fraction)` is called after each step and once more after each epoch. Raises
    FloatingPointError when the loss is not finite.
    """
    device = data.train_images.device
    model.to(device, memory_format=torch.channels_last)  # the faster layout for convolutions
    torch.manual_seed(seed)
    # On the CPU, so that neither depends on the device; two, so that the order does not depend on the augmentation.
    shuffling = torch.Generator().manual_seed(seed)
    moving = torch.Generator().manual_seed(seed + AUGMENTATION_OFFSET)
    streams = (torch.default_generator, shuffling, moving)
    train_images, eval_images = prepared(data.train_images, recipe), prepared(data.eval_images, recipe)
    sources, maps = train_images, None
    if recipe.one_resampling:
        sources = data.train_images
        maps = preparation(sources, recipe.straighten, recipe.spread, (recipe.zoom_x, recipe.zoom_y))
    count = len(train_images)
    steps = math.ceil(count / recipe.batch_size)
    total = steps * recipe.epochs
    optimizer = make_optimizer(model, recipe)
    schedule = LambdaLR(optimizer, lr_factor(recipe, total))
    amounts_at = augmentation(recipe, total)
    averaged = None
    if recipe.ema:
        averaged = AveragedModel(model, multi_avg_fn=averaging(recipe), use_buffers=True)
    history = []
    stateful = [part for part in (model, optimizer, schedule, averaged) if part is not None]
    if state:
        history = state["history"]
        for part, saved in zip(stateful, state["parts"], strict=True):
            part.load_state_dict(saved)
        for stream, saved in zip(streams, state["streams"], strict=True):
            stream.set_state(saved)

    for epoch in range(len(history) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        model.train()
        train_loss, train_correct = 0.0, 0
        order = torch.randperm(count, generator=shuffling)
        for step, batch in enumerate(order.to(device).split(recipe.batch_size), 1):
            labels = data.train_labels[batch]
            moves = amounts_at(schedule.last_epoch)  # so many steps are behind us
            if any(moves.values()):
                images = augment(sources[batch], moving, **moves, after=maps and maps.of(batch))
            else:
                images = train_images[batch]
            with autocast(device):
                logits = model(normalise(images)).float()
            loss = F.cross_entropy(logits, labels)
            if not math.isfinite(loss.item()):
                raise FloatingPointError(
                    f"the loss is {loss.item()} in epoch {epoch}, step {step} of {steps}: lower lr ({recipe.lr})"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lr = optimizer.param_groups[0]["lr"]
            schedule.step()
            if averaged:
                averaged.update_parameters(model)
            train_loss += loss.item() * len(batch)
            train_correct += (logits.argmax(1) == labels).sum()
            if progress:
                progress(history, epoch, step / steps)
        tested = averaged.module if averaged else model
        if recipe.bn_images:
            _retake_statistics(tested, train_images[: recipe.bn_images])
        score = _score(tested, eval_images, data.eval_labels)
        if not math.isfinite(score.loss):  # the last step of an epoch can still break the weights
            raise FloatingPointError(
                f"the {data.split} loss is {score.loss} after epoch {epoch}: lower lr ({recipe.lr})"
            )
        history.append(
            {
                "epoch": epoch,
                "lr": lr,
                "train_loss": train_loss / count,
                "train_correct": int(train_correct),
                "train_total": count,
                "eval_loss": score.loss,
                "eval_correct": score.correct,
                "eval_total": score.total,
                "seconds": round(time.perf_counter() - started, 2),
            }
        )
        yield {
            "history": history,
            "parts": [part.state_dict() for part in stateful],
            "streams": [stream.get_state() for stream in streams],
        }
        if progress:
            progress(history, epoch, 1.0)

    if averaged:
        model.load_state_dict(averaged.module.state_dict())
    model.eval()


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
    """Return the function from step (0 to total) to the fraction of the recipe's learning rate."""
    warmup, fall = round(recipe.warmup * total), round(recipe.fall * total)

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        return min(1.0, (total - step) / fall) if fall else 1.0

    return factor


def amounts(recipe):
    """Return the amounts that `augment` takes, before they settle."""
    return {name: getattr(recipe, name) for name in ("rotation", "translation", "scale", "shear", "elastic")}


def augmentation(recipe, total):
    """Return the function from step (0 to total) to the amounts that `augment` takes."""
    whole = amounts(recipe)
    settled = {name: recipe.settle_to * amount for name, amount in whole.items()}
    settles = total - round(recipe.settle * total)
    return lambda step: whole if step < settles else settled


def averaging(recipe):
    """Return how AveragedModel takes one more step into the average. The first it copies, before this is asked."""

    def update(averaged, current, count):
        taken = int(count)
        decay = min(recipe.ema, (1 + taken) / (10 + taken)) if recipe.ema_warmup else recipe.ema
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    return update
