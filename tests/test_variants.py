"""The networks of the studies against their docstrings, and against the models that they vary."""

import inspect
import re

import pytest
import torch

from src import model as models
from src import variants
from src.receptive_field import receptive_field

VARIANTS = {
    name: variant
    for name, variant in vars(variants).items()
    if inspect.isclass(variant) and len(inspect.signature(variant).parameters) == 0 and "src." in variant.__module__
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_they_are_what_they_say(variant):
    original = getattr(models, re.match(r"Model_\d+", variant.__name__)[0])
    model, images = variant(), torch.randn(2, 1, 28, 28)
    assert model(images).shape == original()(images).shape
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in variant.__doc__
    _, before = receptive_field(model)
    if "before the average" in variant.__doc__:
        assert f"receptive field {before} before the average" in variant.__doc__


def test_there_are_some():
    assert len(VARIANTS) > 5


def test_they_change_one_thing():
    """Take away or swap what a variant is named for, and its original is left, layer by layer."""

    def chain(model):
        return [str(layer) for layer in model.modules() if not list(layer.children())]

    ours = chain(models.Model_8())
    assert [layer for layer in chain(variants.Model_8_Dropout()) if "Dropout" not in layer] == ours
    assert [re.sub(r"ReLU\(.*\)", "Hardswish()", layer) for layer in chain(variants.Model_8_ReLU())] == ours
    swapped = list(ours)
    for at, layer in enumerate(ours[1:], 1):
        if layer == "Hardswish()":
            swapped[at - 1 : at + 1] = ours[at], ours[at - 1]
    assert chain(variants.Model_8_ActivationFirst()) == swapped != ours
    assert chain(variants.Model_8_Widths(8, 8, 16, 16, 16)) == ours
    assert chain(variants.Model_8_Widths(8, 8, 10, 10, 9)) == chain(models.Model_9())
    pooled = chain(variants.Model_8_ThirdPooling())
    assert [layer for layer in pooled if "Pool" not in layer] == [layer for layer in ours if "Pool" not in layer]
    assert [sum("MaxPool2d" in layer for layer in layers) for layers in (pooled, ours)] == [3, 2]

    published, relieved = chain(models.Model_7()), chain(variants.Model_7_NoDropout())
    assert relieved == [layer for layer in published if "Dropout" not in layer] != published
    wider = chain(variants.Model_7_NoDropoutTwoPoolings())
    assert sum("MaxPool2d" in layer for layer in wider) == 2
    unpadded = [
        re.sub(r", padding=\(1, 1\)", "", "".join(layer for layer in layers if "MaxPool2d" not in layer))
        for layers in (relieved, wider)
    ]
    assert unpadded[0] == unpadded[1]
