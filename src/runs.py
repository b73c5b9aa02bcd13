"""Runs that are kept: training a model by a recipe from a seed may be stopped at any moment and resumed."""

import ast
import copy
import functools
import hashlib
import inspect
import json
import os
import pickle
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision

from src import model as _model  # noqa: F401  its text is read below
from src import variants as _variants  # noqa: F401
from src.data import ROOT
from src.training import Recipe, memory_format, precision, train

KEPT = ROOT / ".runs"  # git-ignored


@dataclass(frozen=True)
class Run:
    """A trained model and how it came about. `kept` says that it was trained by an earlier execution."""

    model: torch.nn.Module
    recipe: Recipe
    seed: int
    history: list
    code_sha256: str
    environment: dict
    kept: bool


def fit(model_class, data, recipe, seed, *, folder=KEPT, fresh=False, progress=None):
    """Train a new `model_class` from `seed`, or pick up the run that an earlier call kept in `folder`.

    A run is known by its code, recipe, seed and data. On a processor, one that was cut short goes on after its last
    finished epoch, if nothing around it has changed since. `fresh` forgets what was kept. `progress` is passed to
    `train`. Raises RuntimeError for a kept file that cannot be read.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    device = data.train_images.device
    code = code_sha256(model_class)
    facts = [code, asdict(recipe), seed, data.sha256, data.split, len(data.train_images)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    finished = folder / f"{model_class.__name__}-seed{seed}-{key}.pt"
    checkpoint, started = finished.with_suffix(".checkpoint"), finished.with_suffix(".json")
    if fresh:
        for path in (finished, checkpoint, started):
            path.unlink(missing_ok=True)

    torch.manual_seed(seed)
    model = model_class()
    kept = finished.exists()
    if kept:
        saved = _load(finished, device)
        model.load_state_dict(saved["model"])
        model.to(device, memory_format=memory_format(model))
    else:
        made_with = _environment_at_start(started, checkpoint, data)
        # `train` can put back the processor's random stream, but not a GPU's.
        resumable = checkpoint if device.type == "cpu" else None
        history = train(model, data, recipe, seed, checkpoint=resumable, progress=progress)
        saved = {"model": model.state_dict(), "history": history, "environment": made_with}
        partial = finished.with_suffix(f".{os.getpid()}.partial")
        torch.save(saved, partial)
        os.replace(partial, finished)
        checkpoint.unlink(missing_ok=True)
        started.unlink(missing_ok=True)
    return Run(model, recipe, seed, saved["history"], code, saved["environment"], kept)


def _load(path, device):
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise RuntimeError(f"{path} is damaged: delete it, or train anew with fresh (-p fresh True)") from error


def _environment_at_start(started, checkpoint, data):
    """Return the environment that the run began in. A checkpoint from another one is dropped: it would not fit."""
    now = environment(data)
    if checkpoint.exists() and started.exists():
        before = json.loads(started.read_text())
        if before | {"git_commit": ""} == now | {"git_commit": ""}:
            return before
    checkpoint.unlink(missing_ok=True)
    started.write_text(json.dumps(now))
    return now


def environment(data):
    """Describe what a run depends on besides its code, recipe and seed."""
    device = data.train_images.device
    processor = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name") or platform.machine()
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "device": device.type,
        "processor": processor if device.type == "cpu" else torch.cuda.get_device_name(device),
        "precision": str(precision(device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "data_sha256": data.sha256,
        "git_commit": _git_commit(),
    }


def _git_commit():
    """Name the commit of src/, with "-dirty" behind it where a file of src/ differs from it."""
    try:
        commit, changes = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "src"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changes else commit


@functools.cache
def _definitions(module):
    """Return the syntax trees of the classes and functions of one of this project's modules, by name."""
    tree = ast.parse(Path(sys.modules[module].__file__).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


# Now, while the files still hold the code that was imported: a notebook may run for hours while somebody edits them.
for _module in ("src.model", "src.variants", "src.data", "src.training"):
    _definitions(_module)


def code_sha256(model_class):
    """Hash the code that decides a run: the model class, `train`, and all of this project's that they refer to.

    Comments, docstrings, formatting and the wording of errors do not count. Nor does the Recipe class: its values
    are recorded beside the hash.
    """
    code, waiting = {}, [model_class, train]
    while waiting:
        thing = waiting.pop()
        name = f"{thing.__module__}.{thing.__qualname__}"
        if name in code or thing is Recipe:
            continue
        if thing.__module__.split(".")[0] != "src":
            raise ValueError(
                f"{name} must be defined in src/model.py or src/variants.py to be kept: its code is part of its name"
            )
        tree = _Essence().visit(copy.deepcopy(_definitions(thing.__module__)[thing.__qualname__]))
        code[name] = ast.unparse(tree)
        module = vars(sys.modules[thing.__module__])
        for node in ast.walk(tree):
            value = module.get(node.id) if isinstance(node, ast.Name) else None
            if inspect.isclass(value) or inspect.isfunction(value):
                if value.__module__.split(".")[0] == "src":
                    waiting.append(value)
            elif isinstance(value, (int, float, str, tuple)):
                code[f"{thing.__module__}.{node.id}"] = repr(value)
    return hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()


class _Essence(ast.NodeTransformer):
    """Drop docstrings and what an error says from a syntax tree."""

    def visit_Expr(self, node):
        return None if isinstance(node.value, ast.Constant) else node

    def visit_Raise(self, node):
        return ast.Raise()
