"""The parameters of a notebook: what is accepted, what it becomes, and where the results go."""

import dataclasses
import re
from pathlib import Path

import torch

from src import ROOT
from src.demo.picture import as_mnist
from src.evidence.storage import RESULTS, TRIAL
from src.learn.recipe import Recipe

MAX_EPOCHS = 15
ABSENT = object()  # None may be somebody's value


@dataclasses.dataclass(frozen=True)
class Settings:
    """Hold a notebook's parameters, checked and resolved."""

    seeds: tuple
    epochs: int
    batch_size: int
    device: torch.device
    data_dir: Path | None
    results_dir: Path | None
    train_limit: int | None
    fresh: bool
    digit: Path | None


def check_parameters(
    executed, *, seed, n_seeds, epochs, batch_size, device, data_dir, results_dir, train_limit, fresh, digit=ABSENT
):
    """Check the parameters of a notebook and resolve them into Settings.

    `executed` is IPython's `In`: for a name that no notebook knows papermill prints one line and runs on, so what it
    injected is read there. A notebook without a `digit` leaves it out. Relative names count from the checkout. Raises
    ValueError with the name, the value and what is right.
    """
    known = {name: value for name, value in locals().items() if name != "executed" and value is not ABSENT}
    for cell in executed:
        if cell.startswith("# Parameters"):  # papermill's own heading
            for name in re.findall(r"^(\w+) =", cell, re.MULTILINE):
                if name not in known:
                    raise ValueError(f"{name} is no parameter of this notebook: use one of {', '.join(known)}")
    _check_whole("n_seeds", n_seeds, 1, 1000)
    _check_whole("seed", seed, 0, 2**31 - n_seeds)
    _check_whole("epochs", epochs, 1, MAX_EPOCHS)
    _check_whole("batch_size", batch_size, 1, 60_000)
    _check_whole("train_limit", train_limit, 0, 60_000)
    if not isinstance(fresh, bool):
        raise ValueError(f"fresh must be True or False, got {fresh!r}")
    for name in ("data_dir", "results_dir", "digit"):
        if not isinstance(known.get(name, ""), str):
            what = "file" if name == "digit" else "folder"
            raise ValueError(f"{name} must be a {what}'s name or empty, got {known[name]!r}")
    picture = _resolved("digit", known.get("digit"))
    if picture:
        as_mnist(picture)  # a bad picture is refused before hours are spent
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no such GPU here: use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Settings(
        seeds=tuple(range(seed, seed + n_seeds)),
        epochs=epochs,
        batch_size=batch_size,
        device=torch.device(device),
        data_dir=_resolved("data_dir", data_dir),
        results_dir=_resolved("results_dir", results_dir),
        train_limit=train_limit or None,
        fresh=fresh,
        digit=picture,
    )


def _check_whole(name, value, lowest, highest):
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a whole number from {lowest} to {highest}, got {value!r}")


def _resolved(name, value):
    """Return the path that a parameter names, from the checkout on; None for an empty one."""
    try:
        return ROOT / Path(value).expanduser() if value else None
    except RuntimeError:  # ~somebody
        raise ValueError(f"{name} is in a home folder that is not known here, got {value!r}: write it out") from None


def results_folder(settings, data):
    """Return where this run's evidence goes: results/ for the whole recipe on the whole of MNIST, else elsewhere.

    Raises ValueError when a run that is no evidence is told to write into results/.
    """
    full = Recipe()
    trial = (
        settings.epochs != full.epochs
        or settings.batch_size != full.batch_size
        or settings.train_limit is not None
        or not data.official
    )
    if settings.results_dir is None:
        return TRIAL if trial else RESULTS
    folder = settings.results_dir
    under_results = [f for f in (folder, *folder.parents) if f.exists() and f.samefile(RESULTS)]  # by whatever name
    if trial and under_results:
        raise ValueError(
            f"results_dir is results/, which keeps only runs of {full.epochs} epochs, batch size {full.batch_size} "
            "and all of MNIST: name another folder, or leave it empty"
        )
    return RESULTS if folder in under_results else folder
