"""MNIST, and data sets in its format, as checked tensors that stay on the device."""

import contextlib
import gzip
import hashlib
import io
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision

from src import ROOT, display_path
from src.learn.images import Statistics, measure_statistics

VALIDATION_IMAGES = 10_000
SPLITS = ("test", "validation")
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
OWN_SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class DataSetSpec:
    """All that is to be known of a data set in MNIST's format.

    `source` is torchvision's class for it, which names its folder; `sha256` are the checksums of FILES, in that order:
    torchvision verifies a file only while downloading it, so one that broke later has to be caught here.
    """

    source: type[torchvision.datasets.MNIST]
    sha256: tuple[str, ...]
    statistics: Statistics
    classes: tuple[str, ...] = tuple("0123456789")

    @property
    def checksums(self) -> dict[str, str]:
        """The checksum of each file, by name."""
        return dict(zip(FILES, self.sha256, strict=True))


MNIST = DataSetSpec(
    torchvision.datasets.MNIST,
    sha256=(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    statistics=Statistics(mean=0.1307, std=0.3081, ink_x=3.41, ink_y=5.47),
)
DATASETS = {"MNIST": MNIST}


class DataError(RuntimeError):
    """Say in one sentence what is wrong with the data and what to do."""


@dataclass(frozen=True)
class Data:
    """Hold images (N, 1, 28, 28) as uint8 and labels (N,) as int64, all on one device.

    The network learns from `train_*` and is scored on `eval_*`: the 10,000 test images, or where `split` says
    "validation" the last 10,000 of the training images. `statistics` are the data set's. `sha256` is that of all four
    tensors; `official` says that the files were the data set's own.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    eval_images: torch.Tensor
    eval_labels: torch.Tensor
    split: str
    statistics: Statistics
    classes: tuple[str, ...]
    sha256: str
    official: bool


def load_dataset(
    root: str | Path | None = None,
    dataset: DataSetSpec = MNIST,
    *,
    device: str | torch.device = "cpu",
    split: str = "test",
    train_limit: int | None = None,
) -> Data:
    """Load a data set whole onto `device`, downloading what is missing.

    For `root` see `raw_folder`. `split` names the images that a network is scored on; with "validation" the last
    10,000 training images are held out for that. `train_limit` keeps only the first so many training images. Raises
    DataError.

    The four files may be packed (.gz). A file SHA256SUMS beside them says that they are the user's own, in the same
    format: their statistics are measured.
    """
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    raw = raw_folder(root, dataset)
    sums = _expected_sums(raw, dataset.checksums)
    official = sums == dataset.checksums
    _download_missing(raw, sums, dataset)

    train_images, train_labels = _read(raw, "train", sums, official)
    eval_images, eval_labels = _read(raw, "t10k", sums, official)
    statistics = dataset.statistics if official else measure_statistics(train_images)
    if split == "validation":
        if len(train_images) <= VALIDATION_IMAGES:
            raise DataError(f"the validation split needs over {VALIDATION_IMAGES} images, got {len(train_images)}")
        eval_images, eval_labels = train_images[-VALIDATION_IMAGES:], train_labels[-VALIDATION_IMAGES:]
        train_images, train_labels = train_images[:-VALIDATION_IMAGES], train_labels[:-VALIDATION_IMAGES]
    if train_limit is not None:
        if not 1 <= train_limit <= len(train_images):
            raise DataError(f"train_limit must be from 1 to {len(train_images)}, got {train_limit}")
        train_images, train_labels = train_images[:train_limit], train_labels[:train_limit]

    tensors = (train_images, train_labels, eval_images, eval_labels)
    return Data(
        *(tensor.to(device) for tensor in tensors),
        split=split, statistics=statistics, classes=dataset.classes,
        sha256=_digest(tensors), official=official,
    )  # fmt: skip


def raw_folder(root: str | Path | None = None, dataset: DataSetSpec = MNIST) -> Path:
    """Return the folder of the four files: MNIST/raw in `root`, else in what MNIST_ROOT names, else in data/.

    A relative folder counts from the checkout, wherever the program was started. A root that is itself MNIST/ or
    MNIST/raw/ is understood. Raises DataError for one that does not exist: a mistyped name must not be filled.
    """
    named, by = root or os.environ.get("MNIST_ROOT"), "data_dir" if root else "MNIST_ROOT"
    title = dataset.source.__name__
    try:
        folder = ROOT / Path(named or "data").expanduser()
    except RuntimeError:  # ~somebody
        raise DataError(f"{named}, named by {by}, is in a home folder not known here: write the folder out") from None
    if named and not folder.is_dir():
        raise DataError(
            f"{folder}, named by {by}, is not a folder: correct the name, or create the folder and {title} is "
            "downloaded into it"
        )
    possible = [folder / title / "raw"]
    if dataset is MNIST:  # all data sets of this format name their files alike
        possible += [folder / "raw", folder]
    return next((raw for raw in possible if any(os.path.lexists(_find(raw, name)) for name in FILES)), possible[0])


@contextlib.contextmanager
def torchvision_root(dataset: DataSetSpec = MNIST) -> Iterator[str]:
    """Yield a root for torchvision, which wants MNIST/raw in it, wherever the files are and whatever their names."""
    raw = raw_folder(dataset=dataset)
    with tempfile.TemporaryDirectory() as root:
        copy = Path(root, dataset.source.__name__, "raw")
        copy.mkdir(parents=True)
        for name in FILES:
            (copy / name).write_bytes(_content(_find(raw, name)))
        yield root


def _find(raw, name):
    """Return where a file lies: under its name, with a dot as in some archives, or packed."""
    paths = (raw / name, raw / name.replace("-idx", ".idx"), raw / f"{name}.gz")
    # A file goes before a folder: some archives have folders that are named as the files ought to be.
    return max(paths, key=lambda path: (os.path.isfile(path), os.path.lexists(path)))


def _expected_sums(raw, official):
    own = raw / OWN_SUMS
    if not os.path.lexists(own):
        return official
    try:
        words = own.read_bytes().decode("utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise DataError(f"{own} cannot be read ({reason}): correct or delete it") from None
    sums = {name.removeprefix("*"): digest.lower() for digest, name in zip(words[::2], words[1::2], strict=False)}
    if sums.keys() != set(FILES):
        raise DataError(f"{own} must list the files {', '.join(FILES)}: correct or delete it")
    return sums


def _download_missing(raw, sums, dataset):
    """Bring only what is missing, and only beside files that are the data set's: a user's own must not be mixed."""
    missing = [name for name in FILES if not os.path.lexists(_find(raw, name))]
    if not missing:
        return
    if sums != dataset.checksums:
        raise DataError(
            f"{raw} lacks {', '.join(missing)}: its {OWN_SUMS} says that they are your own, so restore them"
        )
    for name in set(FILES) - set(missing):
        _verified(_find(raw, name), sums[name], official=True)
    title = dataset.source.__name__
    print(f"Downloading {title} to {display_path(raw)}")
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw, prefix="download-") as folder:
            with contextlib.redirect_stderr(io.StringIO()):  # torchvision draws its progress bar there
                dataset.source(folder, download=True)
            for name in missing:
                os.replace(Path(folder, title, "raw", name), raw / name)
    except (RuntimeError, URLError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0].rstrip(":")
        raise DataError(
            f"{raw} lacks {', '.join(missing)} and {title} could not be downloaded ({reason}): fix that and run "
            f"again, or set MNIST_ROOT (in a notebook: data_dir) to the folder that holds {title}/raw"
        ) from None


def _content(path):
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "not a whole gzip file"
        raise DataError(f"{path} cannot be read ({reason}): make it a readable file or delete it") from None


def _verified(path, expected, official):
    """Return the bytes of a file, unpacked, that have the expected checksum."""
    content = _content(path)
    if hashlib.sha256(content).hexdigest() != expected:
        remedy = (
            f"delete it and run again to download it, or, if it is your own, list it in a {OWN_SUMS} beside it"
            if official
            else f"restore the file, or correct {OWN_SUMS} beside it"
        )
        raise DataError(f"{path} is damaged or another file ({len(content)} bytes with the wrong SHA-256): {remedy}")
    return content


def _read(raw, part, sums, official):
    """Read the images, as (N, 1, 28, 28), and the labels of "train" or "t10k"."""
    names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    paths = [_find(raw, name) for name in names]
    images, labels = (
        _parse(path, _verified(path, sums[name], official), dimensions)
        for path, name, dimensions in zip(paths, names, (3, 1), strict=True)
    )
    if images.shape[1:] != (28, 28) or len(images) != len(labels):
        raise DataError(
            f"{raw}: the {part} files must hold as many labels as images of 28 x 28 pixels, got "
            f"{len(labels)} labels and images of shape {tuple(images.shape)}"
        )
    if labels.max() > 9:
        raise DataError(f"{paths[1]} holds the label {labels.max()}: labels must be 0 to 9, correct it")
    if images.min() == images.max():
        raise DataError(f"{paths[0]} holds blank images, every pixel is {images.max()}: put images with ink there")
    return images.unsqueeze(1), labels.long()


def _parse(path, content, dimensions):
    """Return the bytes that an IDX file holds behind its type, dimensions and sizes."""
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if content[:4] != bytes((0, 0, 8, dimensions)) or not 0 < math.prod(shape) == len(content) - start:
        raise DataError(f"{path} is not an IDX file of bytes: restore it")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).view(shape)


def _digest(tensors):
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()
