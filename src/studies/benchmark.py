"""Time whole trainings, ours beside other people's: `python -m src.studies.benchmark`.

Ours is Model_8 by the recipes for few epochs, the others are those of src/studies/baselines.py. Timed is all from
reading the files to the score of the last epoch. Each run has a process of its own, which may use every core. A short
run takes so little time that whatever else a computer does shows in it: it is made three times, and the run of median
time counts. For Linux, where peak memory is in KiB.
"""

import functools
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace

from torch import nn

from src.evidence.provenance import environment
from src.evidence.results import COMMON_LOOP, Benchmark, Timed
from src.evidence.schema import read_named
from src.evidence.storage import RESULTS, check_writable, write_json
from src.learn.data import DataError, load_dataset
from src.learn.recipe import Recipe
from src.learn.training import Job, train_epochs
from src.model import Model_8
from src.studies import baselines

PATH = RESULTS / "benchmark.json"
STUDY = "three_epochs_confirmation"  # whose recipes are ours
SHORT, REPEATS = 3, 3  # epochs, and how often a run of so few is made
SEED = 0
Program = Callable[[int], Iterator[tuple[nn.Module, int]]]  # see src/studies/baselines.py


def our_loop(recipe: Recipe, seed: int) -> Iterator[tuple[nn.Module, int]]:
    """Train Model_8 by a recipe; yield it and how many of the 10,000 test images it reads, after each epoch."""
    for state in train_epochs(Job(Model_8, load_dataset(), recipe, seed)):
        yield state.evaluated_model(), state.history[-1].eval_correct


def programs() -> dict[str, Program]:
    """Return every program that is timed, by its name."""
    ours = {name: functools.partial(our_loop, arm.recipe) for name, arm in read_named(STUDY).arms.items()}
    return ours | {
        COMMON_LOOP: baselines.common_loop,
        "PyTorch's MNIST example": baselines.pytorch_example,
        "train_mnist_fast": baselines.train_mnist_fast,
    }


def timed(program: Program) -> Timed:
    """Run a program, and return it Timed."""
    seconds, correct, started = [], [], time.perf_counter()
    for model, score in program(SEED):  # noqa: B007 (the last is used)
        seconds.append(round(time.perf_counter() - started - sum(seconds), 2))
        correct.append(score)
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Timed(sum(weights.numel() for weights in model.parameters()), round(peak / 1024), seconds, correct)


def in_a_process(program: Program) -> Timed:
    """Return timed(program), run in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(timed, program).result()


def main() -> None:
    try:
        check_writable(RESULTS)
        data = load_dataset()  # which downloads it where it is missing
    except (DataError, OSError) as error:
        sys.exit(str(error))
    found = {}
    for name, program in programs().items():
        runs = [in_a_process(program)]
        if len(runs[0].epochs) <= SHORT:
            runs += [in_a_process(program) for _ in range(REPEATS - 1)]
        runs.sort(key=lambda run: run.seconds)
        found[name] = replace(runs[len(runs) // 2], runs=[round(run.seconds, 1) for run in runs])
        print(f"{name}: {found[name].runs} s, {found[name].correct[-1] / 100:.2f} %", flush=True)
    write_json(PATH, asdict(Benchmark(environment(data), found)), (r"\[[^\]]*\]",))


if __name__ == "__main__":
    main()
