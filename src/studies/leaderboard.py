"""Records by size and by epochs: `python -m src.studies.leaderboard results/studies/X.json` says whether X is one.

The command checks a submission as CI does: whether it keeps the rules of results/leaderboard.md, whether this code
gives its fingerprints, what the first seed of its first arm gives again, and whether that arm beats the records.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scipy.stats import ttest_ind

from src import ROOT
from src.evidence.fingerprint import deviation, fingerprint
from src.evidence.git import git
from src.evidence.runs import fit
from src.evidence.schema import Evidence, path_to, read_evidence, seeds_text
from src.evidence.standings import LEAST_SEEDS, OUR_STUDIES, Entry, best, categories, entries, entry_of, qualifies
from src.learn.data import DataError, load_dataset
from src.learn.networks import named
from src.learn.training import Job

P = 0.01  # a new record needs a higher mean than the old one, by Welch's t-test, one-sided
# What a study that was declared in schema 3 calls a recipe's fields.
RENAMED = {
    "ema": "ema_decay",
    "lr_decay": "lr_decay_fraction",
    "warmup": "warmup_fraction",
    "augmentation_decay": "augmentation_decay_fraction",
}
REPEAT = 4.0  # standard deviations between a run and its repetition, at most: another processor rounds differently


def p_value(new: Entry, old: Entry) -> float:
    """Return the chance of so much higher a mean if both were as good: Welch's t-test, one-sided."""
    finals = (list(entry.arm.finals.values()) for entry in (new, old))
    return ttest_ind(*finals, equal_var=False, alternative="greater").pvalue


def verdicts(entry: Entry, others: list[Entry]) -> Iterator[str]:
    """Write for each category that an Entry fits in whether it is a record."""
    for name, parameters, epochs in categories():
        if not qualifies(entry.arm, parameters, epochs):
            continue
        old = best(others, parameters, epochs)
        if not entry.counts:
            yield f"{name}: no record, {len(entry.arm.runs)} seeds are fewer than {LEAST_SEEDS}"
        elif old is None or not old.counts:
            yield f"{name}: the first record, {entry.mean.mean:.3f} %"
        else:
            p = p_value(entry, old)
            verdict = "a record" if p < P else "no record"
            yield f"{name}: {verdict}, {entry.mean.mean:.3f} % against {old.mean.mean:.3f} %, p = {p:.2g}"


def refused(study: Evidence) -> str | None:
    """Say which rule a submitted study breaks, as far as its file and the commits show it; None where it keeps all."""
    entry, file = entry_of(study), path_to(study.name).relative_to(ROOT).as_posix()
    if not any(qualifies(entry.arm, parameters, epochs) for _, parameters, epochs in categories()):
        return f"{entry.arm.parameters:,} parameters, {entry.arm.recipe.epochs} epochs: too many for every category"
    if len(study.seeds) < LEAST_SEEDS:
        return f"{len(study.seeds)} seeds are fewer than {LEAST_SEEDS}: declare more before any of them runs"
    for run in entry.arm.runs:
        if not _declared(run, file, study, entry):
            return (
                f"seed {run.seed} was trained at commit {run.environment.git_commit}, where {file} does not declare "
                "it: commit the study without runs, then train seeds that have not run"
            )
    return None


def _declared(run, file, study, entry):
    """Say whether the commit at which a run was trained has the study, with its seeds and arm and without that run."""
    try:
        then = _committed(run.environment.git_commit, file)
    except subprocess.CalledProcessError:  # there is no such commit, as with "-dirty", or no such file in it
        return False
    arm = then["arms"].get(entry.name)
    return (
        arm is not None
        and then["seeds"] == list(study.seeds)
        and {RENAMED.get(key, key): value for key, value in arm["recipe"].items()} == entry.arm.recipe.changed()
        and _layers(arm["network"]) == _layers(entry.arm.network)
        and run.seed not in {earlier["seed"] for earlier in arm.get("runs", [])}
    )


@functools.cache  # the runs of a study mostly share a commit
def _committed(commit, file):
    return json.loads(git("show", f"{commit}:{file}"))


def _layers(network):
    return [str(layer) for layer in named(network)().children()]  # by whatever name


def check(path: str | Path) -> Iterator[str]:
    """Yield what a check of a study finds, line by line. Raises ValueError for what does not stand."""
    study = read_evidence(path)
    if (study.dataset, study.split) != ("MNIST", "test"):
        raise ValueError(f"{study.name} is of {study.dataset}'s {study.split} split: only MNIST's test images count")
    if study.by and (reason := refused(study)):
        raise ValueError(f"{study.name} cannot be a record: {reason}")
    if not study.complete:
        raise ValueError(f"{study.name} lacks runs: run python -m src.studies.run {path}")
    data = load_dataset()
    for name, arm in study.arms.items():
        excess, what = deviation(fingerprint(named(arm.network), arm.recipe, data), arm.fingerprint)
        if excess > 1:
            raise ValueError(f"{name} was not made by this code: {what} is off by {excess:.3g} tolerances")
        yield f"{name}: the fingerprint is this code's"
    entry = entry_of(study)
    run = entry.arm.runs[0]
    with tempfile.TemporaryDirectory() as folder:  # so that it is trained again
        again = fit(Job(named(entry.arm.network), data, entry.arm.recipe, run.seed), folder=folder).run
    apart, allowed = abs(again.final - run.final), max(REPEAT * entry.mean.sd, 0.05)
    if apart > allowed:
        raise ValueError(f"seed {run.seed} ended at {run.final:.2f} %, again at {again.final:.2f} %: too far apart")
    yield f"seed {run.seed} again: {again.final:.2f} %, the study has {run.final:.2f} %"
    if not (study.by or study.name in OUR_STUDIES):
        yield f'{study.name} enters no category, as it is not signed: declare it with by="your name, your page"'
        return
    yield f"{entry.name}, the first arm, enters with {seeds_text(study.seeds)}:"
    yield from verdicts(entry, [other for other in entries() if other.study != study.name])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.studies.leaderboard", description=__doc__.split("\n")[0])
    parser.add_argument("file", help="a study in results/studies/")
    try:
        for line in check(parser.parse_args().file):
            print(line, flush=True)
    except (ArithmeticError, DataError, OSError, ValueError) as error:  # the first: a loss that is NaN
        sys.exit(str(error))


if __name__ == "__main__":
    main()
