"""Runs that are kept: training a network by a recipe from a seed may be stopped at any moment and resumed."""

import contextlib
import hashlib
import inspect
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

from src import ROOT, shown
from src.evidence.records import Run
from src.evidence.storage import KEPT, Damaged, seal, set_aside, unseal, write
from src.learn.images import Statistics
from src.learn.networks import name_of
from src.learn.recipe import Recipe
from src.learn.training import Epoch, Score, epochs, evaluate, fastest_precision, new_model, predict

LEARN = ROOT / "src" / "learn"
# Now, while the files still hold the code that was imported: a notebook may run for hours while somebody edits them.
# All of learn/ but what the data, the network and the recipe say themselves.
DECIDING = [path for path in sorted(LEARN.glob("*.py")) if path.stem not in ("data", "networks", "recipe")]
CODE = hashlib.sha256(b"".join(path.read_bytes() for path in DECIDING)).hexdigest()


@dataclass(frozen=True)
class Trained:
    """A trained network with its record. `kept` says that an earlier execution trained it."""

    network: str
    model: torch.nn.Module
    recipe: Recipe
    statistics: Statistics
    run: Run
    kept: bool

    def predict(self, images):
        """Return the logits (N, classes) of uint8 images (N, 1, 28, 28) as they are in the files."""
        return predict(self.model, images, self.recipe, self.statistics)


def fit(network, data, recipe, seed, *, folder=KEPT, fresh=False, progress=None):
    """Train a new `network` from `seed`, or pick up the run that an earlier call kept in `folder`; return it Trained.

    A run is known by its code, network, recipe, seed and data. On a processor, one that was cut short goes on after its
    last finished epoch, if nothing around it has changed since. Where another process trains the same run, wait for
    it. `fresh` forgets what was kept. `progress` is passed on to training.
    """
    store = RunStore(network, data, recipe, seed, folder)
    with store.locked():
        if fresh:
            store.forget()
        record = store.finished()
        was_kept = record is not None
        if not was_kept:
            record = _train(store, network, data, recipe, seed, progress)
    return _trained(network, data, recipe, record, was_kept)


def kept_run(network, data, recipe, seed, folder=KEPT):
    """Return a run that `fit` kept, Trained, or None where there is none."""
    record = RunStore(network, data, recipe, seed, folder).finished()
    return record and _trained(network, data, recipe, record, True)


def keep(trained, network, data, recipe, seed, folder=KEPT):
    """Keep a run that `fit` returned on another machine."""
    store = RunStore(network, data, recipe, seed, folder)
    with store.locked():
        store.keep_finished(_record(trained.model, trained.run))


def _train(store, network, data, recipe, seed, progress):
    """Train from the latest checkpoint on, keep one after each epoch and in the end the finished run; return that."""
    made_with, state, history = environment(data), None, ()
    if checkpoint := store.checkpoint(made_with):
        made_with, state = checkpoint["environment"], checkpoint["state"]
        history = tuple(Epoch(**epoch) for epoch in state["history"])
    model = new_model(network, seed)
    for reached in epochs(model, data, recipe, seed, state=state, progress=progress):
        history = tuple(reached.history)
        # On a GPU there is no going on: only the processor's random stream is put back, not a GPU's.
        if data.train_images.device.type == "cpu":
            store.keep_checkpoint({"environment": made_with, "state": reached.state_dict()})
    score = evaluate(model, data.train_images, data.train_labels, recipe, data.statistics)
    record = _record(model, Run(seed, history, made_with, score))
    store.keep_finished(record)
    return record


def _record(model, run):
    """Return a finished run as it is kept: tensors and plain values."""
    return {
        "seed": run.seed,
        "environment": run.environment,
        "history": [epoch._asdict() for epoch in run.history],
        "train_score": run.train_score._asdict(),
        "model": model.state_dict(),
    }


def _trained(network, data, recipe, record, was_kept):
    """Make a Trained of what is kept."""
    model = network()
    model.load_state_dict(record["model"])
    model.to(data.train_images.device, memory_format=torch.channels_last)
    history = tuple(Epoch(**epoch) for epoch in record["history"])
    run = Run(record["seed"], history, record["environment"], Score(**record["train_score"]))
    return Trained(name_of(network), model.eval(), recipe, data.statistics, run, was_kept)


