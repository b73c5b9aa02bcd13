"""Run a study: `python -m src.studies.run results/studies/model_8.json`, or with `--seeds 0-4` a part of it.

The file names networks, recipes and seeds; a study is a list of calls of `fit`, which Ray carries out, one to a core.
With RAY_ADDRESS set they go to that cluster, code and data with them. Every finished run is kept in .runs/: a study
that was stopped goes on, and a machine that is lost costs the runs that it was at, which Ray starts again elsewhere.
Only a complete study on all of MNIST replaces the file; anything less goes to .runs/trial/.
"""

import argparse
import re
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from src import shown
from src.evidence.fingerprint import fingerprinted
from src.evidence.records import read_evidence, write_evidence
from src.evidence.storage import KEPT, TRIAL, check_writable
from src.learn.data import load_dataset
from src.learn.networks import named
from src.studies.cluster import ended_in_a_sentence, fit_all

MOST_SEEDS = 1000


def run_study(path, seeds=None, train_limit=None, fresh=False):
    """Make a study's runs, but those that are kept or in its incomplete file, and write its evidence.

    `seeds` stand in for the study's own; `fresh` forgets what is kept. Returns the path that was written, None where no
    run was finished, and the failed runs as a list of (arm, seed, reason): a failed run does not stop the rest. Raises
    ValueError for a file that is no evidence, DataError, ClusterError, and OSError where nothing can be written.
    """
    path = Path(path).resolve()
    study = read_evidence(path)
    check_writable(KEPT)
    data = load_dataset(split=study.split, train_limit=train_limit)
    goes_on = not (study.complete or fresh or seeds or train_limit)  # a file that has some of its runs
    done = {name: list(arm.runs) if goes_on else [] for name, arm in study.arms.items()}
    jobs = {
        (name, seed): (named(arm.network), data, arm.recipe, seed)
        for seed in seeds or study.seeds
        for name, arm in study.arms.items()
        if seed not in {run.seed for run in done[name]}
    }
    progress = StudyProgress(study, done, len(jobs))
    for key, outcome in fit_all(jobs, fresh):
        progress.add(*key, outcome)
    if not any(progress.runs.values()):
        return None, progress.failed
    arms = {  # runs that older code made keep the fingerprint of that code
        name: replace(
            arm,
            runs=tuple(sorted(progress.runs[name], key=lambda run: run.seed)),
            fingerprint=arm.fingerprint if done[name] else (),
        )
        for name, arm in study.arms.items()
    }
    found = replace(study, arms=arms)
    whole = train_limit is None and seeds is None and found.complete
    return write_found(found, path, data.official and whole), progress.failed


def write_found(found, path, is_evidence):
    """Write a study with its runs to its file and with fingerprints, or to .runs/trial/; return where it lies."""
    if is_evidence:
        return write_evidence(fingerprinted(found, load_dataset()), path)
    return write_evidence(found, TRIAL / path.name)


class StudyProgress:
    """The runs as they come in, printed."""

    def __init__(self, study, done, new):
        """Begin with the runs that are `done`, a list for each arm, and so many `new` ones to come."""
        self.study, self.started = study, time.perf_counter()
        self.runs, self.failed, self.new = done, [], 0
        self.planned = new + sum(map(len, done.values()))

    def add(self, name, seed, outcome):
        """Add a finished run, or the exception that it ended with, and print how its arm stands."""
        if isinstance(outcome, Exception):
            cause = getattr(outcome, "cause", None) or outcome
            reason = f"{type(cause).__name__}: {(str(cause).strip() or 'no message').splitlines()[0]}"
            self.failed.append((name, seed, reason))
            print(f"FAILED: {name}, seed {seed}: {reason}", flush=True)
        else:
            run, runs = outcome.run, self.runs[name]
            runs.append(run)
            self.new += not outcome.kept
            last = [epoch.accuracy for epoch in run.history[-self.study.target.last_epochs :]]
            lowest = f", lowest of the last {len(last)} {min(last):.2f} %" if len(last) > 1 else ""
            print(
                f"{name}, seed {seed}: final {run.final:.2f} %{lowest}; "
                f"mean of {len(runs)} so far {statistics.mean(r.final for r in runs):.3f} %"
                f"{', kept from before' if outcome.kept else ''}",
                flush=True,
            )
        self._count()

    def _count(self):
        done = sum(map(len, self.runs.values()))
        left = self.planned - done - len(self.failed)
        minutes = (time.perf_counter() - self.started) / 60 / max(1, self.new) * left
        wait = f", about {minutes:.0f} min left" if left and self.new else ""
        print(f"[{done} of {self.planned} done, {len(self.failed)} failed{wait}]", flush=True)


def seeds_of(text):
    """Read "0-29", "3" or "0,2,5-7" as a tuple of seeds. Raises argparse.ArgumentTypeError for anything else."""
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
    parser = argparse.ArgumentParser(prog="python -m src.studies.run", description=__doc__.split("\n")[0])
    parser.add_argument("file", help="evidence, or a study declared in the same form")
    parser.add_argument("--seeds", type=seeds_of, help="0-29 or 0,2,5-7: a trial with these seeds only")
    parser.add_argument("--train-limit", type=int, help="a trial on the first N training images")
    parser.add_argument("--fresh", action="store_true", help="ignore kept runs and train anew")
    arguments = parser.parse_args()
    with ended_in_a_sentence("study"):
        path, failed = run_study(arguments.file, arguments.seeds, arguments.train_limit, arguments.fresh)
    print(f"Written: {shown(path)}" if path else "No run was finished: nothing was written.")
    if failed:
        sys.exit(f"{len(failed)} runs failed. Start the study again: it retries them.")


if __name__ == "__main__":
    main()
