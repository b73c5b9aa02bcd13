"""Score trained networks on digits from outside MNIST: `python -m src.studies.outside` writes results/outside.json.

USPS holds 9,298 digits that a machine cut out of the addresses of US mail (Hull 1994). No network here was trained on
them, and one rule stands: nothing is ever chosen by them. What the file has is kept; delete a network's part of it to
have it scored again.
"""

import functools
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torchvision.datasets import USPS

from src import shown
from src.demo.picture import centred
from src.demo.reader import load
from src.evidence.confidence import calibration_error, fit_temperature, risk_coverage
from src.evidence.records import read_named
from src.evidence.runs import environment, fit
from src.evidence.storage import RESULTS, write_json
from src.learn.data import DataError, load_dataset, raw_folder
from src.learn.networks import named
from src.learn.recipe import Recipe
from src.learn.training import predict
from src.studies import others

PATH = RESULTS / "outside.json"
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


def usps():
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


def entrants(data):
    """Return by name what is scored: where it comes from, its seeds, and what trains or picks up the one of a seed."""
    found = {}
    for name, (study, count, changes) in ARMS.items():
        evidence = read_named(study)
        arm = next(iter(evidence.arms.values()))
        recipe = replace(arm.recipe, **changes)
        found[name] = study, evidence.seeds[:count], functools.partial(fit, named(arm.network), data, recipe)
    found["PyTorch's MNIST example"] = "src/studies/others.py", OTHER_SEEDS, functools.partial(trained_example, data)
    return found


def trained_example(data, seed):
    """Train PyTorch's MNIST example, and return what predicts by it."""
    *_, (model, _) = others.pytorch_example(seed)
    return SimpleNamespace(
        predict=lambda images: predict(model, images, Recipe(), data.statistics, precision=torch.float32)
    )


def score(trained, images, labels, sizes):
    """Return how many images of each part a network reads, and how often it takes digit i for j, (10, 10)."""
    answers = trained.predict(images)[:, :10].argmax(1)
    correct = [int(part.sum()) for part in (answers == labels).split(sizes)]
    return correct, torch.bincount(10 * labels + answers, minlength=100).view(10, 10)


def measure_confidence(data, images, labels):
    """Return how far the network of results/ can be trusted where it is sure.

    The temperature is fitted on the validation images, by a network that was trained without them.
    """
    reader, arm = load(CONFIDENT), read_named(ARMS[CONFIDENT][0]).arms[CONFIDENT]
    held_out = load_dataset(split="validation")
    twin = fit(named(arm.network), held_out, arm.recipe, VALIDATION_SEED)
    temperature = fit_temperature(twin.predict(held_out.eval_images)[:, :10], held_out.eval_labels)
    logits, distance = reader.logits_and_distance(images)
    right = logits.argmax(1) == labels
    answered = [round(len(labels) * (1 - k / 100)) for k in range(41)]
    likely = logits.softmax(1)
    scores = {"distance from training digits": -distance, "largest probability": likely.amax(1)}
    unwarned = distance <= reader.familiarity.limit
    return {
        "network": CONFIDENT,
        "temperature": round(temperature, 4),
        "calibration_error": {
            "softmax": round(calibration_error(likely, labels), 5),
            "softmax with temperature": round(calibration_error((logits / temperature).softmax(1), labels), 5),
        },
        "without_warning": {"answered": int(unwarned.sum()), "wrong": int((unwarned & ~right).sum())},
        "answered": answered,
        "wrong": {name: risk_coverage(of_each, right, answered) for name, of_each in scores.items()},
    }


def main():
    try:
        data = load_dataset()
        images, labels, sizes = usps()
        content = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
        arms = content.get("arms", {})
        content = {
            "what": "correct answers on USPS, by part; confusion of all runs: row the digit, column the answer",
            "rule": "nothing is ever chosen by these images",
            "images": dict(zip(PARTS, sizes, strict=True)),
            "confidence": content.get("confidence") or measure_confidence(data, images, labels),
            "arms": arms,
        }
        made_with = environment(data)
        for name, (source, seeds, trained) in entrants(data).items():
            begun = {"from": source, "environment": made_with, "runs": [], "confusion": [[0] * 10] * 10}
            arm = arms.setdefault(name, begun)
            done = {run["seed"] for run in arm["runs"]}
            for seed in seeds:
                if seed in done:
                    continue
                correct, confused = score(trained(seed), images, labels, sizes)
                arm["runs"].append({"seed": seed} | dict(zip(PARTS, correct, strict=True)))
                arm["confusion"] = (torch.tensor(arm["confusion"]) + confused).tolist()
                write_json(PATH, content, one_line=(r"\{\s+\"seed\"[^}]*\}", r"\[\s+\d[^\]]*\]"))
                print(f"{name}, seed {seed}: {100 * sum(correct) / len(labels):.2f} % of {len(labels):,}", flush=True)
    except (DataError, OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"Written: {shown(PATH)}")


if __name__ == "__main__":
    main()
