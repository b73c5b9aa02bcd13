"""The network in your hands: `load("Model_8").read("digit.png")`."""

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
from PIL import Image
from pydantic import Field
from safetensors import SafetensorError, safe_open

from src import display_path
from src import model as models
from src.checked import Seed, checked, parsed
from src.demo.mahalanobis import MahalanobisDetector, fitted_detector, logits_and_activity
from src.demo.picture import as_mnist
from src.evidence.git import remedy
from src.evidence.runs import Trained
from src.evidence.storage import RESULTS, write
from src.learn.evaluation import Classifier
from src.learn.images import Preprocess, Statistics
from src.learn.recipe import Recipe

DETECTOR_TENSORS = "means", "whitening"  # of a MahalanobisDetector, which lie beside the weights


class UnlikeMNIST(UserWarning):
    """What was read is unlike the digits that the network learnt from."""


@checked
class WeightFacts:
    """What stands beside weights: whose they are and what they reach; `layers` is the model as torch prints it.

    `limit` is the detector's. `sha256` is of the tensors and of all other facts.
    """

    model: str
    layers: str
    recipe: Recipe
    statistics: Statistics
    limit: Annotated[float, Field(gt=0)]
    seed: Seed
    accuracy: str
    sha256: str = ""


@dataclass(frozen=True)
class Reader(Classifier):
    """A trained network that reads pictures."""

    detector: MahalanobisDetector

    def read(self, picture: str | Path | Image.Image) -> list[float]:
        """Return the probabilities of the digits 0 to 9 for a picture: a list of ten.

        `picture` is the path of an image file or a PIL image, of any size, with one digit, dark on light or light on
        dark. Warns of UnlikeMNIST. Raises PictureError for what cannot be read.
        """
        return self.probabilities(as_mnist(picture))

    def probabilities(self, image: torch.Tensor) -> list[float]:
        """Return the ten probabilities for an image as MNIST's are: uint8 (1, 1, 28, 28), white on black.

        Warns of UnlikeMNIST where the network responds as to hardly any training image.
        """
        logits, distance = self.logits_and_distance(image)
        if distance > self.detector.limit:
            warnings.warn("this is unlike MNIST's digits: do not trust the answer", UnlikeMNIST, stacklevel=3)
        return torch.softmax(logits[0], dim=0).tolist()

    def logits_and_distance(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (N, 10) of uint8 images (N, 1, 28, 28), and the distance of each from training digits."""
        images = images.to(next(self.model.parameters()).device)
        logits, activity = logits_and_activity(self, images)
        return logits[:, :10], self.detector.distance(activity)


def weights_path(name: str, folder: str | Path = RESULTS) -> Path:
    """Return where the weights of a model lie."""
    return Path(folder) / f"{name.lower()}.safetensors"


def models_with_weights(folder: str | Path = RESULTS) -> list[str]:
    """Name the models whose weights are in `folder`."""
    return [name for name in vars(models) if name.startswith("Model_") and weights_path(name, folder).exists()]


def reader_of(trained: Trained, images: torch.Tensor, labels: torch.Tensor) -> Reader:
    """Return the Reader of a Trained network; it learns what training images (N, 1, 28, 28), uint8, are like."""
    _, activity = logits_and_activity(trained, images)
    return Reader(trained.model, trained.preprocess, fitted_detector(activity, labels))


def save_weights(trained: Trained, reader: Reader, folder: str | Path) -> Path:
    """Write the weights of a Trained network, what they reach, and its Reader's detector; return the path."""
    last = trained.run.history[-1]
    tensors = trained.model.state_dict() | {name: getattr(reader.detector, name) for name in DETECTOR_TENSORS}
    facts = WeightFacts(
        model=trained.network,
        layers=str(trained.model),
        recipe=trained.recipe,
        statistics=trained.preprocess.statistics,
        limit=reader.detector.limit,
        seed=trained.run.seed,
        accuracy=f"{last.accuracy:.2f} % of {last.eval_total:,} images after epoch {last.epoch}",
    )
    path = weights_path(trained.network, folder)
    write(path, packed_weights(tensors, facts))
    return path


def packed_weights(tensors: dict[str, torch.Tensor], facts: WeightFacts) -> bytes:
    """Return tensors and facts as the bytes of a safetensors file, with a checksum over both."""
    tensors = {name: value.contiguous().cpu() for name, value in tensors.items()}
    content = asdict(facts) | {"recipe": facts.recipe.changed()}
    content.pop("sha256")
    content["sha256"] = _digest(tensors, content)
    return safetensors.torch.save(tensors, {"facts": json.dumps(content)})  # several entries would lie in any order


def weights_are_ours(path: Path) -> bool:
    """Say whether a safetensors file was written by `save_weights`."""
    try:
        with safe_open(path, framework="pt") as content:
            return "facts" in (content.metadata() or {})
    except (OSError, SafetensorError):
        return False


def load(name: str, folder: str | Path = RESULTS) -> Reader:
    """Return the Reader of a model, whose weights are in `folder`.

    Raises ValueError for weights that are missing, damaged or not the model's.
    """
    if not (isinstance(name, str) and name.startswith("Model_") and hasattr(models, name)):
        raise ValueError(f"{name!r} is not in src/model.py: try 'Model_8'")
    path = weights_path(name, folder)
    if not path.exists():
        others = ", ".join(models_with_weights(folder)) or "none"
        raise ValueError(f"{display_path(path)} is missing: run notebooks/Step3.ipynb (there are weights of {others})")
    try:
        return _reader(getattr(models, name)(), *_unpacked(path))
    except ValueError as error:
        raise ValueError(f"{display_path(path)}: {error}; {remedy(path)}, or run notebooks/Step3.ipynb") from None


def _unpacked(path):
    """Return the tensors and the facts of a file, whose checksum is right."""
    try:
        with safe_open(path, framework="pt") as content:
            facts = json.loads(content.metadata()["facts"])
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (not a dict)
            stated = facts["sha256"]
        rest: dict[str, Any] = {key: value for key, value in facts.items() if key != "sha256"}
        found = _digest(tensors, rest)
    except (KeyError, OSError, RecursionError, SafetensorError, TypeError, ValueError):
        raise ValueError("it is damaged") from None
    if stated != found:
        raise ValueError("it is damaged, its checksum is wrong")
    return tensors, facts


def _reader(model, tensors, content):
    """Return the Reader of a model that gets these weights."""
    facts = parsed(WeightFacts, content)
    if facts.layers != str(model):
        raise ValueError(f"it does not fit the layers of {type(model).__name__}")
    classifier = Classifier(model.eval(), Preprocess(facts.recipe, facts.statistics))
    if misfits := _misfits(tensors, classifier):
        raise ValueError(f"it lacks, or has too much or in another form: {misfits[0]}")
    detector = MahalanobisDetector(*(tensors.pop(part) for part in DETECTOR_TENSORS), facts.limit)
    model.load_state_dict(tensors)
    return Reader(model, classifier.preprocess, detector)


def _misfits(tensors, classifier):
    """Name the tensors that are missing, are too many, have another shape or type, or hold what is no number."""
    _, activity = logits_and_activity(classifier, torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
    maps = activity.shape[1]
    classes = max((1, *tensors["means"].shape[:1])) if "means" in tensors else 1
    expected = {key: (value.shape, value.dtype) for key, value in classifier.model.state_dict().items()}
    expected |= {"means": ((classes, maps), torch.float32), "whitening": ((maps, maps), torch.float32)}
    found = {key: (value.shape, value.dtype) for key, value in tensors.items()}
    keys = sorted(expected.keys() | found.keys())
    return [key for key in keys if found.get(key) != expected.get(key) or not tensors[key].isfinite().all()]


def _digest(tensors, facts):
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
