"""The receptive field of a chain of layers, by the recurrence of Araujo, Norris and Sim (Distill, 2019).

A layer of kernel k and stride s, whose inputs lie `jump` pixels of the image apart, widens the receptive field by
(k - 1) * jump and multiplies the jump by s. https://distill.pub/2019/computing-receptive-fields
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
POINTWISE = (nn.ReLU, nn.Hardswish, nn.BatchNorm2d, nn.Dropout, nn.Flatten)


@dataclass
class Layer:
    """Describe a convolution or pooling layer together with the pointwise layers that follow it.

    `jump` and `receptive_field` are in pixels of the image, as the layer's output sees it; `shape` is channels,
    height, width (or the length, once flat); `global_average` says that the layer averages over its whole input.
    """

    name: str
    kernel: int
    stride: int
    padding: int
    jump: int
    receptive_field: int
    shape: tuple
    parameters: int
    global_average: bool


@torch.no_grad()
def layers(model):
    """List the layers of a (nested) nn.Sequential, measured on an image of 1 x 28 x 28.

    Raises TypeError for a module whose receptive field this does not know, ValueError for one that is not square.
    """
    x = torch.zeros(1, 1, 28, 28)
    found, field, jump = [], 1, 1
    for module in _chain(copy.deepcopy(model).cpu().eval()):
        size = x.shape[-1]
        x = module(x)
        parameters = sum(p.numel() for p in module.parameters())
        if isinstance(module, SPATIAL):
            kernel, stride, padding = _geometry(module, size)
            field += (kernel - 1) * jump
            jump *= stride
            average = isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)) and kernel == size
            name = "GlobalAvgPool" if average else type(module).__name__
            layer = Layer(f"{name} {kernel}x{kernel}", kernel, stride, padding, jump, field, (), parameters, average)
            found.append(layer)
        elif found:
            found[-1].name += f", {_short_name(module)}"
            found[-1].parameters += parameters
        else:
            raise TypeError(f"the model must begin with a convolution or pooling layer, got {type(module).__name__}")
        found[-1].shape = tuple(x.shape[1:])
    return found


def receptive_field(model):
    """Return the receptive field of the model's outputs, and that before its global average pooling (else None)."""
    found = layers(model)
    before = [found[i - 1].receptive_field for i, layer in enumerate(found) if layer.global_average]
    return found[-1].receptive_field, before[0] if before else None


def _chain(module):
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for child in module:
            yield from _chain(child)
    elif isinstance(module, SPATIAL + POINTWISE):
        yield module
    else:
        raise TypeError(f"the receptive field of {type(module).__name__} is not known: teach src/receptive_field.py")


def _geometry(module, size):
    if isinstance(module, nn.AdaptiveAvgPool2d):
        if module.output_size not in (1, (1, 1)):
            raise ValueError(f"only a global AdaptiveAvgPool2d is known, got output size {module.output_size}")
        return size, size, 0
    values = []
    for name in ("kernel_size", "stride", "padding", "dilation"):
        value = getattr(module, name, 1)
        sides = set(value) if isinstance(value, tuple) else {value}
        if len(sides) != 1 or not isinstance(value, (int, tuple)):
            raise ValueError(f"{name} must be the same number on both sides, got {value!r} in {module}")
        values.append(sides.pop())
    kernel, stride, padding, dilation = values
    return dilation * (kernel - 1) + 1, stride, padding


def _short_name(module):
    names = {nn.BatchNorm2d: "BatchNorm", nn.Dropout: f"Dropout {getattr(module, 'p', '')}"}
    return names.get(type(module), type(module).__name__)
