"""Runs that are kept: training a model by a recipe from a seed may be stopped at any moment and resumed."""

import contextlib
import hashlib
import io
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision
from filelock import FileLock, Timeout

from src.files import KEPT, ROOT, Damaged, seal, set_aside, shown, unseal, write
from src.identity import code_sha256
from src.receptive_field import receptive_field
from src.recipe import Recipe
from src.training import epochs, new_model, precision, predict


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

    def predict(self, images):
        """Return the logits of uint8 images (N, 1, 28, 28) as the files have them: the recipe prepares them here."""
        return predict(self.model, images, self.recipe)


def fit(model_class, data, recipe, seed, *, folder=KEPT, fresh=False, progress=None):
    """Train a new `model_class` from `seed`, or pick up the run that an earlier call kept in `folder`.

    A run is known by its code, recipe, seed and data. On a processor, one that was cut short goes on after its last
    finished epoch, if nothing around it has changed since. Where another process trains the same run, wait for it.
    `fresh` forgets what was kept. `progress` is passed on to training.
    """
    place = Place(model_class, data, recipe, seed, folder)
    with place.alone():
        if fresh:
            place.forget()
        record = place.finished()
        kept = record is not None
        if not kept:
            for record in stages(model_class, data, recipe, seed, place.checkpoint(), progress=progress):
                place.keep(record)
    return place.run(record, kept, data.train_images.device)


def stages(model_class, data, recipe, seed, checkpoint=None, *, commit=None, progress=None):
    """Train a new model and yield what is worth keeping: a checkpoint after each epoch, in the end the finished run.

    Both are dicts of tensors and plain values, and say which environment the run began in. A checkpoint is taken up
    only in that environment. On a GPU there is none: `epochs` can put back the processor's random stream, not a GPU's.
    """
    made_with = environment(data, commit)
    state = None
    if checkpoint and not _differing(checkpoint["environment"], made_with):
        made_with, state = checkpoint["environment"], checkpoint["state"]
    history = state["history"] if state else []
    model = new_model(model_class, seed)
    for reached in epochs(model, data, recipe, seed, state, progress):
        history = reached["history"]
        if data.train_images.device.type == "cpu":
            yield {"environment": made_with, "state": reached}
    yield {"environment": made_with, "history": history, "model": model.state_dict()}


class Place:
    """Where one run is kept: the finished run, or on the way to it the latest checkpoint, and a lock."""

    def __init__(self, model_class, data, recipe, seed, folder=KEPT):
        """Name the place. Raises TypeError for a network that cannot be trained or told about, before it is trained."""
        receptive_field(model_class())
        self.model_class, self.recipe, self.seed = model_class, recipe, seed
        self.code_sha256 = code_sha256(model_class)
        facts = [self.code_sha256, asdict(recipe), seed, data.sha256]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        self.name = f"{model_class.__name__}-seed{seed}-{key}"
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The operating system lets go of the lock when its owner ends, however it ends.
        self.lock = FileLock(self._path("lock"))

    def _path(self, kind):
        return self.folder / f"{self.name}.{kind}"

    def take(self, wait=False):
        """Take the lock, if need be waiting for it, and return whether it is ours now."""
        try:
            self.lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return False
        try:
            write(self._path("owner"), f"process {os.getpid()} on {platform.node()}")
        except OSError:
            self.lock.release()
            raise
        return True

    def release(self):
        """Give the lock back."""
        self._path("owner").unlink(missing_ok=True)
        self.lock.release()

    def owner(self):
        """Say who holds the lock."""
        try:
            return self._path("owner").read_text()
        except OSError:
            return "another process"

    @contextlib.contextmanager
    def alone(self):
        """Hold the lock; where another process has it, say so and wait."""
        if not self.take():
            print(f"{self.name}: {self.owner()} is training this run; waiting for it", flush=True)
            self.take(wait=True)
        try:
            yield
        finally:
            self.release()

    def finished(self):
        """Return the finished run, None where there is none."""
        return self._read(self._path("pt"))

    def checkpoint(self):
        """Return the latest checkpoint, None where there is none."""
        return self._read(self._path("checkpoint"))

    def keep(self, record):
        """Keep a checkpoint or a finished run, which takes the checkpoint's place.

        Say so and set aside the checkpoint that was there, if it was made in another environment than this record.
        """
        before = self.checkpoint()
        if before and (differs := _differing(before["environment"], record["environment"])):
            begun = len(before["state"]["history"])
            aside = shown(set_aside(self._path("checkpoint")))
            print(
                f"{self.name}: {begun} epochs were trained elsewhere ({differs}): set aside as {aside}, and begun anew",
                flush=True,
            )
        content = io.BytesIO()
        torch.save(record, content)
        seal(self._path("pt" if "model" in record else "checkpoint"), content.getvalue())
        if "model" in record:
            self._path("checkpoint").unlink(missing_ok=True)

    def forget(self):
        """Remove what is kept."""
        for kind in ("pt", "checkpoint"):
            self._path(kind).unlink(missing_ok=True)

    def run(self, record, kept, device="cpu"):
        """Make a Run of a finished run's record."""
        model = self.model_class()
        model.load_state_dict(record["model"])
        model.to(device, memory_format=torch.channels_last)
        return Run(model, self.recipe, self.seed, record["history"], self.code_sha256, record["environment"], kept)

    def _read(self, path):
        """Read a kept record. One that is damaged is named and set aside, as if it were not there."""
        if not os.path.lexists(path):
            return None
        try:
            return torch.load(io.BytesIO(unseal(path)), weights_only=True, map_location="cpu")
        except (Damaged, RuntimeError) as error:
            print(f"{error}: set aside as {shown(set_aside(path))}, and trained again", flush=True)
            return None


def environment(data, commit=None):
    """Describe what a run depends on besides its code, recipe and seed. `commit` stands in for this checkout's."""
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
        "git_commit": commit or git_commit(),
    }


def _differing(before, now):
    """Say in which of its facts an environment is another; the commit does not count, as the code has its hash."""
    return ", ".join(
        f"{name} {before.get(name)}, here {value}"
        for name, value in now.items()
        if name != "git_commit" and before.get(name) != value
    )


def git_commit():
    """Name the commit of src/, with "-dirty" behind it where a file of src/ differs; "unknown" outside a checkout.

    A copy without its own .git inside another repository must not be taken for that repository's.
    """
    try:
        top, commit, changes = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for words in (
                ["rev-parse", "--show-toplevel"],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--", "src"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    if Path(top).resolve() != ROOT:
        return "unknown"
    return f"{commit}-dirty" if changes else commit
