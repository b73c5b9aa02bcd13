"""Rename what evidence calls by other names since schema 4: `python -m src.evidence.migrate`, once.

The learning rate of an epoch follows from its recipe; it is left out where it does, to the last bit.
"""

import json
import math
import re
import textwrap

from safetensors import safe_open

from src import ROOT
from src.demo.reader import WeightFacts, packed_weights, weights_path
from src.evidence.results import Usps
from src.evidence.schema import SCHEMA, read_evidence, write_evidence
from src.evidence.storage import RESULTS, write
from src.learn.images import Statistics
from src.learn.recipe import Recipe
from src.learn.schedules import learning_rate
from src.studies.usps import write_usps

NAMES = {
    "ema": "ema_decay",
    "lr_decay": "lr_decay_fraction",
    "warmup": "warmup_fraction",
    "augmentation_decay": "augmentation_decay_fraction",
}
WORDS = re.compile(r"\b(" + "|".join(NAMES) + r")(?==| \d)")  # as a call or a printed recipe has them


def renamed(recipe):
    return {NAMES.get(name, name): value for name, value in recipe.items()}


def evidence(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["schema"] != 3:
        return
    content["schema"] = SCHEMA
    for arm in content["arms"].values():
        arm["recipe"] = renamed(arm["recipe"])
        recipe = Recipe(**arm["recipe"])
        for run in arm.get("runs", []):
            for epoch in run["history"]:
                steps = math.ceil(epoch["train_total"] / recipe.batch_size)
                lr = learning_rate(recipe, epoch["epoch"] * steps - 1, recipe.epochs * steps)
                assert math.isclose(epoch.pop("lr"), lr, rel_tol=1e-12), (path, epoch)
    path.write_text(json.dumps(content), encoding="utf-8")
    write_evidence(read_evidence(path), path)


def usps(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    sure = content["confidence"]
    if "calibration_error" not in sure:
        return
    sure["expected_calibration_error"] = sure.pop("calibration_error")
    for arm in content["arms"].values():
        arm["source"] = arm.pop("from").replace("others.py", "baselines.py")
    from pydantic import TypeAdapter

    write_usps(TypeAdapter(Usps).validate_json(json.dumps(content)))


def weights(name):
    path = weights_path(name)
    with safe_open(path, framework="pt") as content:
        facts = json.loads(content.metadata()["facts"])
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
    facts["recipe"] = Recipe(**renamed(facts["recipe"]))
    facts["statistics"] = Statistics(**facts["statistics"])
    write(path, packed_weights(tensors, WeightFacts(**facts)))


def notebook(path):
    content = json.loads(path.read_text(encoding="utf-8"))

    def words(lines):
        text = "".join(lines)
        text = WORDS.sub(lambda found: NAMES[found[1]], text).replace("show_outside", "show_usps")
        if text.startswith("epochs "):  # a recipe, wrapped anew as it prints itself
            items = (item.replace(" ", "\N{NO-BREAK SPACE}") for item in text.replace("\n", " ").strip().split(", "))
            text = textwrap.fill(", ".join(items), 100).replace("\N{NO-BREAK SPACE}", " ") + "\n"
        for old, new in (("records.md", "leaderboard.md"), ("studies.outside", "studies.usps")):
            text = text.replace(old, new)
        return text.splitlines(keepends=True)

    for cell in content["cells"]:
        cell["source"] = words(cell["source"])
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = words(output["text"])
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    for path in [*RESULTS.glob("Step*.json"), *RESULTS.glob("studies/*.json"), *RESULTS.glob("search/*.json")]:
        evidence(path)
    usps(RESULTS / "usps.json")
    for name in ("Model_8", "Model_9"):
        weights(name)
    for path in ROOT.glob("notebooks/*.ipynb"):
        notebook(path)


if __name__ == "__main__":
    main()
