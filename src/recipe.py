"""A recipe: every hyper-parameter of a run."""

import math
import textwrap
from dataclasses import asdict, dataclass, fields

FRACTIONS = ("momentum", "beta2", "scale", "ema")
PARTS = ("warmup", "fall", "settle", "settle_to", "spread")
AMOUNTS = ("weight_decay", "rotation", "translation", "shear", "elastic")


@dataclass(frozen=True)
class Recipe:
    """Every hyper-parameter of a run. The defaults are the published recipe without augmentation.

    `momentum` is SGD's, and AdamW's first beta; `beta2` its second. `weight_decay` acts on the weights of layers only.
    The learning rate is `lr`, but in the first part `warmup` of all steps, where it rises to that, and in the last part
    `fall`, where it falls linearly to zero.

    `straighten`, `spread`, `zoom_x` and `zoom_y` prepare every image, to train with and to score: see
    `src.images.prepare`. With `one_resampling` preparation and augmentation are composed into one map, so that a
    training image is resampled once, as a test image is, and blurred no more.
    `rotation` (degrees), `translation` (pixels), `scale`, `shear` (fractions) and `elastic` (pixels) are the largest
    amounts of augmentation: see `src.images.augment`. In the last part `settle` of all steps they are multiplied by
    `settle_to`.

    `ema` over zero is the decay per step of an exponential moving average of weights and BatchNorm statistics, which
    is then what gets evaluated. With `ema_warmup` the decay is at most (1 + k) / (10 + k) when k steps are in the
    average, so that the untrained beginning is soon forgotten.

    `bn_images` over zero: before each evaluation BatchNorm's statistics are taken anew from so many training images,
    prepared but not augmented.

    Raises ValueError or TypeError for a value that makes no sense, or for two that contradict each other.
    """

    epochs: int = 15
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    warmup: float = 0.0
    fall: float = 0.0
    straighten: bool = False
    spread: float = 0.0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    one_resampling: bool = False
    rotation: float = 0.0
    translation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    settle: float = 0.0
    settle_to: float = 0.0
    ema: float = 0.0
    ema_warmup: bool = False
    bn_images: int = 0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            allowed = (int, float) if field.type is float else field.type
            if isinstance(value, bool) != (field.type is bool) or not isinstance(value, allowed):
                raise TypeError(f"{field.name} must be of type {field.type.__name__}, got {value!r}")
            if field.type is float:
                if not math.isfinite(value):
                    raise ValueError(f"{field.name} must be finite, got {value}")
                object.__setattr__(self, field.name, float(value))  # 7 and 7.0 are one recipe
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.bn_images < 0:
            raise ValueError(f"bn_images must be at least 0, got {self.bn_images}")
        for name in ("zoom_x", "zoom_y"):
            if not 0.5 <= getattr(self, name) <= 2:
                raise ValueError(f"{name} must be from 0.5 to 2, got {getattr(self, name)}")
        if self.optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer must be one of sgd, adamw, got {self.optimizer!r}")
        if self.lr <= 0:
            raise ValueError(f"lr must be over 0, got {self.lr}")
        for name in FRACTIONS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        for name in PARTS:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a part of the whole, from 0 to 1, got {getattr(self, name)}")
        for name in AMOUNTS:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        moves = self.rotation or self.translation or self.scale or self.shear or self.elastic
        for contradicts, says in (
            (
                self.warmup and not self.fall,
                f"warmup is {self.warmup} under a constant rate: set fall, or no warmup",
            ),
            (self.warmup + self.fall > 1, f"warmup {self.warmup} and fall {self.fall} are over the whole: lower one"),
            (self.settle and not moves, f"settle is {self.settle} without augmentation: set rotation, or no settle"),
            (self.settle_to and not self.settle, f"settle_to is {self.settle_to} while settle is 0: set both or none"),
            (
                self.one_resampling and not (moves and (self.straighten or self.spread)),
                "one_resampling is True where there are not two to compose: set preparation and augmentation, or False",
            ),
            (
                (self.zoom_x, self.zoom_y) != (1, 1) and not (self.straighten or self.spread),
                f"zoom_x is {self.zoom_x} and zoom_y {self.zoom_y} without preparation: set spread, or no zoom",
            ),
            (self.ema_warmup and not self.ema, "ema_warmup is True while ema is 0: set both or none"),
        ):
            if contradicts:
                raise ValueError(says)

    def __str__(self):
        idle = "beta2" if self.optimizer == "sgd" else ""
        off = Recipe.__dataclass_fields__
        told = {
            name: value
            for name, value in asdict(self).items()
            if name != idle and (value != off[name].default or (value and not name.startswith("zoom")))
        }
        lines = textwrap.fill(", ".join(f"{name}\N{NO-BREAK SPACE}{value}" for name, value in told.items()), 100)
        return lines.replace("\N{NO-BREAK SPACE}", " ")
