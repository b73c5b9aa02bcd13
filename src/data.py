"""MNIST as checked tensors that stay on the device, and random affine augmentation of a whole batch."""

import contextlib
import hashlib
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch.nn.functional import affine_grid, grid_sample
from torchvision.datasets import MNIST

ROOT = Path(__file__).resolve().parents[1]
VALIDATION_IMAGES = 10_000
MEAN, STD = 0.1307, 0.3081  # of the 60,000 training images, pixels from 0 to 1

# torchvision verifies MNIST only while downloading it, so a file that broke later has to be caught here.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class DataError(RuntimeError):
    """Say in one sentence what is wrong with the data and what to do."""


@dataclass(frozen=True)
class Data:
    """Hold images (N, 1, 28, 28) as uint8 and labels (N,) as int64, all on one device.

    `split` names what the test tensors are: "test" (the 10,000 test images) or "validation" (the last 10,000 of the
    training images). `sha256` identifies the four files; `official` says that they are MNIST's own.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    split: str
    sha256: str
    official: bool


def load_mnist(root=None, device="cpu", validation=False, train_limit=None):
    """Load MNIST whole onto `device`, downloading it where it is missing.

    For `root` see `data_root`. With `validation` the last 10,000 training images are held out and take the test set's
    place. `train_limit` keeps only the first so many training images. Raises DataError.

    A file SHA256SUMS beside the four raw files replaces MNIST's checksums: for other data in the same format.
    """
    root = data_root(root)
    raw = root / "MNIST" / "raw"
    _download_missing(root, raw)
    sums = _expected_sums(raw)
    for name, expected in sums.items():
        _check_file(raw / name, expected)

    train, test = MNIST(root, train=True), MNIST(root, train=False)
    split = "test"
    train_images, train_labels = train.data, train.targets
    test_images, test_labels = test.data, test.targets
    if validation:
        if len(train_images) <= VALIDATION_IMAGES:
            raise DataError(f"the validation split needs over {VALIDATION_IMAGES} images, got {len(train_images)}")
        split = "validation"
        test_images, test_labels = train_images[-VALIDATION_IMAGES:], train_labels[-VALIDATION_IMAGES:]
        train_images, train_labels = train_images[:-VALIDATION_IMAGES], train_labels[:-VALIDATION_IMAGES]
    if train_limit is not None:
        if not 1 <= train_limit <= len(train_images):
            raise DataError(f"train_limit must be from 1 to {len(train_images)}, got {train_limit}")
        train_images, train_labels = train_images[:train_limit], train_labels[:train_limit]

    return Data(
        train_images.unsqueeze(1).to(device),
        train_labels.to(device),
        test_images.unsqueeze(1).to(device),
        test_labels.to(device),
        split=split,
        sha256=hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in SHA256).encode()).hexdigest(),
        official=sums == SHA256,
    )


def data_root(root=None):
    """Return the folder that holds MNIST/raw: `root`, else the variable MNIST_ROOT, else data/.

    A relative folder counts from the checkout, wherever the program was started.
    """
    return ROOT / Path(root or os.environ.get("MNIST_ROOT") or "data").expanduser()


def _download_missing(root, raw):
    old = root / "MNIST" / "processed"
    if old.exists():  # torchvision would prefer it to the files that are checked
        raise DataError(f"{old} was left by an old torchvision: delete it and run again")
    missing = [name for name in SHA256 if not (raw / name).is_file()]
    if not missing:
        return
    print(f"Downloading MNIST, 11 MB, to {os.path.relpath(root, ROOT)}")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # torchvision draws its progress bar there
            MNIST(root, download=True)
    except (RuntimeError, URLError, OSError) as error:
        raise DataError(
            f"{raw} lacks {', '.join(missing)} and MNIST could not be downloaded: connect to the network and run "
            "again, or set MNIST_ROOT (in a notebook: data_dir) to the folder that holds MNIST/raw"
        ) from error


def _expected_sums(raw):
    own = raw / "SHA256SUMS"
    if not own.is_file():
        return SHA256
    words = own.read_text().split()
    sums = dict(zip(words[1::2], words[::2], strict=False))
    if sums.keys() != SHA256.keys():
        raise DataError(f"{own} must list the files {', '.join(SHA256)}: correct or delete it")
    return sums


def _check_file(path, expected):
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(
            f"{path} is damaged ({len(content)} bytes with the wrong SHA-256): delete it and run again to download it"
        )


def normalise(images):
    """Scale images with values from 0 to 255 to float32 so that the training set has mean 0, standard deviation 1."""
    return (images.float() - 255 * MEAN) / (255 * STD)


def augment(images, generator, rotation=0.0, translation=0.0, scale=0.0, shear=0.0):
    """Move each uint8 image of a batch by its own random affine map; what comes in from outside is black.

    Each amount is the largest one, drawn uniformly in both directions: `rotation` in degrees, `translation` in pixels
    along each axis, `scale` and `shear` as fractions (0.1: from 90 % to 110 %). `generator` is one on the CPU, so
    that every device sees the same draws. Returns float32 from 0 to 255.
    """
    draw = 2 * torch.rand(5, len(images), generator=generator) - 1
    return affine(
        images,
        angle=draw[0] * rotation,
        right=draw[1] * translation,
        down=draw[2] * translation,
        scale=1 + draw[3] * scale,
        shear=draw[4] * shear,
    )


def affine(images, angle, right, down, scale, shear):
    """Shear, then rotate, enlarge and shift each image by its own amounts, all tensors of shape (N,).

    `angle` is in degrees, counterclockwise; `right` and `down` in pixels; `scale` over 1 enlarges; `shear` moves a row
    sideways by that fraction of its distance from the centre. Bilinear; returns float32 of the images' shape.
    """
    angle = angle * (math.pi / 180)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # grid_sample asks where an output pixel comes from, so this is the inverse of the map that the caller describes.
    inverse = torch.stack([cos - shear * sin, -sin - shear * cos, sin, cos], dim=1).view(-1, 2, 2) / scale.view(
        -1, 1, 1
    )
    height, width = images.shape[-2:]
    shift = torch.stack([2 * right / width, 2 * down / height], dim=1).unsqueeze(2)  # the image spans -1 to 1
    theta = torch.cat([inverse, -inverse @ shift], dim=2).to(images.device)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
