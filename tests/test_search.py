"""A search of recipes: what it draws, and that it goes on where it was stopped."""

import optuna
import pytest

from src.evidence.schema import Evidence, read_evidence, write_evidence
from src.learn.recipe import Recipe
from src.studies.search import recipe_of, search
from tests.helpers import finished, write_synthetic_mnist

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
def test_a_search_is_evidence_and_a_second_one_repeats_it(command, tmp_path):
    root = write_synthetic_mnist(tmp_path / "data", train=10_200, test=50)
    path = tmp_path / "results" / "search" / "space.json"
    declared = {"network": "Model_8_Widths(2, 3, 4, 3, 3)", "recipe": START.changed(), "space": SPACE, "trials": 6}
    declared["sampler_seed"] = 0
    write_evidence(Evidence("space", {}, (100,), split="validation", question="Which?", search=declared), path)

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
    path = write_evidence(Evidence("a", {}, (100,), search={"space": {}}), tmp_path / "a.json")
    with pytest.raises(ValueError, match="its search lacks network, recipe, sampler_seed, trials"):
        search(path)
