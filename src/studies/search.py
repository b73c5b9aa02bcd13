"""Search a space of recipes: `python -m src.studies.search results/search/NAME.json`.

The file says, under "search", which network to train, from which recipe to start, a space, and how many trials to draw
from it with Optuna's TPE sampler. Each trial is trained from each of the file's seeds and judged by the mean
loss on the split's images after the last epoch. The trials become the file's arms, the best first. Draws depend on the
earlier trials and on nothing else, and finished runs are kept, so that a search which was stopped goes on.

A space maps a field of Recipe to [low, high], [low, high, "log"], or {"choices": [...]}; "strength" multiplies
rotation, translation, scale and shear together.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import optuna

from src import display_path
from src.evidence.fingerprint import fingerprinted
from src.evidence.schema import Arm, Choices, Search, read_evidence, write_evidence
from src.evidence.storage import TRIAL, check_writable
from src.learn.data import DATASETS, load_dataset
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.learn.training import Job
from src.studies.cluster import fit_all
from src.studies.command import ended_in_a_sentence

BATCH = 4  # trials drawn at a time, so that the draws do not depend on which run ends first
STRENGTH = ("rotation", "translation", "scale", "shear")


def run_search(path: str | Path) -> tuple[Path, list[str]]:
    """Run a search, write its evidence, and return the path and the names of the trials, the best first.

    Raises ValueError for a file that declares no search, DataError, ClusterError, OSError.
    """
    path = Path(path).resolve()
    declared = read_evidence(path)
    if declared.search is None:
        raise ValueError(f"{display_path(path)} declares no search: give it one, or use python -m src.studies.run")
    search = declared.search
    check_writable(path.parent)
    data = load_dataset(dataset=DATASETS[declared.dataset], split=declared.split)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=search.sampler_seed, multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    arms, losses = {}, {}
    while len(arms) < search.trials:
        drawn = {}
        for _ in range(min(BATCH, search.trials - len(arms))):
            trial = study.ask()
            drawn[f"trial {trial.number}"] = trial, recipe_of(trial, search)
        jobs = {
            (name, seed): Job(named(search.network), data, recipe, seed)
            for name, (_, recipe) in drawn.items()
            for seed in declared.seeds
        }
        outcomes = dict(fit_all(jobs))
        for name, (trial, recipe) in drawn.items():
            of_trial = [outcomes[name, seed] for seed in declared.seeds]
            if failed := [outcome for outcome in of_trial if isinstance(outcome, Exception)]:
                print(f"{name} failed: {failed[0]}", flush=True)
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                arms[name] = None
                continue
            runs = tuple(outcome.run for outcome in of_trial)
            losses[name] = statistics.mean(run.history[-1].eval_loss for run in runs)
            study.tell(trial, losses[name])
            arms[name] = Arm(search.network, recipe, runs)
            accuracy = statistics.mean(run.final for run in runs)
            print(f"{name}: loss {losses[name]:.4f}, accuracy {accuracy:.3f} %, {trial.params}", flush=True)
    if not losses:
        raise ValueError(f"all {len(arms)} trials failed: narrow the space in {display_path(path)}")
    order = sorted(losses, key=losses.get)
    found = replace(declared, arms={name: arms[name] for name in order})
    if not data.official:
        return write_evidence(found, TRIAL / path.name), order
    return write_evidence(fingerprinted(found, load_dataset(dataset=DATASETS[declared.dataset])), path), order


def recipe_of(trial: optuna.trial.BaseTrial, search: Search) -> Recipe:
    """Draw a recipe from a search's space: its first recipe with what the trial suggests."""
    changes = {}
    for name, limits in search.space.items():
        if isinstance(limits, Choices):
            value = trial.suggest_categorical(name, limits.choices)
        else:
            value = trial.suggest_float(name, *limits[:2], log="log" in limits)
        if name == "strength":
            changes |= {field: value * getattr(search.recipe, field) for field in STRENGTH}
        else:
            changes[name] = value
    return replace(search.recipe, **changes)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m src.studies.search", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="evidence that declares a search")
    path = parser.parse_args().file
    with ended_in_a_sentence("search"):
        written, order = run_search(path)
    print(f"Written: {display_path(written)}; the best trial is {order[0]}")


if __name__ == "__main__":
    main()
