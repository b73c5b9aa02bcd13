"""What a recipe says and what it refuses."""

import json
import math
from dataclasses import asdict, fields

import pytest

from src.recipe import Recipe
from tests.helpers import EVERYTHING


def test_recipe_survives_json():
    assert Recipe(**json.loads(json.dumps(asdict(EVERYTHING)))) == EVERYTHING
    assert "optimizer adamw" in str(EVERYTHING)
    assert "beta2" not in str(Recipe())  # SGD has none


def test_whole_numbers_are_the_same_recipe():
    assert json.dumps(asdict(Recipe(rotation=7))) == json.dumps(asdict(Recipe(rotation=7.0)))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be of type int, got 2.0"),
        ({"epochs": True}, TypeError, "epochs must be of type int, got True"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1, got -1"),
        ({"lr": "0.1"}, TypeError, "lr must be of type float, got '0.1'"),
        ({"lr": 0.0}, ValueError, "lr must be over 0, got 0.0"),
        ({"lr": math.nan}, ValueError, "lr must be finite, got nan"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of sgd, adamw, got 'adam'"),
        ({"ema": 1.0}, ValueError, "ema must be at least 0 and below 1, got 1.0"),
        ({"straighten": 1}, TypeError, "straighten must be of type bool, got 1"),
        ({"spread": 1.5}, ValueError, "spread is a part of the whole, from 0 to 1, got 1.5"),
        ({"warmup": -0.1, "fall": 1.0}, ValueError, "warmup is a part of the whole, from 0 to 1, got -0.1"),
        ({"warmup": 0.1}, ValueError, "warmup is 0.1 under a constant rate: set fall, or no warmup"),
        ({"fall": 1.2}, ValueError, "fall is a part of the whole, from 0 to 1, got 1.2"),
        ({"warmup": 0.5, "fall": 0.6}, ValueError, "warmup 0.5 and fall 0.6 are over the whole: lower one"),
        ({"settle": 1.1, "rotation": 5.0}, ValueError, "settle is a part of the whole, from 0 to 1, got 1.1"),
        (
            {"settle": 0.3, "settle_to": 3.0, "scale": 0.5},
            ValueError,
            "settle_to is a part of the whole, from 0 to 1, got 3.0",
        ),
        ({"settle": 0.3}, ValueError, "settle is 0.3 without augmentation: set rotation, or no settle"),
        ({"settle_to": 0.3, "scale": 0.1}, ValueError, "settle_to is 0.3 while settle is 0: set both or none"),
        ({"ema_warmup": True}, ValueError, "ema_warmup is True while ema is 0: set both or none"),
        ({"rotation": -5.0}, ValueError, "rotation must be at least 0, got -5.0"),
    ],
)
def test_recipe_refuses(change, error, says):
    with pytest.raises(error, match=says):
        Recipe(**change)


def test_a_recipe_is_nothing_but_its_values():
    """Its file is no part of a run's identity, so nothing in it may decide a run."""
    generated = {name for name in vars(Recipe) if name.startswith("__")} - {"__post_init__", "__str__"}
    assert set(vars(Recipe)) - generated == {field.name for field in fields(Recipe)} | {"__post_init__", "__str__"}
