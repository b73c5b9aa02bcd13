"""The network in your hands: `load("Model_8").read("digit.png")`."""

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from src import model as models
from src import shown
from src.demo.familiarity import Familiarity, familiarity_of, logits_and_activity
from src.demo.picture import as_mnist
from src.evidence.storage import RESULTS, write
from src.learn.images import Statistics
from src.learn.recipe import Recipe

AGAIN = "restore it, or run notebooks/Step3.ipynb"
PARTS = "means", "whitening"  # of a Familiarity, which lie beside the weights


class UnlikeMNIST(UserWarning):
    """What was read is unlike the digits that the network learnt from."""


@dataclass(frozen=True)
class Reader:
    """A trained network that reads pictures."""

    model: nn.Module
    recipe: Recipe
    statistics: Statistics
    familiarity: Familiarity

    def read(self, picture):
        """Return the probabilities of the digits 0 to 9 for a picture: a list of ten.

        `picture` is the path of an image file or a PIL image, of any size, with one digit, dark on light or light on
        dark. Warns of UnlikeMNIST. Raises PictureError for what cannot be read.
        """
        return self.probabilities(as_mnist(picture))

    def probabilities(self, image):
        """Return the ten probabilities for an image as MNIST's are: uint8 (1, 1, 28, 28), white on black.

        Warns of UnlikeMNIST where the network responds as to hardly any training image.
        """
        logits, distance = self.logits_and_distance(image)
        if distance > self.familiarity.limit:
            warnings.warn("this is unlike MNIST's digits: do not trust the answer", UnlikeMNIST, stacklevel=3)
        return torch.softmax(logits[0], dim=0).tolist()

    def logits_and_distance(self, images):
        """Return the logits (N, 10) of uint8 images (N, 1, 28, 28), and the distance of each from training digits."""
        images = images.to(next(self.model.parameters()).device)
        logits, activity = logits_and_activity(self.model, images, self.recipe, self.statistics)
        return logits[:, :10], self.familiarity.distance(activity)


def weights_path(name, folder=RESULTS):
    """Return where the weights of a model lie."""
    return Path(folder) / f"{name.lower()}.safetensors"


def models_with_weights(folder=RESULTS):
    """Name the models whose weights are in `folder`."""
    return [name for name in vars(models) if name.startswith("Model_") and weights_path(name, folder).exists()]


def reader_of(trained, images, labels):
    """Return the Reader of a Trained network; it learns what training images (N, 1, 28, 28), uint8, are like."""
    _, activity = logits_and_activity(trained.model, images, trained.recipe, trained.statistics)
    return Reader(trained.model, trained.recipe, trained.statistics, familiarity_of(activity, labels))


def save_weights(trained, reader, folder):
    """Write the weights of a Trained network, what they reach, and its Reader's familiarity; return the path."""
    last = trained.run.history[-1]
    tensors = trained.model.state_dict() | {name: getattr(reader.familiarity, name) for name in PARTS}
    tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
    facts = {
        "model": trained.network,
        "layers": str(trained.model),
        "recipe": trained.recipe.changed(),
        "statistics": asdict(trained.statistics),
        "limit": reader.familiarity.limit,
        "seed": trained.run.seed,
        "accuracy": f"{last.accuracy:.2f} % of {last.eval_total:,} images after epoch {last.epoch}",
    }
    facts["sha256"] = _digest(tensors, facts)
    path = weights_path(trained.network, folder)
    write(path, safetensors.torch.save(tensors, {"facts": json.dumps(facts)}))  # several entries would lie in any order
    return path


def load(name, folder=RESULTS):
    """Return the Reader of a model, whose weights are in `folder`.

    Raises ValueError for weights that are missing, damaged or not the model's.
    """
    if not (name.startswith("Model_") and hasattr(models, name)):
        raise ValueError(f"{name} is not in src/model.py: try Model_8")
    path = weights_path(name, folder)
    if not path.exists():
        others = ", ".join(models_with_weights(folder)) or "none"
        raise ValueError(f"{shown(path)} is missing: {AGAIN} (there are weights of {others})")
    try:
        with safe_open(path, framework="pt") as content:
            facts = json.loads(content.metadata()["facts"])
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (not a dict)
    except (KeyError, OSError, SafetensorError, TypeError, ValueError):
        raise ValueError(f"{shown(path)} is damaged: {AGAIN}") from None
    if facts.pop("sha256", None) != _digest(tensors, facts):
        raise ValueError(f"{shown(path)} is damaged, its checksum is wrong: {AGAIN}")
    model = getattr(models, name)()
    if facts["layers"] != str(model):
        raise ValueError(f"{shown(path)} does not fit the layers of {name}: {AGAIN}")
    try:
        recipe = Recipe(**facts["recipe"])
    except TypeError:
        raise ValueError(f"{shown(path)} has a recipe that today's code does not know: {AGAIN}") from None
    familiarity = Familiarity(*(tensors.pop(part) for part in PARTS), facts["limit"])
    model.load_state_dict(tensors)
    return Reader(model.eval(), recipe, Statistics(**facts["statistics"]), familiarity)


def _digest(tensors, facts):
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
