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
    ("layer", "error", "says"),
    [
        (nn.Linear(28, 28), TypeError, "the receptive field of Linear is not known"),
        (nn.Conv2d(1, 1, (3, 1)), ValueError, r"kernel_size must be the same number on both sides, got \(3, 1\)"),
        (nn.Conv2d(1, 1, 3, padding="same"), ValueError, "padding must be the same number on both sides, got 'same'"),
        (nn.AdaptiveAvgPool2d(2), ValueError, "only a global AdaptiveAvgPool2d is known, got output size 2"),
        (nn.ReLU(), TypeError, "must begin with a convolution or pooling layer, got ReLU"),
    ],
)
def test_unknown_layers_are_refused(layer, error, says):
    with pytest.raises(error, match=says):
        layers(nn.Sequential(layer))


class Twice(nn.Sequential):
    def forward(self, x):
        return super().forward(super().forward(x))


def test_a_chain_that_does_something_else_is_refused():
    with pytest.raises(TypeError, match="the receptive field of Twice is not known"):
        layers(Twice(nn.Conv2d(1, 1, 3)))


def test_the_model_is_left_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
