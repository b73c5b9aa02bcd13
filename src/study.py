"""Carry out a study of src/studies.py on Ray: `python -m src.study record`, or `... record --seeds 0-4`.

Ray starts by itself and gives each run a core of its own; with RAY_ADDRESS set the runs go to that cluster, whose
machines must share this checkout. A finished run is kept in .runs/ at once, a running one after each epoch, so a study
that was stopped goes on where it was. Only a complete study on all of MNIST writes results/study_NAME.json and its
figure; anything less goes to .runs/trial/.
"""

import argparse
import os
import re
import statistics
import sys
import time

import ray
import torch

from src import plots
from src.data import ROOT, DataError, load_mnist
from src.results import RESULTS, TRIAL, evidence, percent, write_evidence
from src.runs import fit
from src.studies import STUDIES

# Two runs with a thread each get more done than one run with two.
THREADS = 1


def carry_out(name, seeds=None, train_limit=None):
    """Carry out a study's runs, but those that are kept, and write its evidence.

    `seeds` stand in for the study's own. Returns the path of the evidence, None where no run was finished, and the
    failed runs as a list of (arm, seed, error): a failed run does not stop the rest. Raises DataError for bad data,
    ValueError when src/ was edited so that the runs do not belong together.
    """
    arms, declared, target = STUDIES[name]
    planned = [(arm, seed) for seed in seeds or declared for arm in arms]
    data = load_mnist(train_limit=train_limit)
    started, runs, failed = time.perf_counter(), {arm: [] for arm in arms}, []
    workers = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(THREADS)}
    ray.init(
        os.environ.get("RAY_ADDRESS", "local"),
        log_to_driver=False, include_dashboard=False, runtime_env={"env_vars": workers},
    )  # fmt: skip
    try:
        shared = ray.put(data)
        waiting = {_run.remote(*arms[arm], seed, shared): (arm, seed) for arm, seed in planned}
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=60)
            for task in ready:
                arm, seed = waiting.pop(task)
                try:
                    runs[arm].append(ray.get(task))
                    print(_told(arm, runs[arm], target), flush=True)
                except ray.exceptions.RayError as error:
                    failed.append((arm, seed, _reason(error)))
                    print(f"FAILED: {arm}, seed {seed}: {failed[-1][2]}", flush=True)
            print(_progress(runs, len(failed), len(waiting), time.perf_counter() - started), flush=True)
    finally:
        ray.shutdown()

    runs = {arm: sorted(of_arm, key=lambda run: run.seed) for arm, of_arm in runs.items() if of_arm}
    if not runs:
        return None, failed
    complete = data.official and train_limit is None and not failed and set(seeds or declared) == set(declared)
    environment = next(iter(runs.values()))[0].environment
    content = evidence({"study": name}, target, runs, environment)
    path = write_evidence(content, RESULTS if complete else TRIAL)
    if complete:
        plots.save(plots.study(content), path.with_suffix(".png"))
    return path, failed


@ray.remote(num_cpus=1)
def _run(model_class, recipe, seed, data):
    torch.set_num_threads(THREADS)
    return fit(model_class, data, recipe, seed)


def _reason(error):
    """Return the first line of what went wrong in a worker."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip()
    return type(cause).__name__ + (f": {text.splitlines()[0]}" if text else "")


def _told(arm, runs, target):
    """Say how an arm's latest run ended, and how the arm stands."""
    last = runs[-1].history[-target.last_epochs :]
    lowest = min(last, key=lambda epoch: epoch["test_correct"])
    finals = [100 * run.history[-1]["test_correct"] / run.history[-1]["test_total"] for run in runs]
    several = f", lowest of the last {len(last)} {percent(lowest['test_correct'], lowest['test_total'])}"
    return (
        f"{arm}, seed {runs[-1].seed}: final {percent(last[-1]['test_correct'], last[-1]['test_total'])}"
        f"{several if len(last) > 1 else ''}; mean of {len(runs)} so far {statistics.mean(finals):.3f} %"
    )


def _progress(runs, failed, waiting, elapsed):
    """Say how many runs are done, running and failed, and how long the rest will take."""
    done = sum(len(of_arm) for of_arm in runs.values())
    trained = sum(not run.kept for of_arm in runs.values() for run in of_arm)
    running = min(waiting, int(ray.cluster_resources().get("CPU", 0)))
    left = f", about {elapsed / trained * waiting / 60:.0f} min left" if trained and waiting else ""
    return f"[{done} of {done + failed + waiting} done, {running} running, {failed} failed{left}]"


def _seeds(text):
    """Read "0-29", "3" or "0,2,5-7" as a tuple of seeds."""
    seeds = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise argparse.ArgumentTypeError(f"seeds must look like 0-29 or 0,2,5-7, got {text!r}")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"a seed stands twice in {text!r}")
    return tuple(seeds)


def main():
    parser = argparse.ArgumentParser(prog="python -m src.study", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("--seeds", type=_seeds, help="0-29 or 0,2,5-7: a trial with these seeds only")
    parser.add_argument("--train-limit", type=int, help="a trial with so many training images only")
    arguments = parser.parse_args()
    try:
        path, failed = carry_out(arguments.name, arguments.seeds, arguments.train_limit)
    except (DataError, ValueError) as error:
        sys.exit(str(error))
    print(f"Written: {path.relative_to(ROOT)}" if path else "Not one run was finished: nothing is written.")
    if failed:
        sys.exit(f"{len(failed)} runs failed. Start the study again: it goes on with these.")


if __name__ == "__main__":
    main()
