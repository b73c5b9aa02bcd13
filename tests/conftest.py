"""Data for the tests: a small synthetic MNIST written as IDX files, and the real one where it is at hand."""

import os
import shutil
import signal
import subprocess
import sys

# Tests run side by side, and two threads in a process crawl as soon as another one runs.
os.environ["OMP_NUM_THREADS"] = "1"
# A job in a script's background ignores Ctrl-C, and so would the programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from src import ROOT
from src.learn.data import load_dataset, raw_folder
from tests.helpers import copy_source, write_synthetic_mnist


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    return write_synthetic_mnist(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture(scope="session")
def data(synthetic_root):
    return load_dataset(synthetic_root)


@pytest.fixture(scope="session")
def real_root():
    raw = raw_folder()
    if not (raw / "train-images-idx3-ubyte").exists():
        pytest.skip("the real MNIST is neither under MNIST_ROOT nor in data/")
    return raw


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """Copy what a clone holds, so that notebooks which run leave the real checkout alone."""
    copy = tmp_path_factory.mktemp("clone") / "repository"
    copy.mkdir()
    for name in ("src", "notebooks", "results", "tests/pictures"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture
def command(tmp_path, synthetic_root):
    """Return a function that starts a program in a copy of the checkout, which takes the synthetic digits for MNIST."""
    copy_source(tmp_path)
    data = tmp_path / "src" / "learn" / "data.py"
    assert "official=official" in data.read_text()
    data.write_text(data.read_text().replace("official=official", "official=True"))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}

    def start(*arguments, **more):
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path, env=environment | {"MNIST_ROOT": str(synthetic_root)} | more, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start
