"""What several tests need: small data, histories worked out by hand, and notebooks taken apart."""

import hashlib
import json
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import torch

from src import ROOT
from src import model as models
from src.evidence.provenance import Environment
from src.evidence.schema import Arm, Evidence, Run, Target
from src.learn.data import FILES
from src.learn.recipe import Recipe
from src.learn.training import EpochMetrics, Job, train_epochs

# ---------------------------------------------------------------- data


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
    sums = (f"{hashlib.sha256((raw / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES)
    (raw / "SHA256SUMS").write_text("".join(sums))
    return root


def copy_source(folder):
    """Copy src/ and what it reads into a folder of its own, to be edited there."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "results").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "results" / "published.json", folder / "results")
    return folder


def finished(process):
    """Wait for a program; return its exit status, what it printed and what it said on stderr."""
    shown, errors = process.communicate(timeout=240)
    return process.returncode, shown, errors


def model_names():
    """Name the models of the three steps, in their order."""
    return [name for name in vars(models) if name.startswith("Model_")]


# ---------------------------------------------------------------- runs


EVERYTHING = Recipe(
    epochs=3, batch_size=64, optimizer="adamw", lr=0.01, weight_decay=0.01, warmup_fraction=0.2, lr_decay_fraction=0.6,
    deslant=True, size_normalisation=0.5,
    rotation=10.0, translation=2.0, scale=0.1, shear=0.15, elastic=1.0,
    augmentation_decay_fraction=0.4, augmentation_factor=0.3, ema_decay=0.9, ema_warmup=True, bn_images=300,
)  # fmt: skip


def history(*correct):
    return tuple(
        EpochMetrics(epoch, 0.1, 59_000, 60_000, 0.02, count, 10_000, 1.0) for epoch, count in enumerate(correct, 1)
    )


ENVIRONMENT = Environment("3.11.7", "2.14.1", "0.29.1", "cpu", "a processor", "float32", 1, "0" * 64, "unknown")


def run(*correct, seed=0, **environment):
    return Run(seed, history(*correct), replace(ENVIRONMENT, **environment))


def arm(*runs, network="Model_7", recipe=Recipe(rotation=5.0)):  # noqa: B008 (it is frozen)
    """Make an arm of runs, with a recipe of as many epochs as they have."""
    epochs = len(runs[0].history) if runs else recipe.epochs
    return Arm(network, replace(recipe, epochs=epochs), tuple(runs))


def timeless(history):
    return [replace(epoch, seconds=0.0) for epoch in history]


def train(model, data, recipe, seed, **more):
    """Train a model to the end and return its TrainState; what is scored is `evaluated_model()`."""
    *_, state = train_epochs(Job(lambda: model, data, recipe, seed), **more)
    return state


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


HELD = (9_000, 9_950, 9_940, 9_940, 9_950, 9_945, 9_951)
LOST = (*HELD[:-1], 9_931)


def evidence(name="Step3", target=Target(), **arms):  # noqa: B008
    """Gather arms, each a list of runs by their counts of correct images, into evidence."""
    made = {
        label: arm(*(run(*correct, seed=seed) for seed, correct in enumerate(seeds))) for label, seeds in arms.items()
    }
    seeds = tuple(range(max((len(of_arm.runs) for of_arm in made.values()), default=0)))
    return Evidence(name, made, seeds, target=target)


# ---------------------------------------------------------------- notebooks


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def models_of(notebook):
    """Name the models that a notebook trains, in order."""
    return re.findall(r"^## (Model_\d+): ", "\n".join(source(cell) for cell in notebook["cells"]), re.MULTILINE)


def assert_clean(notebook):
    """Hold what an executed notebook must look like, fresh or committed."""
    assert [cell["execution_count"] for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    folders = r"/(home|root|tmp|work|opt|usr|var|private|content|Users)/|[A-Z]:\\"
    assert not re.search(folders, "\n".join("".join(text) for text in texts))
    assert len(json.dumps(notebook)) < 1_000_000


def printed(notebook):
    """Return all text that the notebook printed."""
    outputs = [output for cell in code(notebook) for output in cell["outputs"]]
    return "\n".join("".join(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in outputs)


def changed(*names):
    """Return whether git sees uncommitted changes in these files of the checkout."""
    answer = subprocess.run(
        ["git", "status", "--porcelain", "--", *names], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    return answer.returncode == 0 and bool(answer.stdout)
