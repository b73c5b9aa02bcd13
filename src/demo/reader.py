"""The network in your hands: `load("Model_8").read("digit.png")`."""

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from src import model as models
from src import shown
from src.demo.picture import as_mnist
from src.evidence.storage import RESULTS, write
from src.learn.images import Statistics
from src.learn.recipe import Recipe
from src.learn.training import predict

UNLIKE = 0.01  # of the training images have a largest logit so low that it warns
AGAIN = "restore it, or run notebooks/Step3.ipynb"


class UnlikeMNIST(UserWarning):
    """What was read is unlike the digits that the network learnt from."""


@dataclass(frozen=True)
class Reader:
    """A trained network that reads pictures."""

    model: nn.Module
    recipe: Recipe
    statistics: Statistics
    least_logit: float

    def read(self, picture):
        """Return the probabilities of the digits 0 to 9 for a picture: a list of ten.

        `picture` is the path of an image file or a PIL image, of any size, with one digit, dark on light or light on
        dark. Warns of UnlikeMNIST. Raises PictureError for what cannot be read.
        """
        return self.probabilities(as_mnist(picture))

    def probabilities(self, image):
        """Return the ten probabilities for an image as MNIST's are: uint8 (1, 1, 28, 28), white on black.

        Warns of UnlikeMNIST where the largest logit is below `least_logit`: softmax alone is sure of scribbles, too.
        """
        image = image.to(next(self.model.parameters()).device)
        logits = predict(self.model, image, self.recipe, self.statistics)[0, :10]
        if logits.max() < self.least_logit:
            warnings.warn("this is unlike MNIST's digits: do not trust the answer", UnlikeMNIST, stacklevel=3)
        return torch.softmax(logits, dim=0).tolist()


def weights_path(name, folder=RESULTS):
    """Return where the weights of a model lie."""
    return Path(folder) / f"{name.lower()}.safetensors"


def models_with_weights(folder=RESULTS):
    """Name the models whose weights are in `folder`."""
    return [name for name in vars(models) if name.startswith("Model_") and weights_path(name, folder).exists()]


def reader_of(trained, images):
    """Return the Reader of a Trained network; the training images, uint8 (N, 1, 28, 28), say when it is to warn."""
    largest = trained.predict(images)[:, :10].amax(1).float().cpu()
    return Reader(trained.model, trained.recipe, trained.statistics, np.quantile(largest, UNLIKE).item())


def save_weights(trained, reader, folder):
    """Write the weights of a Trained network, what they are and reach, and its Reader's limit; return their path."""
    last = trained.run.history[-1]
    weights = {name: value.contiguous().cpu() for name, value in trained.model.state_dict().items()}
    facts = {
        "model": trained.network,
        "layers": str(trained.model),
        "recipe": json.dumps(trained.recipe.changed()),
        "statistics": json.dumps(asdict(trained.statistics)),
        "least_logit": str(reader.least_logit),
        "seed": str(trained.run.seed),
        "accuracy": f"{last.accuracy:.2f} % of {last.eval_total:,} images after epoch {last.epoch}",
        "sha256": _digest(weights),
    }
    path = weights_path(trained.network, folder)
    write(path, safetensors.torch.save(weights, facts))
    return path


def load(name, folder=RESULTS):
    """Return the Reader of a model, whose weights are in `folder`.

    Raises ValueError for weights that are missing, damaged or not the model's.
    """
    if not (name.startswith("Model_") and hasattr(models, name)):
        raise ValueError(f"{name} is no model of src/model.py: Model_8, say")
    path = weights_path(name, folder)
    if not path.exists():
        others = ", ".join(models_with_weights(folder)) or "none"
        raise ValueError(f"{shown(path)} is missing: {AGAIN} (there are weights of {others})")
    try:
        with safe_open(path, framework="pt") as content:
            facts = content.metadata() or {}
            weights = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        raise ValueError(f"{shown(path)} is damaged: {AGAIN}") from None
    model = getattr(models, name)()
    if facts.get("layers") != str(model):
        raise ValueError(f"{shown(path)} belongs to other layers than {name} has: {AGAIN}")
    if facts.get("sha256") != _digest(weights):
        raise ValueError(f"{shown(path)} is damaged, its checksum is wrong: {AGAIN}")
    try:
        recipe = Recipe(**json.loads(facts["recipe"]))
    except TypeError:
        raise ValueError(f"{shown(path)} has a recipe that today's code does not know: {AGAIN}") from None
    model.load_state_dict(weights)
    return Reader(
        model.eval(), recipe, Statistics(**json.loads(facts["statistics"])), float(facts.get("least_logit", "-inf"))
    )


def _digest(weights):
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
