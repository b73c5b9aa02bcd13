"""The networks of the studies against their docstrings, and against the models that they vary."""

import inspect
import re

import pytest
import torch
from torch import nn

from src import model as models
from src.learn import networks
from src.learn.networks import name_of, named, network_facts
from tests.helpers import model_names

VARIANTS = [
    name
    for name, variant in vars(networks).items()
    if inspect.isclass(variant) and variant.__module__ == networks.__name__ and name != "Model_8_Widths"
]


@pytest.mark.parametrize("name", VARIANTS)
def test_they_are_what_they_say(name):
    original = re.match(r"Model_\d+", name)
    model, images = named(name)(), torch.randn(2, 1, 28, 28)
    assert model(images).shape == (getattr(models, original[0])()(images).shape if original else (2, 10))
    parameters, _, before = network_facts(name)
    assert f"{parameters:,} parameters" in named(name).__doc__
    if "before the average" in named(name).__doc__:
        assert f"receptive field {before} before the average" in named(name).__doc__


@pytest.mark.parametrize("name", ["Model_1", "Model_8_ReLU", "Model_8_Widths(7, 7, 8, 8, 8)"])
def test_a_name_leads_to_a_network_and_back(name):
    assert name_of(named(name)) == name
    assert network_facts(name)[0] == sum(p.numel() for p in named(name)().parameters())


@pytest.mark.parametrize(
    "name", ["Model_0", "nn", "Chain", "conv_relu", "Model_8_Widths(7, 7", "Model_8(__import__('os'))"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"is no network of src/model.py or src/learn/networks.py"):
        named(name)


@pytest.mark.parametrize(
    "name",
    ["Model_8_Widths", "Model_8_Widths(1, 2)", "Model_8_Widths(0)", "Model_8_Widths(7, 7, 8, 8, 8, 8)", "Model_8(3)"],
)
def test_a_network_that_cannot_be_built_is_refused(name):
    stream = torch.get_rng_state()
    with pytest.raises(ValueError, match=f"^{re.escape(name)} .*correct it$"):
        network_facts(name)
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("name", [*model_names(), *VARIANTS, "Model_8_Widths(7, 7, 8, 8, 8)"])
def test_slices_are_plain_and_share_the_layers(name):
    model, images = named(name)().eval(), torch.randn(2, 1, 28, 28)
    each = list(model)
    for part in (slice(5), slice(5, None), slice(-3, -1), slice(None, None, 2), slice(0)):
        assert type(model[part]) is nn.Sequential
        assert [id(layer) for layer in model[part]] == [id(layer) for layer in each[part]]
        assert model[part].state_dict().keys() <= model.state_dict().keys()
    assert torch.equal(model[5:](model[:5](images)), model(images))
    assert (model[2], model[-1], len(model)) == (each[2], each[-1], len(each))
    with pytest.raises(IndexError):
        model[len(each)]


def test_they_change_one_thing():
    """Take away or swap what a variant is named for, and its original is left, layer by layer."""

    def chain(model):
        return [str(layer) for layer in model.modules() if not list(layer.children())]

    ours = chain(models.Model_8())
    assert [layer for layer in chain(networks.Model_8_Dropout()) if "Dropout" not in layer] == ours
    assert [re.sub(r"ReLU\(.*\)", "Hardswish()", layer) for layer in chain(networks.Model_8_ReLU())] == ours
    swapped = list(ours)
    for at, layer in enumerate(ours[1:], 1):
        if layer == "Hardswish()":
            swapped[at - 1 : at + 1] = ours[at], ours[at - 1]
    assert chain(networks.Model_8_ActivationFirst()) == swapped != ours
    assert chain(networks.Model_8_Widths(8, 8, 16, 16, 16)) == ours
    assert chain(networks.Model_8_Widths(7, 7, 12, 12, 12)) == chain(models.Model_9())
    pooled = chain(networks.Model_8_ThirdPooling())
    assert [layer for layer in pooled if "Pool" not in layer] == [layer for layer in ours if "Pool" not in layer]
    assert [sum("MaxPool2d" in layer for layer in layers) for layers in (pooled, ours)] == [3, 2]

    published, relieved = chain(models.Model_7()), chain(networks.Model_7_NoDropout())
    assert relieved == [layer for layer in published if "Dropout" not in layer] != published
    at = next(number for number, layer in enumerate(published) if "kernel_size=(1, 1)" in layer)
    assert chain(networks.Model_7_Plain1x1()) == published[: at + 1] + published[at + 3 :]
    wider = chain(networks.Model_7_NoDropoutTwoPoolings())
    assert sum("MaxPool2d" in layer for layer in wider) == 2
    unpadded = [
        re.sub(r", padding=\(1, 1\)", "", "".join(layer for layer in layers if "MaxPool2d" not in layer))
        for layers in (relieved, wider)
    ]
    assert unpadded[0] == unpadded[1]
