"""Score trained networks on digits from outside MNIST: `python -m src.studies.outside` writes results/outside.json.

USPS holds 9,298 digits that a machine cut out of the addresses of US mail (Hull 1994). No network here was trained on
them, and one rule stands: nothing is ever chosen by them.
"""

import sys

import numpy as np
import torch
from torchvision.datasets import USPS

from src import shown
from src.demo.picture import centred
from src.evidence.records import read_named
from src.evidence.runs import environment, fit
from src.evidence.storage import RESULTS, write_json
from src.learn.data import DataError, load_dataset, raw_folder
from src.learn.networks import named

PATH = RESULTS / "outside.json"
PARTS = ("train", "test")  # as USPS names them; both are unseen here
# The study and the arm whose networks are scored, all its seeds.
ARMS = {"Model_8": ("model_8_confirmation", "Model_8")}


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


def score(trained, images, labels, sizes):
    """Return how many images of each part a Trained network reads, and how often it takes digit i for j, (10, 10)."""
    answers = trained.predict(images)[:, :10].argmax(1)
    correct = [int(part.sum()) for part in (answers == labels).split(sizes)]
    return correct, torch.bincount(10 * labels + answers, minlength=100).view(10, 10)


def main():
    try:
        data = load_dataset()
        images, labels, sizes = usps()
        arms = {}
        for name, (study, arm) in ARMS.items():
            evidence = read_named(study)
            network, recipe = named(evidence.arms[arm].network), evidence.arms[arm].recipe
            runs, confusion = [], torch.zeros(10, 10, dtype=torch.int64)
            for seed in evidence.seeds:
                correct, confused = score(fit(network, data, recipe, seed), images, labels, sizes)
                runs.append({"seed": seed} | dict(zip(PARTS, correct, strict=True)))
                confusion += confused
                print(f"{name}, seed {seed}: {100 * sum(correct) / len(labels):.2f} % of {len(labels):,}", flush=True)
            arms[name] = {"study": study, "arm": arm, "runs": runs, "confusion": confusion.tolist()}
    except (DataError, OSError, ValueError) as error:
        sys.exit(str(error))
    content = {
        "what": "correct answers on USPS, by part; confusion of all runs: row the digit, column the answer",
        "rule": "nothing is ever chosen by these images",
        "images": dict(zip(PARTS, sizes, strict=True)),
        "environment": environment(data),
        "arms": arms,
    }
    write_json(PATH, content, one_line=(r"\{\s+\"seed\"[^}]*\}", r"\[\s+\d[^\]]*\]"))
    print(f"Written: {shown(PATH)}")


if __name__ == "__main__":
    main()
