"""What a recipe says and what it refuses."""

import json
import math
from dataclasses import asdict

import pytest

from src.learn.recipe import Recipe
from tests.helpers import EVERYTHING


def test_recipe_survives_json():
    assert Recipe(**json.loads(json.dumps(EVERYTHING.changed()))) == EVERYTHING
    assert Recipe().changed() == {}
    assert "optimizer adamw" in str(EVERYTHING)


def test_whole_numbers_are_the_same_recipe():
    assert json.dumps(asdict(Recipe(rotation=7))) == json.dumps(asdict(Recipe(rotation=7.0)))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be of type int, got 2.0"),
        ({"epochs": True}, TypeError, "epochs must be of type int, got True"),
        ({"lr": "0.1"}, TypeError, "lr must be of type float, got '0.1'"),
        ({"lr": 0.0}, ValueError, "lr must be over 0, got 0.0"),
        ({"lr": math.nan}, ValueError, "lr must be finite, got nan"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of sgd, adamw, got 'adam'"),
        ({"ema": 1.0}, ValueError, "ema must be from 0 to 0.99999, got 1.0"),
        ({"deslant": 1}, TypeError, "deslant must be of type bool, got 1"),
        ({"warmup": 0.1}, ValueError, "warmup is 0.1 without decay: set lr_decay, or no warmup"),
        ({"warmup": 0.5, "lr_decay": 0.6}, ValueError, "warmup 0.5 and lr_decay 0.6 add up to over 1: lower one"),
        ({"zoom_x": 1.2}, ValueError, "zoom without preprocessing: set size_normalisation, or no zoom"),
        (
            {"one_resampling": True, "rotation": 5.0},
            ValueError,
            "one_resampling composes preprocessing and augmentation",
        ),
        ({"augmentation_decay": 0.3}, ValueError, "augmentation_decay is 0.3 without augmentation: set rotation"),
        (
            {"augmentation_factor": 0.3, "scale": 0.1},
            ValueError,
            "augmentation_factor is 0.3 while augmentation_decay is 0: set both or none",
        ),
        ({"ema_warmup": True}, ValueError, "ema_warmup is True while ema is 0: set both or none"),
        ({"rotation": -5.0}, ValueError, "rotation must be at least 0, got -5.0"),
    ],
)
def test_recipe_refuses(change, error, says):
    with pytest.raises(error, match=says):
        Recipe(**change)