def identity(network, data, recipe, seed):
    """Return the hash by which a kept run is known.

    It is of the files that decide a run, the network as torch prints it, the recipe's fields that are not the default,
    the seed and the data: a new field of Recipe that is off leaves kept runs what they are.
    """
    with torch.random.fork_rng(devices=[]):
        model = network()
    own = {type(module) for module in model.modules() if not type(module).__module__.startswith("torch.")}
    forwards = sorted(inspect.getsource(c.forward) for c in own if c.forward is not torch.nn.Sequential.forward)
    facts = [CODE, str(model), forwards, recipe.changed(), seed, data.sha256, asdict(data.statistics)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


class RunStore:
    """Where one run is kept: the finished run, or on the way to it the latest checkpoint, and a lock."""

    def __init__(self, network, data, recipe, seed, folder=KEPT):
        short = name_of(network).split("(")[0]
        self.name = f"{short}-seed{seed}-{identity(network, data, recipe, seed)}"
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _path(self, kind):
        return self.folder / f"{self.name}.{kind}"

    @contextlib.contextmanager
    def locked(self):
        """Hold the run's lock; where another process has it, say so and wait."""
        lock, owner = FileLock(self._path("lock")), self._path("owner")  # the system frees it when its owner ends
        try:
            lock.acquire(timeout=0)
        except Timeout:
            whose = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
            print(f"{self.name}: {whose} is training this run; waiting for it", flush=True)
            lock.acquire()
        try:
            write(owner, f"process {os.getpid()} on {platform.node()}")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def finished(self):
        """Return the finished run's record, None where there is none."""
        return self._read(self._path("pt"))

    def checkpoint(self, made_with):
        """Return the latest checkpoint, None where there is none.

        One of another environment is set aside: the run could not go on from it to the last bit.
        """
        found = self._read(self._path("checkpoint"))
        if found and (differing := _differing(found["environment"], made_with)):
            done = len(found["state"]["history"])
            aside = shown(set_aside(self._path("checkpoint")))
            print(
                f"{self.name}: {done} epochs were trained elsewhere ({differing}): set aside as {aside}, begun anew",
                flush=True,
            )
            return None
        return found

    def keep_checkpoint(self, record):
        """Keep what `checkpoint` returns."""
        self._keep("checkpoint", record)

    def keep_finished(self, record):
        """Keep a finished run's record, and drop its checkpoint."""
        self._keep("pt", record)
        self._path("checkpoint").unlink(missing_ok=True)

    def forget(self):
        """Remove what is kept."""
        for kind in ("pt", "checkpoint"):
            self._path(kind).unlink(missing_ok=True)

    def _keep(self, kind, record):
        content = io.BytesIO()
        torch.save(record, content)
        seal(self._path(kind), content.getvalue())

    def _read(self, path):
        """Read a kept record. One that is damaged is named and set aside, as if it were not there."""
        if not os.path.lexists(path):
            return None
        try:
            return torch.load(io.BytesIO(unseal(path)), weights_only=True, map_location="cpu")
        except (Damaged, RuntimeError) as error:
            print(f"{error}: set aside as {shown(set_aside(path))}, and trained again", flush=True)
            return None


def environment(data):
    """Describe what a run depends on besides its network, recipe and seed."""
    device = data.train_images.device
    processor = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name") or platform.machine()
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "device": device.type,
        "processor": processor if device.type == "cpu" else torch.cuda.get_device_name(device),
        "precision": str(fastest_precision(device)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "data_sha256": data.sha256,
        "git_commit": git_commit(),
    }


def _differing(before, now):
    """Say in which of its facts an environment is another; the commit does not count, as the code has its hash."""
    return ", ".join(
        f"{name} {before.get(name)}, here {value}"
        for name, value in now.items()
        if name != "git_commit" and before.get(name) != value
    )


def git(*words):
    """Return what git says of this checkout. Raises OSError without git, CalledProcessError where it fails."""
    command = ["git", "--git-dir", ROOT / ".git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def git_commit():
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
