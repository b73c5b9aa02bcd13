"""Runs that are kept: a study is a list of (model, recipe, seed) that may be stopped at any moment and resumed."""

import ast
import hashlib
import inspect
import json
import os
import platform
import subprocess
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision

from src.data import ROOT
from src.training import Recipe, precision, train

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

    A run is known by its code, recipe, seed and data. One that was cut short goes on after its last finished epoch.
    `fresh` forgets what was kept. `progress` is passed to `train`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    code = code_sha256(model_class)
    facts = [code, asdict(recipe), seed, data.sha256, data.split, len(data.train_images)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    finished = folder / f"{model_class.__name__}-seed{seed}-{key}.pt"
    checkpoint = finished.with_suffix(".checkpoint")
    if fresh:
        finished.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)

    torch.manual_seed(seed)
    model = model_class()
    kept = finished.exists()
    if kept:
        saved = torch.load(finished, weights_only=True)
        model.load_state_dict(saved["model"])
        model.to(data.train_images.device)
    else:
        made_with = environment(data)  # before training, so that a later commit is not taken for this one
        history = train(model, data, recipe, seed, checkpoint=checkpoint, progress=progress)
        saved = {"model": model.state_dict(), "history": history, "environment": made_with}
        partial = finished.with_suffix(".partial")
        torch.save(saved, partial)
        os.replace(partial, finished)
        checkpoint.unlink()
    return Run(model, recipe, seed, saved["history"], code, saved["environment"], kept)


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
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


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
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        code[name] = ast.unparse(_Essence().visit(tree))
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
