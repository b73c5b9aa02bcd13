"""A recipe: every hyper-parameter of a run."""

import math
import textwrap
from dataclasses import dataclass, fields

STRENGTHS = ("rotation", "translation", "scale", "shear", "elastic")
LIMITS = {  # lowest and highest value of a field; an open end is None
    "epochs": (1, None), "batch_size": (1, None), "bn_images": (0, None),
    "momentum": (0, 0.9999), "beta2": (0, 0.99999), "ema": (0, 0.99999), "scale": (0, 0.9), "weight_decay": (0, None),
    "warmup": (0, 1), "lr_decay": (0, 1), "size_normalisation": (0, 1), "zoom_x": (0.5, 2), "zoom_y": (0.5, 2),
    "rotation": (0, None), "translation": (0, None), "shear": (0, None), "elastic": (0, None),
    "augmentation_decay": (0, 1), "augmentation_factor": (0, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Every hyper-parameter of a run. The defaults are the published recipe without augmentation; all else is off.

    Optimiser: `momentum` is SGD's, and AdamW's first beta; `beta2` its second. `weight_decay` acts on the weights of
    convolutions and linear layers. The learning rate warms up linearly to `lr` over the first `warmup` fraction of all
    steps, and decays linearly to zero over the last `lr_decay`.

    Preprocessing, of training and test images alike: `deslant`, `size_normalisation` (0 to 1), `zoom_x` and `zoom_y`,
    see `src.learn.images.preprocessing_maps`.

    Augmentation, of training images: the strengths `rotation` (degrees), `translation` (pixels), `scale`, `shear`
    (fractions) and `elastic` (pixels), see `src.learn.images.augment`. Over the last `augmentation_decay` fraction of
    all steps they are multiplied by `augmentation_factor`. With `one_resampling` preprocessing and augmentation are
    composed into one map, so that a training image is blurred no more than a test image.

    Evaluation: `ema` over zero is the decay per step of an exponential moving average of weights and BatchNorm
    statistics, which is evaluated in place of the model; with `ema_warmup` the decay of the k-th step is at most
    (1 + k) / (10 + k), so that the untrained beginning is soon forgotten. With `bn_images` over zero, BatchNorm's
    statistics are recomputed from so many preprocessed training images before each evaluation.

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
    lr_decay: float = 0.0
    deslant: bool = False
    size_normalisation: float = 0.0
    zoom_x: float = 1.0
    zoom_y: float = 1.0
    one_resampling: bool = False
    rotation: float = 0.0
    translation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    augmentation_decay: float = 0.0
    augmentation_factor: float = 0.0
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
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value < low or (high is not None and value > high):
                allowed = f"at least {low}" if high is None else f"from {low} to {high}"
                raise ValueError(f"{name} must be {allowed}, got {value}")
        if self.optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer must be one of sgd, adamw, got {self.optimizer!r}")
        if self.lr <= 0:
            raise ValueError(f"lr must be over 0, got {self.lr}")
        augmented = any(self.strengths.values())
        zoomed = (self.zoom_x, self.zoom_y) != (1, 1)
        for contradiction, says in (
            (self.warmup and not self.lr_decay, f"warmup is {self.warmup} without decay: set lr_decay, or no warmup"),
            (
                self.warmup + self.lr_decay > 1,
                f"warmup {self.warmup} and lr_decay {self.lr_decay} add up to over 1: lower one",
            ),
            (self.optimizer == "sgd" and self.beta2 != 0.99, f"beta2 is {self.beta2} and sgd has none: leave it out"),
            (zoomed and not self.preprocesses, "zoom without preprocessing: set size_normalisation, or no zoom"),
            (
                self.one_resampling and not (augmented and self.preprocesses),
                "one_resampling composes preprocessing and augmentation: set both, or leave it out",
            ),
            (
                self.augmentation_decay and not augmented,
                f"augmentation_decay is {self.augmentation_decay} without augmentation: set rotation, or no decay",
            ),
            (
                self.augmentation_factor and not self.augmentation_decay,
                f"augmentation_factor is {self.augmentation_factor} while augmentation_decay is 0: set both or none",
            ),
            (self.ema_warmup and not self.ema, "ema_warmup is True while ema is 0: set both or none"),
        ):
            if contradiction:
                raise ValueError(says)

    @property
    def strengths(self):
        """The strengths of augmentation as `augment` takes them, before they decay."""
        return {name: getattr(self, name) for name in STRENGTHS}

    @property
    def preprocesses(self):
        """Whether images are preprocessed."""
        return self.deslant or self.size_normalisation > 0

    def changed(self):
        """Return the fields that are not the default, as a dict."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __str__(self):
        always = {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": self.optimizer, "lr": self.lr}
        settings = (f"{name}\N{NO-BREAK SPACE}{value}" for name, value in (always | self.changed()).items())
        return textwrap.fill(", ".join(settings), 100).replace("\N{NO-BREAK SPACE}", " ")
