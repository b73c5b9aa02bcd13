"""Runs that are kept: training a network by a recipe from a seed may be stopped at any moment and resumed."""

import contextlib
import io
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from src import display_path
from src.evidence.provenance import Environment, differing, environment, identity
from src.evidence.schema import Run
from src.evidence.storage import KEPT, Damaged, seal, set_aside, unseal, write
from src.learn.evaluation import Classifier, Score, score
from src.learn.networks import name_of
from src.learn.training import EpochMetrics, Job, TrainState, train_epochs


@dataclass(frozen=True)
class Trained(Classifier):
    """A trained network by its name, with its run. `kept` says that an earlier execution trained it."""

    network: str
    run: Run
    kept: bool


def fit(
    job: Job,
    *,
    folder: str | Path = KEPT,
    fresh: bool = False,
    progress: Callable[[list[EpochMetrics], float], None] | None = None,
) -> Trained:
    """Train a job's network, or pick up the run that an earlier call kept in `folder`.

    On a processor, a run that was cut short goes on after its last finished epoch, if nothing around it has changed
    since. Where another process trains the same run, wait for it. `fresh` forgets what was kept. `progress` is passed
    on to training.
    """
    store = RunStore(job, folder)
    with store.locked():
        if fresh:
            store.forget()
        payload = store.finished()
        was_kept = payload is not None
        if not was_kept:
            payload = _train(store, job, progress)
    return _trained(job, payload, was_kept)


def kept_run(job: Job, folder: str | Path = KEPT) -> Trained | None:
    """Return a job's run that `fit` kept, or None where there is none."""
    payload = RunStore(job, folder).finished()
    return payload and _trained(job, payload, True)


def keep(trained: Trained, job: Job, folder: str | Path = KEPT) -> None:
    """Keep a run that `fit` returned on another machine."""
    store = RunStore(job, folder)
    with store.locked():
        store.keep_finished(_payload(trained.model, trained.run))


def _train(store, job, progress):
    """Train from the latest checkpoint on, keep one after each epoch and in the end the finished run; return that."""
    made_with, state = environment(job.data), TrainState(job)
    if checkpoint := store.checkpoint(made_with):
        made_with = Environment(**checkpoint["environment"])
        state.load_state_dict(checkpoint["state"])
    for _ in train_epochs(job, state, progress=progress):
        # On a GPU there is no going on: only the processor's random stream is put back, not a GPU's.
        if job.data.train_images.device.type == "cpu":
            store.keep_checkpoint({"environment": asdict(made_with), "state": state.state_dict()})
    found = Classifier(state.evaluated_model().eval(), job.preprocess)
    train_score = score(found.predict(job.data.train_images), job.data.train_labels)
    payload = _payload(found.model, Run(job.seed, tuple(state.history), made_with, train_score))
    store.keep_finished(payload)
    return payload


def _payload(model, run):
    """Return a finished run as it is kept: tensors and plain values."""
    return asdict(run) | {"model": model.state_dict()}


def _trained(job, payload, was_kept):
    """Make a Trained of what is kept."""
    model = job.network()
    model.load_state_dict(payload["model"])
    model.to(job.data.train_images.device, memory_format=torch.channels_last)
    history = tuple(EpochMetrics(**epoch) for epoch in payload["history"])
    made_with, train_score = Environment(**payload["environment"]), Score(**payload["train_score"])
    run = Run(payload["seed"], history, made_with, train_score)
    return Trained(model.eval(), job.preprocess, name_of(job.network), run, was_kept)


class RunStore:
    """Where one run is kept: the finished run, or on the way to it the latest checkpoint, and a lock."""

    def __init__(self, job: Job, folder: str | Path = KEPT):
        short = name_of(job.network).split("(")[0]
        self.name = f"{short}-seed{job.seed}-{identity(job)}"
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _path(self, kind):
        return self.folder / f"{self.name}.{kind}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
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

    def finished(self) -> dict[str, Any] | None:
        """Return the finished run's payload, None where there is none."""
        return self._read(self._path("pt"))

    def checkpoint(self, made_with: Environment) -> dict[str, Any] | None:
        """Return the latest checkpoint, None where there is none.

        One of another environment is set aside: the run could not go on from it to the last bit.
        """
        found = self._read(self._path("checkpoint"))
        if found and (differs := differing(Environment(**found["environment"]), made_with)):
            done = len(found["state"]["history"])
            aside = display_path(set_aside(self._path("checkpoint")))
            print(
                f"{self.name}: {done} epochs were trained elsewhere ({differs}): set aside as {aside}, begun anew",
                flush=True,
            )
            return None
        return found

    def keep_checkpoint(self, payload: dict[str, Any]) -> None:
        """Keep what `checkpoint` returns."""
        self._keep("checkpoint", payload)

    def keep_finished(self, payload: dict[str, Any]) -> None:
        """Keep a finished run's payload, and drop its checkpoint."""
        self._keep("pt", payload)
        self._path("checkpoint").unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what is kept."""
        for kind in ("pt", "checkpoint"):
            self._path(kind).unlink(missing_ok=True)

    def _keep(self, kind, payload):
        content = io.BytesIO()
        torch.save(payload, content)
        seal(self._path(kind), content.getvalue())

    def _read(self, path):
        """Read a kept payload. One that is damaged is named and set aside, as if it were not there."""
        if not os.path.lexists(path):
            return None
        try:
            return torch.load(io.BytesIO(unseal(path)), weights_only=True, map_location="cpu")
        except (Damaged, RuntimeError) as error:
            print(f"{error}: set aside as {display_path(set_aside(path))}, and trained again", flush=True)
            return None
