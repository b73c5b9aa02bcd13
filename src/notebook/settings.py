"""The parameters of a notebook: what is accepted, what it becomes, and where the results go."""

import re
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, model_validator

from src import ROOT, display_path
from src.checked import Seed, checked
from src.demo.page import page_is_ours
from src.demo.picture import as_mnist
from src.demo.reader import weights_are_ours
from src.evidence.schema import STEPS, path_to, read_named
from src.evidence.storage import RESULTS, TRIAL
from src.learn.data import Data
from src.learn.recipe import Recipe
from src.report.figures import made_with

ELSEWHERE = "name another folder, or leave results_dir empty"
WRITTEN_BY_NOTEBOOKS = {  # how a file that a notebook writes is told from somebody's own of the same name
    r"(Step\d|(overview|reading)(_dark)?|photograph)\.png": lambda path: made_with(path.read_bytes()),
    r"try\.html": page_is_ours,
    r"model_\d+\.safetensors": weights_are_ours,
}


def _plain(name):
    if name != name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} begins or ends with a blank, or has a character that no name has: write it anew")
    return name


Name = Annotated[str, AfterValidator(_plain)]  # of a file or folder; empty for none


@checked
class Settings:
    """A notebook's parameters, as its third cell explains them."""

    seed: Seed
    n_seeds: Annotated[int, Field(ge=1, le=1000)]
    epochs: Annotated[int, Field(ge=1, le=15)]
    batch_size: Annotated[int, Field(ge=1, le=60_000)]
    device: Literal["auto", "cpu", "cuda"]
    data_dir: Name
    results_dir: Name
    train_limit: Annotated[int, Field(ge=0, le=60_000)]
    fresh: bool
    digit: Name = ""

    @model_validator(mode="after")
    def _can_be_had(self):
        if self.seed + self.n_seeds > 2**31:
            raise ValueError(f"seed {self.seed} and n_seeds {self.n_seeds} lead beyond 2**31: lower one")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is cuda, but torch finds no such GPU here: use auto or cpu")
        for name in ("data_dir", "results_dir", "digit"):
            self.path(name)
        if self.digit:
            as_mnist(self.path("digit"))  # a bad picture is refused before hours are spent
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that each model is trained with."""
        return tuple(range(self.seed, self.seed + self.n_seeds))

    @property
    def torch_device(self) -> torch.device:
        """The device that "auto" finds, or the one that is named."""
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(automatic if self.device == "auto" else self.device)

    def path(self, name: str) -> Path | None:
        """Return the path that a parameter names, from the checkout on; None for an empty one."""
        value = getattr(self, name)
        if not value:
            return None
        try:
            path = ROOT / Path(value).expanduser()
            path.exists()
        except RuntimeError:  # ~somebody
            raise ValueError(
                f"{name} is in a home folder that is not known here, got {value!r}: write it out"
            ) from None
        except OSError as error:  # too long a name, or in a folder that is closed
            raise ValueError(f"{name} cannot be used ({error.strerror}), got {value!r}: name another") from None
        return path


def check_parameters(executed: list[str], **parameters) -> Settings:
    """Check the parameters of a notebook and return them as Settings.

    `executed` is IPython's `In`: for a name that no notebook knows papermill prints one line and runs on, so what it
    injected is read there. A notebook without a `digit` leaves it out. Raises ValueError with the name, the value and
    what is right.
    """
    for cell in executed:
        if cell.startswith("# Parameters"):  # papermill's own heading
            for name in re.findall(r"^(\w+) =", cell, re.MULTILINE):
                if name not in parameters:
                    raise ValueError(f"{name} is no parameter of this notebook: use one of {', '.join(parameters)}")
    return Settings(**parameters)


def results_folder(settings: Settings, data: Data) -> Path:
    """Return where this run's evidence goes: results/ for the whole recipe on the whole of MNIST, else elsewhere.

    Raises ValueError when a run that is no evidence is told to write into results/, or any into the checkout itself.
    """
    full = Recipe()
    trial = (
        settings.epochs != full.epochs
        or settings.batch_size != full.batch_size
        or settings.train_limit > 0
        or not data.official
    )
    folder = settings.path("results_dir")
    if folder is None:
        return TRIAL if trial else RESULTS
    under_results = [f for f in (folder, *folder.parents) if f.exists() and f.samefile(RESULTS)]  # by whatever name
    if trial and under_results:
        raise ValueError(
            f"results_dir is results/, which keeps only runs of {full.epochs} epochs, batch size {full.batch_size} "
            "and all of MNIST: name another folder, or leave it empty"
        )
    if folder in under_results:
        return RESULTS
    if folder.exists() and any(folder.samefile(f) for f in (ROOT, *ROOT.parents)):
        raise ValueError(f"results_dir is {settings.results_dir!r}, which holds the checkout itself: {ELSEWHERE}")
    return folder


def check_replaceable(folder: Path, settings: Settings, data: Data) -> None:
    """Refuse a folder where a file of somebody's own, or a fuller run, has the name of one that will be written.

    What is in results/ git keeps, and what is in .runs/trial/ is no evidence. Raises ValueError.
    """
    if folder in (RESULTS, TRIAL):
        return
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        for names, ours in WRITTEN_BY_NOTEBOOKS.items():
            if re.fullmatch(names, path.name, re.IGNORECASE) and not (path.is_file() and ours(path)):
                raise ValueError(f"{display_path(path)} was not written by these notebooks: {ELSEWHERE}")
    for name in (f"Step{k}" for k in STEPS):
        if not path_to(name, folder).exists():
            continue
        for arm in read_named(name, folder).arms.values():
            images = max((run.history[-1].train_total for run in arm.runs), default=0)
            there = arm.recipe.epochs, images, len(arm.runs)
            if any(
                a > b for a, b in zip(there, (settings.epochs, len(data.train_images), settings.n_seeds), strict=True)
            ):
                raise ValueError(
                    f"{display_path(path_to(name, folder))} has more than this run will have ({there[0]} epochs, "
                    f"{there[1]:,} images, {there[2]} seeds a model): {ELSEWHERE}"
                )
