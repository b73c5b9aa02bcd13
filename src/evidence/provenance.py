"""Where a run comes from: the machine and versions it was made with, the commit, and the code that decides it."""

import ast
import hashlib
import inspect
import json
import os
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import torch
import torchvision
from pydantic import Field

from src import ROOT
from src.checked import Positive, checked
from src.learn.data import Data
from src.learn.evaluation import fastest_precision
from src.learn.training import Job

LEARN = ROOT / "src" / "learn"
OWN = ("data", "networks", "recipe")  # of learn/: what the data, the network and the recipe of a run say themselves


@checked
class Environment:
    """What a run depends on besides its network, recipe and seed."""

    python: Annotated[str, Field(pattern=r"^3\.\d+\.\d+")]
    torch: Annotated[str, Field(pattern=r"^2\.\d+\.\d+")]
    torchvision: Annotated[str, Field(pattern=r"^0\.\d+\.\d+")]
    device: Literal["cpu", "cuda"]
    processor: Annotated[str, Field(min_length=1)]
    precision: Literal["float32", "bfloat16"]
    threads: Positive
    data_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    git_commit: Annotated[str, Field(pattern="^([0-9a-f]{40}(-dirty)?|unknown)$")]


def environment(data: Data) -> Environment:
    """Describe this machine, its versions and the data."""
    device = data.train_images.device
    processor = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name") or platform.machine()
    return Environment(
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=str(torchvision.__version__),
        device=device.type,
        processor=processor if device.type == "cpu" else torch.cuda.get_device_name(device),
        precision=str(fastest_precision(device)).removeprefix("torch."),
        threads=torch.get_num_threads(),
        data_sha256=data.sha256,
        git_commit=git_commit(),
    )


def differing(before: Environment, now: Environment) -> str:
    """Say in which of its facts an environment is another; the commit does not count, as the code has its hash."""
    old = asdict(before)
    return ", ".join(
        f"{name} {old[name]}, here {value}"
        for name, value in asdict(now).items()
        if name != "git_commit" and old[name] != value
    )


def meaning(source: str) -> str:
    """Return a program's syntax tree without comments, docstrings and layout, as text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _code():
    deciding = [path for path in sorted(LEARN.glob("*.py")) if path.stem not in OWN]
    trees = "".join(meaning(path.read_text(encoding="utf-8")) for path in deciding)
    return hashlib.sha256(trees.encode()).hexdigest()


# Now, while the files still hold the code that was imported: a notebook may run for hours while somebody edits them.
CODE = _code()


def identity(job: Job) -> str:
    """Return the hash by which a job's kept run is known.

    It is of the code that decides a run, the network as torch prints it, the recipe's fields that are not the default,
    the seed and the data: a new field of Recipe that is off leaves kept runs what they are.
    """
    with torch.random.fork_rng(devices=[]):
        model = job.network()
    own = {type(module) for module in model.modules() if not type(module).__module__.startswith("torch.")}
    forwards = sorted(inspect.getsource(c.forward) for c in own if c.forward is not torch.nn.Sequential.forward)
    data = job.data.sha256, asdict(job.data.statistics)
    facts = [CODE, str(model), forwards, job.recipe.changed(), job.seed, *data]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def git(*words: str) -> str:
    """Return what git says of this checkout. Raises OSError without git, CalledProcessError where it fails."""
    command = ["git", "--git-dir", ROOT / ".git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def git_commit() -> str:
    """Name the commit of src/, with "-dirty" behind it where a file of src/ differs; "unknown" outside a checkout.

    A copy without its own .git inside another repository must not be taken for that repository's. MNIST_COMMIT names
    the commit where only src/ was sent, as to the machines of a cluster.
    """
    if sent := os.environ.get("MNIST_COMMIT"):
        return sent
    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cure(path: str | Path) -> str:
    """Say how to come by a good copy of a file: from git where that has one."""
    try:
        git("ls-files", "--error-unmatch", "--", str(path))
        name = os.path.relpath(path, ROOT)
        return f"correct it, or `git restore {name}` brings back the committed one"
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "correct or delete it" if os.path.lexists(path) else "correct the name"
