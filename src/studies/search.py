"""Search a space of recipes: `python -m src.studies.search results/search/two_epochs_space.json`.

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

from src import shown
from src.evidence.records import Arm, read_evidence
from src.evidence.storage import check_writable
from src.learn.data import load_dataset
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.studies.cluster import ended_in_a_sentence, fit_all
from src.studies.run import write_found

BATCH = 4  # trials drawn at a time, so that the draws do not depend on which run ends first
STRENGTH = ("rotation", "translation", "scale", "shear")


def search(path):
    """Run a search, write its evidence, and return the path and the names of the trials, the best first.

    Raises ValueError for a file that declares no search, DataError, ClusterError, OSError.
    """
    path = Path(path).resolve()
    declared = read_evidence(path)
    if missing := {"network", "recipe", "space", "trials", "sampler_seed"} - declared.search.keys():
        raise ValueError(f"{shown(path)} declares no search: its search lacks {', '.join(sorted(missing))}")
    name_of_network, start = declared.search["network"], Recipe(**declared.search["recipe"])
    check_writable(path.parent)
    data = load_dataset(split=declared.split)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=declared.search["sampler_seed"], multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler)
    arms, losses = {}, {}
    while len(arms) < declared.search["trials"]:
        drawn = {}
        for _ in range(min(BATCH, declared.search["trials"] - len(arms))):
            trial = study.ask()
            drawn[f"trial {trial.number}"] = trial, recipe_of(trial, declared.search["space"], start)
        jobs = {
            (name, seed): (named(name_of_network), data, recipe, seed)
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
            arms[name] = Arm(name_of_network, recipe, runs)
            accuracy = statistics.mean(run.final for run in runs)
            print(f"{name}: loss {losses[name]:.4f}, accuracy {accuracy:.3f} %, {trial.params}", flush=True)
    if not losses:
        raise ValueError(f"all {len(arms)} trials failed: narrow the space in {shown(path)}")
    order = sorted(losses, key=losses.get)
    found = replace(declared, arms={name: arms[name] for name in order})
    return write_found(found, path, data.official), order


def recipe_of(trial, space, start):
    """Draw a recipe from the space: `start` with what the trial suggests."""
    changes = {}
    for name, limits in space.items():
        if isinstance(limits, dict):
            value = trial.suggest_categorical(name, limits["choices"])
        else:
            value = trial.suggest_float(name, *limits[:2], log="log" in limits)
        if name == "strength":
            changes |= {field: value * getattr(start, field) for field in STRENGTH}
        else:
            changes[name] = value
    return replace(start, **changes)


def main():
    parser = argparse.ArgumentParser(prog="python -m src.studies.search", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="evidence that declares a search")
    path = parser.parse_args().file
    with ended_in_a_sentence("search"):
        written, order = search(path)
    print(f"Written: {shown(written)}; the best trial is {order[0]}")


if __name__ == "__main__":
    main()
