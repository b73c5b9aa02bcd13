"""The one training loop: a recipe, a seed and a model in, a history out."""

import math
import time
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import torch
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from src.images import augment, normalise


@dataclass(frozen=True)
class Recipe:
    """Every hyper-parameter of a run. The defaults are the published recipe without augmentation.

    `momentum` is SGD's, and AdamW's first beta; `beta2` its second. `weight_decay` acts on convolution weights only.
    The "cosine" schedule rises linearly over the fraction `warmup` of all steps, then falls to zero. `rotation`
    (degrees), `translation` (pixels), `scale` and `shear` (fractions) are the largest amounts of augmentation. `ema`
    over zero is the decay per step of an exponential moving average of weights and BatchNorm statistics, which is
    then what gets evaluated. Raises ValueError or TypeError for a value that makes no sense.
    """

    epochs: int = 15
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    ema: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            allowed = (int, float) if field.type is float else field.type
            if isinstance(value, bool) or not isinstance(value, allowed):
                raise TypeError(f"{field.name} must be of type {field.type.__name__}, got {value!r}")
            if field.type is float:
                if not math.isfinite(value):
                    raise ValueError(f"{field.name} must be finite, got {value}")
                object.__setattr__(self, field.name, float(value))  # 7 and 7.0 are one recipe
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, allowed in (("optimizer", ("sgd", "adamw")), ("schedule", ("constant", "cosine"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.lr <= 0:
            raise ValueError(f"lr must be over 0, got {self.lr}")
        for name in ("momentum", "beta2", "warmup", "scale", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        for name in ("weight_decay", "rotation", "translation", "shear"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.warmup and self.schedule == "constant":
            raise ValueError(f"warmup must be 0 when the schedule is constant, got {self.warmup}")

    def __str__(self):
        idle = "beta2" if self.optimizer == "sgd" else ""
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value and name != idle)


class Score(NamedTuple):
    """Mean negative log likelihood and the count of images classified correctly."""

    loss: float
    correct: int
    total: int


def precision(device):
    """Return the number format for `device`: bfloat16 on a processor that computes it in hardware, else float32."""
    # Older versions of torch cannot say what the processor has; float32 is always right.
    can = getattr(torch.cpu, "get_capabilities", dict)() if torch.device(device).type == "cpu" else {}
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32


def autocast(device):
    """Compute convolutions in the device's precision; weights and losses stay float32."""
    dtype = precision(device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@torch.no_grad()
def predict(model, images, batch_size=1000):
    """Return the logits, float32, of uint8 images. Leaves the model in evaluation mode."""
    model.eval()
    with autocast(images.device):
        return torch.cat([model(normalise(batch)).float() for batch in images.split(batch_size)])


def evaluate(model, images, labels):
    """Score the model on every image, in the precision that it trains in. Leaves the model in evaluation mode."""
    logits = predict(model, images)
    loss = F.cross_entropy(logits.double(), labels).item()
    return Score(loss, (logits.argmax(1) == labels).sum().item(), len(labels))


def new_model(model_class, seed):
    """Make a model with the initial weights that belong to the seed."""
    torch.manual_seed(seed)
    return model_class()


def train(model, data, recipe, seed, progress=None):
    """Train `model` in place, whole, and return its history: see `epochs`."""
    for state in epochs(model, data, recipe, seed, progress=progress):
        history = state["history"]
    return history


def epochs(model, data, recipe, seed, state=None, progress=None):
    """Train `model` in place and yield, after each epoch, the state to go on from.

    `state["history"]` has one record an epoch, scored on the whole evaluation split. `seed` decides the order of the
    images, the augmentation and dropout; for the initial weights see `new_model`. On a processor the same model, data,
    recipe, seed, versions and thread count give the same history to the last bit, also when training goes on from an
    earlier call's `state`. The tensors of a state are the ones in use: save it before the next epoch begins. With an
    EMA the model holds the averaged weights once the iteration has ended.

    Training accuracy is that of the augmented images as they pass; `lr` is that of an epoch's last step.
    `progress(history, epoch, fraction)` is called after each step and once more after each epoch. Raises
    FloatingPointError when the loss is not finite.
    """
    device = data.train_images.device
    model.to(device, memory_format=memory_format(model))
    torch.manual_seed(seed)
    # On the CPU, so that order and augmentation do not depend on the device.
    generator = torch.Generator().manual_seed(seed)
    count = len(data.train_images)
    steps = math.ceil(count / recipe.batch_size)
    optimizer = make_optimizer(model, recipe)
    schedule = LambdaLR(optimizer, lr_factor(recipe, steps * recipe.epochs))
    averaged = None
    if recipe.ema:
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    history = []
    stateful = [part for part in (model, optimizer, schedule, averaged) if part is not None]
    if state:
        history = state["history"]
        for part, saved in zip(stateful, state["parts"], strict=True):
            part.load_state_dict(saved)
        torch.set_rng_state(state["rng"])
        generator.set_state(state["generator"])

    for epoch in range(len(history) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        model.train()
        train_loss, train_correct = 0.0, 0
        order = torch.randperm(count, generator=generator)
        for step, batch in enumerate(order.to(device).split(recipe.batch_size), 1):
            images, labels = data.train_images[batch], data.train_labels[batch]
            if recipe.rotation or recipe.translation or recipe.scale or recipe.shear:
                images = augment(images, generator, recipe.rotation, recipe.translation, recipe.scale, recipe.shear)
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
        score = evaluate(averaged.module if averaged else model, data.eval_images, data.eval_labels)
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
            "rng": torch.get_rng_state(),
            "generator": generator.get_state(),
        }
        if progress:
            progress(history, epoch, 1.0)

    if averaged:
        model.load_state_dict(averaged.module.state_dict())


def memory_format(model):
    """Choose channels-last, the faster layout, but where narrow layers meet several threads.

    There the threads get in each other's way in BatchNorm's backward, which costs more than the convolutions gain.
    """
    widest = max(weight.shape[0] for weight in model.parameters() if weight.dim() == 4)
    faster = widest >= 64 or torch.get_num_threads() == 1
    return torch.channels_last if faster else torch.contiguous_format


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
    warm = round(recipe.warmup * total)

    def cosine(step):
        if step < warm:
            return (step + 1) / warm
        return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, total - warm))

    return cosine if recipe.schedule == "cosine" else lambda step: 1.0
