"""What changes from step to step, against values worked out by hand."""

from dataclasses import replace

import pytest

from src.learn.recipe import Recipe
from src.learn.schedules import augmentation_strengths, ema_decay, learning_rate
from tests.helpers import EVERYTHING

ALL = (
    lambda step: learning_rate(EVERYTHING, step, 50),
    lambda step: augmentation_strengths(EVERYTHING, step, 50),
    lambda step: ema_decay(EVERYTHING, step),
)


def test_rate_rises_stays_and_falls():
    recipe = replace(EVERYTHING, lr=2.0, warmup_fraction=0.1, lr_decay_fraction=0.4)
    rate = [learning_rate(recipe, step, 100) for step in range(101)]
    assert [rate[step] for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert set(rate[9:61]) == {2.0}
    assert [rate[step] for step in (70, 80, 99, 100)] == pytest.approx([1.5, 1.0, 2 / 40, 0])
    assert {learning_rate(Recipe(lr=0.3), step, 100) for step in (0, 50, 100)} == {0.3}


@pytest.mark.parametrize("total", [1, 2, 5])
def test_rate_of_very_short_runs(total):
    assert all(0 <= learning_rate(EVERYTHING, step, total) <= EVERYTHING.lr for step in range(total + 1))
    assert learning_rate(EVERYTHING, 0, total) > 0


def test_augmentation_decays():
    recipe = replace(EVERYTHING, augmentation_decay_fraction=0.3, augmentation_factor=0.5)
    whole = EVERYTHING.strengths
    assert whole["rotation"] == 10.0
    assert augmentation_strengths(recipe, 0, 100) == augmentation_strengths(recipe, 69, 100) == whole
    half = {name: strength / 2 for name, strength in whole.items()}
    assert augmentation_strengths(recipe, 70, 100) == augmentation_strengths(recipe, 99, 100) == half
    constant = replace(EVERYTHING, augmentation_decay_fraction=0.0, augmentation_factor=0.0)
    assert augmentation_strengths(constant, 0, 100) == augmentation_strengths(constant, 99, 100) == whole


def test_the_average_begins_as_a_copy_and_then_forgets_more_slowly():
    recipe = Recipe(ema_decay=0.9)
    assert [ema_decay(recipe, step) for step in (0, 1, 2, 1000)] == [0.0, 0.9, 0.9, 0.9]
    warming = replace(recipe, ema_warmup=True)
    expected = [0.0, 2 / 11, 3 / 12, 80 / 89, 0.9, 0.9]  # (1 + step) / (10 + step) is 0.9 after 80 steps
    assert [ema_decay(warming, step) for step in (0, 1, 2, 79, 80, 1000)] == pytest.approx(expected)


def test_a_step_is_what_it_is_whatever_was_asked_before():
    """So a resumed run needs to know no more than how many steps it has made."""
    forwards = [at(step) for step in range(50) for at in ALL]
    backwards = [at(step) for step in reversed(range(50)) for at in reversed(ALL)]
    assert forwards == backwards[::-1]
