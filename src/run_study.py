"""Carry out a study of src/studies.py on Ray: `python -m src.run_study record`, or `... record --seeds 0-4`.

Ray starts by itself and gives each run a core of its own; with RAY_ADDRESS set the runs go to that cluster. The code
and the data travel with the job, and what a run has reached comes back after each epoch and is kept in .runs/ here:
a study that was stopped goes on where it was, and a machine that is lost costs the epochs that it was at. Only a
complete study on all of MNIST writes results/study_NAME.json and its figure; anything less goes to .runs/trial/.
"""

import argparse
import logging
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import ray
import torch

from src import report
from src.data import DataError, load_mnist
from src.evidence import accuracy, gather, percent, write_evidence
from src.files import KEPT, RESULTS, ROOT, TRIAL, check_writable, shown
from src.identity import code_sha256
from src.runs import Place, git_commit, stages
from src.studies import STUDIES

# Two runs with a thread each get more done than one run with two.
THREADS = 1
MOST_SEEDS = 1000
ATTEMPTS = 5  # that a run gets on machines that are lost
JOIN_SECONDS = 20
GO_ON = "Start the study again: it goes on where it was."


class ClusterError(RuntimeError):
    """Say in one sentence why no cluster could be reached."""


def carry_out(name, seeds=None, train_limit=None, fresh=False):
    """Carry out a study's runs, but those that are kept, and write its evidence.

    `seeds` stand in for the study's own; `fresh` forgets what is kept. Returns the path of the evidence, None where no
    run was finished, and the failed runs as a list of (arm, seed, error): a failed run does not stop the rest. Raises
    DataError for bad data, TypeError for a network that cannot be trained or told about, ValueError when src/ was
    edited so that the runs do not belong together, ClusterError, and OSError where nothing can be written.
    """
    study = STUDIES[name]
    check_writable(KEPT)
    check_writable(RESULTS)
    data = load_mnist(split=study.split, train_limit=train_limit)
    places = {
        (arm, seed): Place(model, data, recipe, seed)
        for seed in seeds or study.seeds
        for arm, (model, recipe) in study.arms.items()
    }
    table = _Table(study, len(places))
    waiting = []
    for key, place in places.items():
        if fresh:
            with place.alone():
                place.forget()
        if record := place.finished():
            table.add(*key, place.run(record, kept=True))
        else:
            waiting.append(key)
    if waiting:
        connect()
        try:
            _train(waiting, places, data, table)
        finally:
            ray.shutdown()

    runs = {arm: sorted(of_arm, key=lambda run: run.seed) for arm, of_arm in table.runs.items() if of_arm}
    if not runs:
        return None, table.failed
    whole = set(places) == {(arm, seed) for arm in study.arms for seed in study.seeds}
    complete = data.official and train_limit is None and not table.failed and whole
    environment = next(iter(runs.values()))[0].environment
    content = gather({"study": name}, data.split, study.target, runs, environment)
    path = write_evidence(content, RESULTS if complete else TRIAL)
    if complete and study.figure:
        report.save_study_figure(content, RESULTS)
    return path, table.failed


def connect():
    """Start Ray here, or join the cluster at RAY_ADDRESS, and ship src/ to it. Raises ClusterError within 30 s."""
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise ClusterError(
            f"RAY_ADDRESS is {address}: start the study on a machine of the cluster, with RAY_ADDRESS=auto"
        )
    if address != "local":  # a dead address would hold ray.init for many minutes, so another process tries it first
        try:
            subprocess.run(
                [sys.executable, "-c", "import ray, sys; ray.init(sys.argv[1], log_to_driver=False)", address],
                timeout=JOIN_SECONDS, capture_output=True, check=True,
            )  # fmt: skip
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            raise ClusterError(
                f"RAY_ADDRESS is {address}, where no Ray cluster can be joined: correct it, start the cluster "
                "(ray start --head), or unset it to use this machine alone"
            ) from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as job:
        shutil.copytree(ROOT / "src", f"{job}/src", ignore=shutil.ignore_patterns("__pycache__"))
        ray.init(
            address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR,
            runtime_env={"working_dir": job, "env_vars": {"OMP_NUM_THREADS": str(THREADS)}},
        )  # fmt: skip
    signal.signal(signal.SIGTERM, _stop)  # Ray has set one of its own


def _stop(*_):
    raise KeyboardInterrupt


