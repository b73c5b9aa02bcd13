"""A search of recipes: what it draws, and that it goes on where it was stopped."""

from dataclasses import replace

import optuna
import pytest

from src.evidence.schema import Choices, Evidence, Search, read_evidence, write_evidence
from src.learn.recipe import Recipe
from src.studies.search import recipe_of, run_search
from tests.helpers import HELD, evidence, finished, write_synthetic_mnist

SPACE = {
    "lr": [0.001, 1e30, "log"],  # some trials end with a loss that is not finite
    "strength": [0.5, 2.0],
    "batch_size": Choices([50, 100]),
    "deslant": Choices([False, True]),
}
START = Recipe(epochs=1, deslant=True, rotation=4.0, scale=0.1)
DECLARED = Search("Model_8_Widths(2, 3, 4, 3, 3)", START, SPACE, trials=6, sampler_seed=0)


def test_a_recipe_is_drawn_from_the_space():
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    drawn = [recipe_of(study.ask(), DECLARED) for _ in range(20)]
    assert {recipe.batch_size for recipe in drawn} == {50, 100}
    assert all(recipe.rotation / 4 == pytest.approx(recipe.scale / 0.1) for recipe in drawn)
    assert all(2 <= recipe.rotation <= 8 for recipe in drawn)
    assert len({recipe.lr for recipe in drawn}) == 20
    assert {recipe.deslant for recipe in drawn} == {False, True}
    assert min(recipe.lr for recipe in drawn) < 1e10 < max(recipe.lr for recipe in drawn) <= 1e30  # by its logarithm
    kept = {replace(recipe, lr=1, batch_size=50, deslant=True, rotation=4.0, scale=0.1) for recipe in drawn}
    assert kept == {replace(START, lr=1, batch_size=50)}  # all else is the first recipe's


def test_a_field_that_no_recipe_has_is_named():
    study = optuna.create_study()
    with pytest.raises(ValueError, match="bending"):
        recipe_of(study.ask(), replace(DECLARED, space={"bending": [0.0, 1.0]}))


@pytest.mark.slow
def test_a_search_is_evidence_and_a_second_one_repeats_it(command, tmp_path):
    root = write_synthetic_mnist(tmp_path / "data", train=10_200, test=50)
    path = tmp_path / "results" / "search" / "space.json"
    write_evidence(Evidence("space", {}, (100,), split="validation", question="Which?", search=DECLARED), path)
    assert read_evidence(path).search == DECLARED

    def searched():
        status, shown, errors = finished(command("-m", "src.studies.search", str(path), MNIST_ROOT=str(root)))
        assert status == 0, errors
        return shown, {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".runs/*.pt")}

    shown, kept = searched()
    found = read_evidence(path)
    losses = [arm.runs[0].history[-1].eval_loss for arm in found.arms.values()]
    assert losses == sorted(losses)
    assert 0 < len(losses) < 6
    assert "failed: " in shown
    assert found.complete
    assert all(len(arm.fingerprint) == 3 * 1 + 1 for arm in found.arms.values())
    assert searched()[1] == kept
    assert read_evidence(path) == found


def test_a_file_that_declares_no_search(tmp_path):
    path = write_evidence(evidence("a", Model_7=[HELD]), tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"a\.json declares no search: give it one"):
        run_search(path)
