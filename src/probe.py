"""Train briefly with whatever version of src/ stands first on the path: the measuring end of src/readmit.py.

Reads from standard input which runs to try, as JSON, and writes what came out of them to the file that it is given.
It may use only what every version has: load_mnist, Recipe, new_model, train, precision, code_sha256, the models.
"""

import dataclasses
import json
import sys

import torch

IMAGES, EPOCHS = 2_000, 2
EMA = 0.5  # a longer memory would not outgrow its warm-up in so few steps


def main():
    from src import model, training, variants
    from src.data import load_mnist
    from src.identity import code_sha256
    from src.recipe import Recipe

    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    data = load_mnist(split=asked["split"])
    tensors = {name: value for name, value in vars(data).items() if isinstance(value, torch.Tensor)}
    few = dataclasses.replace(data, **{name: value[:IMAGES] for name, value in tensors.items()})
    own = str(training.precision(torch.device("cpu")))
    answers = []
    for job in asked["jobs"]:
        model_class = next(
            getattr(module, job["model"]) for module in (model, variants) if hasattr(module, job["model"])
        )
        tried = {"code_sha256": code_sha256(model_class), "data_sha256": data.sha256, "precision": own, "runs": {}}
        answers.append(tried)
        if asked["only_hash"]:
            continue
        changed = {"epochs": EPOCHS}
        if job["recipe"].get("ema"):
            changed["ema"] = EMA
        recipe = Recipe(**job["recipe"] | changed)
        for precision in job["precisions"]:
            training.precision = lambda device, precision=precision: getattr(torch, precision)
            network = training.new_model(model_class, job["seed"])
            history = training.train(network, few, recipe, job["seed"])
            tried["runs"][precision] = {"history": history, "weights": network.state_dict()}
    torch.save(answers, sys.argv[1])


if __name__ == "__main__":
    main()
