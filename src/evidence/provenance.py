"""Where a run comes from: the machine and versions it was made with, the commit, and the code that decides it."""

import ast
import hashlib
import inspect
import json
import platform
import textwrap
from dataclasses import asdict
from typing import Annotated, Literal

import torch
import torchvision
from pydantic import Field

from src import ROOT
from src.checked import Positive, checked
from src.evidence.git import git_commit
from src.learn.data import Data
from src.learn.evaluation import fastest_precision
from src.learn.training import Job

LEARN = ROOT / "src" / "learn"
NOT_DECIDING = (
    "data",
    "networks",
    "recipe",
)  # of learn/: what the data, the network and the recipe of a run say themselves


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
    deciding = [path for path in sorted(LEARN.glob("*.py")) if path.stem not in NOT_DECIDING]
    trees = "".join(meaning(path.read_text(encoding="utf-8")) for path in deciding)
    return hashlib.sha256(trees.encode()).hexdigest()


# Now, while the files still hold the code that was imported: a notebook may run for hours while somebody edits them.
CODE = _code()


def identity(job: Job) -> str:
    """Return the hash by which a job's kept run is known.

    It is of the code that decides a run, the network as torch prints it and the classes that are not torch's own, the
    recipe's fields that are not the default, the seed and the data: a new field of Recipe that is off leaves kept runs
    what they are.
    """
    with torch.random.fork_rng(devices=[]):
        model = job.network()
    own = {kind for module in model.modules() for kind in type(module).__mro__ if _is_own(kind)}
    sources = sorted(meaning(textwrap.dedent(inspect.getsource(kind))) for kind in own)
    data = job.data.sha256, asdict(job.data.statistics)
    facts = [CODE, str(model), sources, job.recipe.changed(), job.seed, *data]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _is_own(kind):
    return kind is not object and not kind.__module__.startswith("torch.")
