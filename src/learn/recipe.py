"""A recipe: every hyper-parameter of a run."""

import textwrap
from dataclasses import fields
from typing import Annotated, Literal

from pydantic import Field, model_validator

from src.checked import Count, Fraction, NotNegative, Positive, checked

STRENGTHS = ("rotation", "translation", "scale", "shear", "elastic")


@checked
class Recipe:
    """Every hyper-parameter of a run. The defaults are the published recipe without augmentation; all else is off.

    Raises ValueError for a value that makes no sense, or for two that contradict each other.
    """

    epochs: Positive = 15
    batch_size: Positive = 128
    # Optimiser
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01  # the learning rate where it is highest
    momentum: Annotated[float, Field(ge=0, le=0.9999)] = 0.9  # SGD's, or AdamW's first beta
    beta2: Annotated[float, Field(ge=0, le=0.99999)] = 0.99  # AdamW's second beta
    weight_decay: NotNegative = 0.0  # on the weights of convolutions and linear layers
    warmup_fraction: Fraction = 0.0  # of all steps: the rate rises linearly from the start
    lr_decay_fraction: Fraction = 0.0  # of all steps: the rate falls linearly to zero at the end
    # Preprocessing, of training and test images alike: src.learn.images.preprocessing_maps
    deslant: bool = False
    size_normalisation: Fraction = 0.0
    # Augmentation, of training images: how far at most, see src.learn.images.augment
    rotation: NotNegative = 0.0  # degrees
    translation: NotNegative = 0.0  # pixels
    scale: Annotated[float, Field(ge=0, le=0.9)] = 0.0  # a fraction
    shear: NotNegative = 0.0  # a fraction
    elastic: NotNegative = 0.0  # pixels
    # Over this last fraction of all steps the strengths are multiplied by the factor, in one step down
    augmentation_decay_fraction: Fraction = 0.0
    augmentation_factor: Fraction = 0.0
    # Evaluation: an exponential moving average of weights and BatchNorm statistics in place of the last ones
    ema_decay: Annotated[float, Field(ge=0, le=0.99999)] = 0.0  # per step; 0 for no average
    ema_warmup: bool = False  # step k decays by (1 + k) / (10 + k) at most, so that the beginning is soon forgotten
    # So many images without augmentation give BatchNorm's statistics anew before each score; 0 for none
    bn_images: Count = 0

    @model_validator(mode="after")
    def _agrees_with_itself(self):
        augmented = any(self.strengths.values())
        for contradiction, says in (
            (
                self.warmup_fraction and not self.lr_decay_fraction,
                f"warmup_fraction is {self.warmup_fraction} without decay: set lr_decay_fraction, or no warm-up",
            ),
            (
                self.warmup_fraction + self.lr_decay_fraction > 1,
                f"warmup_fraction {self.warmup_fraction} and lr_decay_fraction {self.lr_decay_fraction} add up to "
                "over 1: lower one",
            ),
            (
                self.optimizer == "sgd" and self.beta2 != 0.99,
                f"beta2 is {self.beta2} and sgd has none: leave it out",
            ),
            (
                self.augmentation_decay_fraction and not augmented,
                f"augmentation_decay_fraction is {self.augmentation_decay_fraction} without augmentation: set "
                "rotation, or no decay",
            ),
            (
                self.augmentation_factor and not self.augmentation_decay_fraction,
                f"augmentation_factor is {self.augmentation_factor} while augmentation_decay_fraction is 0: set both "
                "or none",
            ),
            (self.ema_warmup and not self.ema_decay, "ema_warmup is True while ema_decay is 0: set both or none"),
        ):
            if contradiction:
                raise ValueError(says)
        return self

    @property
    def strengths(self) -> dict[str, float]:
        """The strengths of augmentation as `augment` takes them, before they decay."""
        return {name: getattr(self, name) for name in STRENGTHS}

    @property
    def preprocesses(self) -> bool:
        """Whether images are preprocessed."""
        return self.deslant or self.size_normalisation > 0

    def changed(self) -> dict[str, object]:
        """Return the fields that are not the default."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __str__(self):
        always = {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": self.optimizer, "lr": self.lr}
        settings = (f"{name}\N{NO-BREAK SPACE}{value}" for name, value in (always | self.changed()).items())
        return textwrap.fill(", ".join(settings), 100).replace("\N{NO-BREAK SPACE}", " ")
