"""Run a study: `python -m src.studies.run results/studies/model_8.json`, or with `--seeds 0-4` a part of it.

The file names networks, recipes and seeds; a study is a list of calls of `fit`, which Ray makes, one to a core.
With RAY_ADDRESS set they go to that cluster, code and data with them. Every finished run is kept in .runs/ and, where
the study is run whole, written into its file: one that was stopped goes on, here or on another machine, and a machine
that is lost costs the runs that it was at, which Ray starts again elsewhere. A part of a study goes to .runs/trial/.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from src import display_path
from src.evidence.fingerprint import fingerprinted
from src.evidence.runs import Trained
from src.evidence.schema import Arm, Evidence, read_evidence, write_evidence
from src.evidence.storage import KEPT, TRIAL, check_writable
from src.learn.data import DATASETS, load_dataset
from src.learn.networks import named
from src.learn.training import Job
from src.studies.cluster import fit_all
from src.studies.command import ended_in_a_sentence, seeds_of


def run_study(
    path: str | Path, seeds: tuple[int, ...] | None = None, train_limit: int | None = None, fresh: bool = False
) -> tuple[Path | None, list[tuple[str, int, str]]]:
    """Make a study's runs, but those that are kept or in its incomplete file, and write its evidence.

    `seeds` stand in for the study's own; `fresh` forgets what is kept. Returns the path that was written, None where no
    run was finished, and the failed runs as a list of (arm, seed, reason): a failed run does not stop the rest. Raises
    ValueError for a file that is no evidence, DataError, ClusterError, and OSError where nothing can be written.
    """
    path = Path(path).resolve()
    study = read_evidence(path)
    check_writable(KEPT)
    dataset = DATASETS[study.dataset]
    data = load_dataset(dataset=dataset, split=study.split, train_limit=train_limit)
    whole = data.official and seeds is None and train_limit is None
    again = study.complete or fresh or not whole  # what the file has is then replaced in the end, or stays
    if again:
        study = without_runs(study, seeds)
    if whole:  # before hours are spent: an arm that cannot be trained at all is found now
        study = fingerprinted(study, load_dataset(dataset=dataset))
    written = path if whole else TRIAL / path.name
    jobs = {
        (name, seed): Job(named(arm.network), data, arm.recipe, seed)
        for seed in study.seeds
        for name, arm in study.arms.items()
        if seed not in {run.seed for run in arm.runs}
    }
    progress = StudyProgress(study, len(jobs))
    for key, outcome in fit_all(jobs, fresh):
        progress.add(*key, outcome)
        if not again:
            write_evidence(progress.study, path)
    if not any(arm.runs for arm in progress.study.arms.values()):
        return None, progress.failed
    if whole and again and not progress.study.complete:
        written = TRIAL / path.name
    return write_evidence(progress.study, written), progress.failed


def without_runs(study: Evidence, seeds: tuple[int, ...] | None = None) -> Evidence:
    """Return the declaration of a study alone, of other seeds where they are given."""
    arms = {name: Arm(arm.network, arm.recipe) for name, arm in study.arms.items()}
    return replace(study, arms=arms, seeds=seeds or study.seeds)


class StudyProgress:
    """A study as its runs come in, printed."""

    def __init__(self, study: Evidence, new: int):
        """Begin with the runs that the study has, and so many `new` ones to come."""
        self.study, self.started = study, time.perf_counter()
        self.failed: list[tuple[str, int, str]] = []
        self.new, self.planned = 0, new + self._done()

    def add(self, name: str, seed: int, outcome: Trained | Exception) -> None:
        """Add a finished run, or the exception that it ended with, and print how its arm stands."""
        if isinstance(outcome, Exception):
            cause = getattr(outcome, "cause", None) or outcome
            reason = f"{type(cause).__name__}: {(str(cause).strip() or 'no message').splitlines()[0]}"
            self.failed.append((name, seed, reason))
            print(f"FAILED: {name}, seed {seed}: {reason}", flush=True)
        else:
            run, arm = outcome.run, self.study.arms[name]
            arm = replace(arm, runs=sorted([*arm.runs, run], key=lambda run: run.seed))
            self.study = replace(self.study, arms=self.study.arms | {name: arm})
            self.new += not outcome.kept
            last = arm.counted(self.study.target)[seed]
            lowest = f", lowest of the last {len(last)} {min(last):.2f} %" if len(last) > 1 else ""
            print(
                f"{name}, seed {seed}: final {run.final:.2f} %{lowest}; "
                f"mean of {len(arm.runs)} so far {statistics.mean(arm.finals.values()):.3f} %"
                f"{', kept from before' if outcome.kept else ''}",
                flush=True,
            )
        self._count()

    def _done(self):
        return sum(len(arm.runs) for arm in self.study.arms.values())

    def _count(self):
        done = self._done()
        left = self.planned - done - len(self.failed)
        minutes = (time.perf_counter() - self.started) / 60 / max(1, self.new) * left
        wait = f", about {minutes:.0f} min left" if left and self.new else ""
        print(f"[{done} of {self.planned} done, {len(self.failed)} failed{wait}]", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.studies.run", description=__doc__.split("\n")[0])
    parser.add_argument("file", help="evidence, or a study declared in the same form")
    parser.add_argument("--seeds", type=seeds_of, help="0-29 or 0,2,5-7: a trial with these seeds only")
    parser.add_argument("--train-limit", type=int, help="a trial on the first N training images")
    parser.add_argument("--fresh", action="store_true", help="ignore kept runs and train anew")
    arguments = parser.parse_args()
    with ended_in_a_sentence("study"):
        path, failed = run_study(arguments.file, arguments.seeds, arguments.train_limit, arguments.fresh)
    print(f"Written: {display_path(path)}" if path else "No run was finished: nothing was written.")
    if failed:
        sys.exit(f"{len(failed)} runs failed, as said above. Start the study again: it tries them again.")


if __name__ == "__main__":
    main()
