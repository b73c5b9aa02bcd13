"""The recurrence on cases worked out by hand, and what it must refuse."""

import pytest
import torch
from torch import nn

from src.receptive_field import layers, receptive_field


def test_by_hand():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=2, padding=2),  # 28 -> 14, field 5, jump 2
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(2, 3, 3, dilation=2), nn.BatchNorm2d(3)),  # 14 -> 10, field 5 + 4 * 2, jump 2
        nn.MaxPool2d(3, stride=2, padding=1),  # 10 -> 5, field 13 + 2 * 2, jump 4
        nn.AdaptiveAvgPool2d(1),  # 5 -> 1, field 17 + 4 * 4
        nn.Flatten(),
    )
    rows = [(r.kernel, r.stride, r.padding, r.jump, r.receptive_field, r.shape, r.parameters) for r in layers(model)]
    assert rows == [
        (5, 2, 2, 2, 5, (2, 14, 14), 52),
        (5, 1, 0, 2, 13, (3, 10, 10), 57 + 6),
        (3, 2, 1, 4, 17, (3, 5, 5), 0),
        (5, 5, 0, 20, 33, (3,), 0),
    ]
    assert receptive_field(model) == (33, 17)
    assert layers(model)[1].name == "Conv2d 5x5, BatchNorm"


def test_global_average_by_a_fixed_kernel_counts_as_one():
    assert receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), nn.AvgPool2d(26))) == (28, 3)
    assert receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), nn.AvgPool2d(2))) == (4, None)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(1, 1, (3, 1)), nn.Conv2d(1, 1, 3, padding="same"), nn.AdaptiveAvgPool2d(2), nn.Linear(28, 28)],
)
def test_what_is_not_known_is_said_from_there_on(layer):
    known, unknown, after = layers(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.GELU(), layer, nn.MaxPool2d(2)))
    assert (known.receptive_field, known.name) == (3, "Conv2d 3x3, GELU")
    assert unknown.receptive_field is after.receptive_field is None
    assert receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), layer)) == (None, None)
    assert unknown.parameters == sum(p.numel() for p in layer.parameters())


class Twice(nn.Sequential):
    def forward(self, x):
        return super().forward(super().forward(x))


def test_a_chain_that_does_something_else_is_one_unknown_layer():
    (layer,) = layers(Twice(nn.Conv2d(1, 1, 3)))
    assert (layer.name, layer.receptive_field, layer.shape, layer.parameters) == ("Twice", None, (1, 24, 24), 10)


def test_the_model_is_left_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
