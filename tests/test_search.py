"""A search of recipes: what it draws, and that it goes on where it was stopped."""

import json
import os
import subprocess
import sys

import optuna
import pytest

from src.evidence.records import Evidence, read_evidence, write_evidence
from src.learn.recipe import Recipe
from src.studies.search import recipe_of
from tests.helpers import copy_source, write_synthetic_mnist

SPACE = {
    "lr": [0.001, 1e30, "log"],  # some trials end with a loss that is not finite
    "strength": [0.5, 2.0],
    "batch_size": {"choices": [50, 100]},
    "one_resampling": {"choices": [False, True]},
}
START = Recipe(epochs=1, deslant=True, rotation=4.0, scale=0.1)


def test_a_recipe_is_drawn_from_the_space():
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    drawn = [recipe_of(study.ask(), SPACE, START) for _ in range(20)]
    assert {recipe.batch_size for recipe in drawn} == {50, 100}
    assert all(recipe.rotation / 4 == pytest.approx(recipe.scale / 0.1) for recipe in drawn)
    assert all(2 <= recipe.rotation <= 8 for recipe in drawn)
    assert len({recipe.lr for recipe in drawn}) == 20


@pytest.mark.slow
def test_a_search_is_evidence_and_a_second_one_repeats_it(tmp_path, real_root):
    copy_source(tmp_path)
    root = write_synthetic_mnist(tmp_path / "data", train=10_200, test=50)
    path = tmp_path / "results" / "search" / "space.json"
    declared = {"network": "Model_8_Widths(2, 3, 4, 3, 3)", "recipe": START.changed(), "space": SPACE, "trials": 6}
    declared["sampler_seed"] = 0
    write_evidence(Evidence("space", {}, (100,), split="validation", question="Which?", search=declared), path)

    trial = tmp_path / ".runs" / "trial" / "space.json"

    def search():
        command = [sys.executable, "-m", "src.studies.search", str(path)]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"MNIST_ROOT": str(root)}, capture_output=True, text=True
        )

    first = search()
    assert first.returncode == 0, first.stderr
    found = read_evidence(trial)
    losses = [arm.runs[0].history[-1].eval_loss for arm in found.arms.values()]
    assert losses == sorted(losses)
    assert 0 < len(losses) < 6
    assert "failed: " in first.stdout
    assert found.complete
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".runs/*.pt")}

    again = search()
    assert again.returncode == 0, again.stderr
    assert read_evidence(trial) == found
    assert not read_evidence(path).arms  # these are not MNIST's images
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".runs/*.pt")} == kept


def test_a_file_that_declares_no_search(tmp_path):
    path = write_evidence(Evidence("a", {}, (100,), search={"space": {}}), tmp_path / "a.json")
    assert json.loads(path.read_text())["search"] == {"space": {}}
    command = [sys.executable, "-m", "src.studies.search", str(path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stderr.strip() == (
        "a.json declares no search: under search it lacks network, recipe, sampler_seed, trials"
    )
