"""What a network answers, and how often it is right."""

from dataclasses import dataclass

import torch
from pydantic import model_validator
from torch import nn
from torch.nn import functional as F

from src.checked import Count, NotNegative, Positive, checked
from src.learn.images import BATCH, Preprocess, to_default_dtype
from src.learn.recipe import Recipe


@checked
class Score:
    """Mean cross-entropy, and how many of how many images are classified correctly."""

    loss: NotNegative
    correct: Count
    total: Positive

    @model_validator(mode="after")
    def _no_more_than_all(self):
        if self.correct > self.total:
            raise ValueError(f"correct is {self.correct} of a total of {self.total}: it is at most the total")
        return self

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.total


def fastest_precision(device: torch.device | str) -> torch.dtype:
    """Return the number format for `device`: bfloat16 on an x86 processor that has it in hardware, else float32.

    A GPU's float32 is torch's default there, which lets convolutions round their inputs (TF32).
    """
    # Older versions of torch cannot say what the processor has; float32 is always right.
    can = getattr(torch.cpu, "get_capabilities", dict)() if torch.device(device).type == "cpu" else {}
    return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32


def forward(
    model: nn.Module, images: torch.Tensor, preprocess: Preprocess, precision: torch.dtype | None = None
) -> torch.Tensor:
    """Return the logits (N, classes), float32, of preprocessed images (N, 1, 28, 28), to train with and to score.

    Layers compute in `precision`, by default the device's fastest; weights and losses keep torch's default.
    """
    dtype = precision or fastest_precision(images.device)
    with torch.autocast(images.device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
        return to_default_dtype(model(preprocess.normalise(images)))


@torch.no_grad()
def logits_of(
    model: nn.Module, images: torch.Tensor, preprocess: Preprocess, precision: torch.dtype | None = None
) -> torch.Tensor:
    """Return the logits (N, classes) of preprocessed images (N, 1, 28, 28), and leave the model in evaluation mode."""
    model.eval()
    return torch.cat([forward(model, batch, preprocess, precision) for batch in images.split(BATCH)])


def score(logits: torch.Tensor, labels: torch.Tensor) -> Score:
    """Return the Score of logits (N, classes) for labels (N,). Raises FloatingPointError for a NaN or infinite loss."""
    loss = F.cross_entropy(logits.double(), labels).item()
    try:
        return Score(loss, (logits.argmax(1) == labels).sum().item(), len(labels))
    except ValueError:
        raise FloatingPointError(f"the loss is {loss}") from None


@dataclass(frozen=True)
class Classifier:
    """A network, and what is done to images before it sees them."""

    model: nn.Module
    preprocess: Preprocess

    @property
    def recipe(self) -> Recipe:
        """The recipe that the network was trained by."""
        return self.preprocess.recipe

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, classes), float32, of uint8 images (N, 1, 28, 28) as they are in the files."""
        return logits_of(self.model, self.preprocess(images), self.preprocess)
