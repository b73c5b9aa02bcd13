"""Score trained networks on digits from outside MNIST: `python -m src.studies.usps` writes results/usps.json.

USPS holds 9,298 digits that a machine cut out of the addresses of US mail (Hull 1994). No network here was trained on
them, and one rule stands: nothing is ever chosen by them. What the file has is kept; delete a network's part of it to
have it scored again.
"""

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

import numpy as np
import torch
from torchvision.datasets import USPS

from src import display_path
from src.demo.picture import centred
from src.demo.reader import load
from src.evidence.provenance import environment
from src.evidence.results import Confidence, Unwarned, Usps, UspsArm, UspsImages, UspsRun, read_usps
from src.evidence.runs import fit
from src.evidence.schema import read_named
from src.evidence.storage import RESULTS, write_json
from src.learn.data import Data, DataError, load_dataset, raw_folder
from src.learn.evaluation import logits_of
from src.learn.images import Preprocess
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.learn.training import Job
from src.studies import baselines
from src.studies.calibration import expected_calibration_error, fit_temperature, risk_coverage

PATH = RESULTS / "usps.json"
WHAT = "correct answers on USPS, by part; confusion of all runs: row the digit, column the answer"
RULE = "nothing is ever chosen by these images"
PARTS = ("train", "test")  # as USPS names them; both are unseen here
# Arms of studies, how many of their seeds are scored (all where their runs count as confirmation), and what their
# recipe is changed by.
ARMS = {
    "Model_8": ("model_8_confirmation", 30, {}),
    "Model_9": ("model_9_confirmation", 30, {}),
    "Model_8, raw images": ("raw_images", 3, {}),
    "Model_9, raw images": ("model_9_confirmation", 3, {"deslant": False, "size_normalisation": 0.0}),
}
OTHER_SEEDS = range(3)
CONFIDENT = "Model_8"  # the network of results/ whose confidence is measured
VALIDATION_SEED = 100
BASELINES = "src/studies/baselines.py"  # they compute in float32
Predict = Callable[[torch.Tensor], torch.Tensor]  # from images (N, 1, 28, 28) to logits (N, classes)


def usps() -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Return USPS's images as MNIST's were made, uint8 (9298, 1, 28, 28), its labels (9298,), and each part's size.

    Raises DataError where it cannot be downloaded.
    """
    folder = raw_folder().parents[1] / "USPS"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = [USPS(folder, train=part == "train", download=True) for part in PARTS]
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{folder} lacks USPS and it could not be downloaded ({error}): put its two files there"
        ) from None
    images = torch.cat([centred(image / np.float32(255)) for part in parts for image in part.data])
    labels = torch.tensor([label for part in parts for label in part.targets])
    return images, labels, [len(part) for part in parts]


def entrants(data: Data) -> dict[str, tuple[str, Iterable[int], Callable[[int], Predict]]]:
    """Return by name what is scored: where it comes from, its seeds, and what trains the one of a seed to predict."""
    found = {}
    for name, (study, count, changes) in ARMS.items():
        evidence = read_named(study)
        arm = next(iter(evidence.arms.values()))
        network, recipe = named(arm.network), replace(arm.recipe, **changes)

        def trained(seed, network=network, recipe=recipe):
            return fit(Job(network, data, recipe, seed)).predict

        found[name] = study, evidence.seeds[:count], trained
    found["PyTorch's MNIST example"] = BASELINES, OTHER_SEEDS, functools.partial(example, data)
    return found


def example(data: Data, seed: int) -> Predict:
    """Train PyTorch's MNIST example to predict, in float32 as it trains."""
    *_, (model, _) = baselines.pytorch_example(seed)
    raw = Preprocess(Recipe(), data.statistics)
    return functools.partial(logits_of, model, preprocess=raw, precision=torch.float32)


def score(
    predict: Predict, images: torch.Tensor, labels: torch.Tensor, sizes: list[int]
) -> tuple[list[int], torch.Tensor]:
    """Return how many images of each part a network reads, and how often it takes digit i for j, (10, 10)."""
    answers = predict(images)[:, :10].argmax(1)
    correct = [int(part.sum()) for part in (answers == labels).split(sizes)]
    return correct, torch.bincount(10 * labels + answers, minlength=100).view(10, 10)


def measure_confidence(data: Data, images: torch.Tensor, labels: torch.Tensor) -> Confidence:
    """Return how far the network of results/ can be trusted where it is sure.

    The temperature is fitted on the validation images, by a network that was trained without them.
    """
    reader, arm = load(CONFIDENT), read_named(ARMS[CONFIDENT][0]).arms[CONFIDENT]
    held_out = load_dataset(split="validation")
    twin = fit(Job(named(arm.network), held_out, arm.recipe, VALIDATION_SEED))
    temperature = fit_temperature(twin.predict(held_out.eval_images)[:, :10], held_out.eval_labels)
    logits, distance = reader.logits_and_distance(images)
    right = logits.argmax(1) == labels
    answered = [round(len(labels) * (1 - k / 100)) for k in range(41)]
    likely = logits.softmax(1)
    scores = {"distance from training digits": -distance, "largest probability": likely.amax(1)}
    unwarned = distance <= reader.detector.limit
    errors = {"softmax": likely, "softmax with temperature": (logits / temperature).softmax(1)}
    return Confidence(
        network=CONFIDENT,
        temperature=round(temperature, 4),
        expected_calibration_error={
            name: round(expected_calibration_error(of_each, labels), 5) for name, of_each in errors.items()
        },
        without_warning=Unwarned(int(unwarned.sum()), int((unwarned & ~right).sum())),
        answered=answered,
        wrong={name: risk_coverage(of_each, right, answered) for name, of_each in scores.items()},
    )


def main() -> None:
    try:
        data = load_dataset()
        images, labels, sizes = usps()
        if PATH.exists():
            found = read_usps()
        else:
            confidence = measure_confidence(data, images, labels)
            found = Usps(WHAT, RULE, UspsImages(*sizes), confidence, {})
        made_with = environment(data)
        for name, (source, seeds, trained) in entrants(data).items():
            here = replace(made_with, precision="float32") if source == BASELINES else made_with
            arm = found.arms.get(name) or UspsArm(source, here, (), [[0] * 10] * 10)
            done = {run.seed for run in arm.runs}
            for seed in seeds:
                if seed in done:
                    continue
                correct, confused = score(trained(seed), images, labels, sizes)
                confusion = (torch.tensor(arm.confusion) + confused).tolist()
                arm = replace(arm, runs=(*arm.runs, UspsRun(seed, *correct)), confusion=confusion)
                found = replace(found, arms=found.arms | {name: arm})
                write_usps(found)
                print(f"{name}, seed {seed}: {100 * sum(correct) / len(labels):.2f} % of {len(labels):,}", flush=True)
    except (DataError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"Written: {display_path(PATH)}")


def write_usps(found: Usps) -> None:
    """Write results/usps.json, a run or a row of the confusion a line."""
    write_json(PATH, asdict(found), one_line=(r"\{\s+\"seed\"[^}]*\}", r"\[\s+\d[^\]]*\]"))


if __name__ == "__main__":
    main()