def _train(waiting, places, data, table):
    """Train what waits, as many runs at a time as there are cores, and keep what comes back."""
    shared, commit = ray.put(data), git_commit()
    flying, lost = {}, dict.fromkeys(waiting, 0)
    try:
        while waiting or flying:
            for key in waiting[: max(0, _cores() - len(flying))]:
                place = places[key]
                waiting.remove(key)
                if not place.take():  # another study trains it: ask again later, there may be others until then
                    waiting.append(key)
                elif record := place.finished():
                    table.add(*key, place.run(record, kept=True))
                    place.release()
                else:
                    task = _run.remote(
                        place.model_class,
                        place.code_sha256,
                        shared,
                        place.recipe,
                        place.seed,
                        place.checkpoint(),
                        commit,
                    )
                    flying[task] = key
            table.show(len(flying), len(waiting))
            if not flying:
                time.sleep(1)
                continue
            ready, _ = ray.wait(list(flying), timeout=2)
            for task in ready:
                key = flying[task]
                place = places[key]
                try:
                    record = ray.get(next(task))
                    place.keep(record)
                    if "model" not in record:
                        continue  # a checkpoint
                    table.add(*key, place.run(record, kept=False))
                except ray.exceptions.RayTaskError as error:
                    table.fail(*key, _reason(error))
                except (ray.exceptions.RayError, StopIteration) as error:
                    lost[key] += 1
                    if lost[key] < ATTEMPTS:
                        print(f"LOST: {key[0]}, seed {key[1]} ({_reason(error)}): it is started again", flush=True)
                        waiting.insert(0, key)
                    else:
                        table.fail(*key, f"lost {ATTEMPTS} times: {_reason(error)}")
                del flying[task]
                place.release()
        table.show(0, 0)
    finally:
        for key in flying.values():
            places[key].release()


def _cores():
    return int(ray.cluster_resources().get("CPU", 0))


@ray.remote(num_cpus=1, num_returns="streaming", max_retries=0)
def _run(model_class, expected, data, recipe, seed, checkpoint, commit):
    if code_sha256(model_class) != expected:
        raise RuntimeError("src/ was edited after the study began: start the study again")
    torch.set_num_threads(THREADS)
    yield from stages(model_class, data, recipe, seed, checkpoint, commit=commit)


def _reason(error):
    """Return the first line of what went wrong in a worker."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip()
    return type(cause).__name__ + (f": {text.splitlines()[0]}" if text else "")


class _Table:
    """Hold the runs as they come in, and tell of them."""

    def __init__(self, study, planned):
        self.target, self.planned, self.started = study.target, planned, time.perf_counter()
        self.runs, self.failed, self.line = {arm: [] for arm in study.arms}, [], ""

    def add(self, arm, seed, run):
        """Add a finished run, and say how it ended and how its arm stands."""
        runs = self.runs[arm]
        runs.append(run)
        last = [accuracy(epoch) for epoch in run.history[-self.target.last_epochs :]]
        lowest = f", lowest of the last {len(last)} {percent(min(last))}" if len(last) > 1 else ""
        mean = statistics.mean(accuracy(run.history[-1]) for run in runs)
        print(
            f"{arm}, seed {seed}: final {percent(last[-1])}{lowest}; mean of {len(runs)} so far {mean:.3f} %"
            f"{', kept from before' if run.kept else ''}",
            flush=True,
        )

    def fail(self, arm, seed, reason):
        """Add a failed run, and say why."""
        self.failed.append((arm, seed, reason))
        print(f"FAILED: {arm}, seed {seed}: {reason}", flush=True)

    def show(self, running, waiting):
        """Say how many runs are done, running and failed, and how long the rest will take, where that has changed."""
        done = sum(len(of_arm) for of_arm in self.runs.values())
        line = f"{done} of {self.planned} done, {running} running, {len(self.failed)} failed"
        if line != self.line:
            self.line = line
            trained = sum(not run.kept for of_arm in self.runs.values() for run in of_arm)
            minutes = (time.perf_counter() - self.started) / 60
            left = f", about {minutes / trained * (running + waiting):.0f} min left" if trained and running else ""
            print(f"[{line}{left}]", flush=True)


def _seeds(text):
    """Read "0-29", "3" or "0,2,5-7" as a tuple of seeds."""
    seeds = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise argparse.ArgumentTypeError(f"seeds must look like 0-29 or 0,2,5-7, got {text!r}")
        if last >= 2**31 or len(seeds) + last - first >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"seeds must be at most {MOST_SEEDS} numbers below 2**31, got {text!r}")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"a seed stands twice in {text!r}")
    return tuple(seeds)


def main():
    parser = argparse.ArgumentParser(prog="python -m src.run_study", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("--seeds", type=_seeds, help="0-29 or 0,2,5-7: a trial with these seeds only")
    parser.add_argument("--train-limit", type=int, help="a trial with so many training images only")
    parser.add_argument("--fresh", action="store_true", help="train anew what an earlier execution has kept")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        path, failed = carry_out(arguments.name, arguments.seeds, arguments.train_limit, arguments.fresh)
    except (ClusterError, DataError, OSError, TypeError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print(f"Stopped; every finished epoch is kept. {GO_ON}", file=sys.stderr)
        sys.exit(130)
    print(f"Written: {shown(path)}" if path else "Not one run was finished: nothing is written.")
    if failed:
        sys.exit(f"{len(failed)} runs failed. Start the study again: it goes on with these.")


if __name__ == "__main__":
    main()
