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


def test_the_defaults_stay():
    """Files say only what differs from them: another default would change what every old file and kept run says."""
    assert asdict(Recipe()) == {
        "epochs": 15, "batch_size": 128,
        "optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "beta2": 0.99, "weight_decay": 0.0,
        "warmup_fraction": 0.0, "lr_decay_fraction": 0.0,
        "deslant": False, "size_normalisation": 0.0,
        "rotation": 0.0, "translation": 0.0, "scale": 0.0, "shear": 0.0, "elastic": 0.0,
        "augmentation_decay_fraction": 0.0, "augmentation_factor": 0.0,
        "ema_decay": 0.0, "ema_warmup": False, "bn_images": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, "epochs .*got 0"),
        ({"epochs": 2.0}, "epochs .*got 2.0"),
        ({"epochs": True}, "epochs .*got True"),
        ({"batch_size": 0}, "batch_size .*got 0"),
        ({"lr": "0.1"}, "lr .*got '0.1'"),
        ({"lr": 0.0}, "lr .*got 0.0"),
        ({"lr": math.nan}, "lr .*got nan"),
        ({"optimizer": "adam"}, "optimizer .*'sgd' or 'adamw', got 'adam'"),
        ({"beta2": 0.9}, "beta2 is 0.9 .*leave it out"),
        ({"ema_decay": 1.0}, "ema_decay .*got 1.0"),
        ({"deslant": 1}, "deslant .*got 1"),
        ({"scale": 0.95}, "scale .*got 0.95"),
        ({"warmup_fraction": 0.1}, "warmup_fraction is 0.1 .*set lr_decay_fraction"),
        (
            {"warmup_fraction": 0.5, "lr_decay_fraction": 0.6},
            "warmup_fraction 0.5 and lr_decay_fraction 0.6 .*lower one",
        ),
        ({"augmentation_decay_fraction": 0.3}, "augmentation_decay_fraction is 0.3 .*set rotation"),
        (
            {"augmentation_factor": 0.3, "scale": 0.1},
            "augmentation_factor is 0.3 while augmentation_decay_fraction is 0: set both",
        ),
        ({"ema_warmup": True}, "ema_warmup is True while ema_decay is 0: set both"),
        ({"rotation": -5.0}, "rotation .*got -5.0"),
        ({"zoom_x": 1.2}, "zoom_x .*leave it out"),
    ],
)
def test_recipe_refuses(change, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        Recipe(**change)
