"""Data for the tests: a small synthetic MNIST written as IDX files, and the real one where it is at hand."""

import hashlib
import os
import shutil
import struct

import pytest
import torch

from src.data import ROOT, SHA256, load_mnist


def write_idx(path, array):
    header = struct.pack(">HBB", 0, 8, array.dim()) + struct.pack(f">{array.dim()}I", *array.shape)
    path.write_bytes(header + array.to(torch.uint8).contiguous().numpy().tobytes())


def write_synthetic_mnist(root, train=600, test=200):
    """Write `root`/MNIST/raw with digits that are bright squares, each at its own place, over faint noise."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", train), ("t10k", test)):
        labels = torch.arange(count) % 10
        images = torch.randint(0, 60, (count, 28, 28), generator=generator)
        for image, digit in zip(images, labels.tolist(), strict=True):
            row, column = 6 + 9 * (digit // 4), 3 + 6 * (digit % 4)
            image[row : row + 5, column : column + 4] = 255
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    sums = (f"{hashlib.sha256((raw / name).read_bytes()).hexdigest()}  {name}\n" for name in SHA256)
    (raw / "SHA256SUMS").write_text("".join(sums))
    return root


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    return write_synthetic_mnist(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="session")
def data(synthetic_root):
    return load_mnist(synthetic_root)


@pytest.fixture(scope="session")
def real_root():
    root = os.environ.get("MNIST_ROOT") or ROOT / "data"
    if not (ROOT / root / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip("the real MNIST is neither under MNIST_ROOT nor in data/")
    return root


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """Copy what a clone holds, so that notebooks which run leave the real checkout alone."""
    copy = tmp_path_factory.mktemp("clone") / "repository"
    copy.mkdir()
    for name in ("src", "notebooks", "results"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy
