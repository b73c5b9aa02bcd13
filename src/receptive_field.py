"""The receptive field of a chain of layers, by the recurrence of Araujo, Norris and Sim (Distill, 2019).

A layer of kernel k and stride s, whose inputs lie `jump` pixels of the image apart, widens the receptive field by
(k - 1) * jump and multiplies the jump by s. https://distill.pub/2019/computing-receptive-fields
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn

SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Sigmoid, nn.Tanh,
    nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity,
)  # fmt: skip


@dataclass
class Layer:
    """Describe a layer together with the pointwise layers that follow it.

    `jump` and `receptive_field` are in pixels of the image, as the layer's output sees it; `shape` is channels,
    height, width (or the length, once flat); `global_average` says that the layer averages over its whole input. From
    the first layer on whose geometry is not known (a residual block, say), kernel to receptive field are None.
    """

    name: str
    kernel: int | None
    stride: int | None
    padding: int | None
    jump: int | None
    receptive_field: int | None
    shape: tuple
    parameters: int
    global_average: bool = False


@torch.no_grad()
def layers(model):
    """List the layers of a (nested) nn.Sequential, measured on an image of 1 x 28 x 28."""
    x = torch.zeros(1, 1, 28, 28)
    found, field, jump = [], 1, 1
    for module in _chain(copy.deepcopy(model).cpu().eval()):
        size = x.shape[-1]
        x = module(x)
        parameters = sum(p.numel() for p in module.parameters())
        if isinstance(module, POINTWISE) and found:
            found[-1].name += f", {_short_name(module)}"
            found[-1].parameters += parameters
            found[-1].shape = tuple(x.shape[1:])
            continue
        geometry = _geometry(module, size)
        if geometry is None or field is None:
            name = type(module).__name__
            found.append(Layer(name, *[None] * 5, tuple(x.shape[1:]), parameters))
            field = None
            continue
        kernel, stride, padding = geometry
        field += (kernel - 1) * jump
        jump *= stride
        average = isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)) and kernel == size
        name = f"{'GlobalAvgPool' if average else type(module).__name__} {kernel}x{kernel}"
        found.append(Layer(name, kernel, stride, padding, jump, field, tuple(x.shape[1:]), parameters, average))
    return found


def receptive_field(model):
    """Return the receptive field of the model's outputs and that before its global average pooling, or None twice."""
    found = layers(model)
    before = [found[i - 1].receptive_field for i, layer in enumerate(found) if layer.global_average]
    return found[-1].receptive_field, before[0] if before else None


def _chain(module):
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for child in module:
            yield from _chain(child)
    else:
        yield module


def _geometry(module, size):
    """Return kernel, stride and padding of a layer whose input has `size` pixels a side; None where not known."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return (size, size, 0) if module.output_size in (1, (1, 1)) else None
    if not isinstance(module, SPATIAL):
        return None
    sides = []
    for name in ("kernel_size", "stride", "padding", "dilation"):
        value = getattr(module, name, 1)
        value = set(value) if isinstance(value, tuple) else {value}
        if len(value) != 1 or not all(isinstance(side, int) for side in value):
            return None
        sides += value
    kernel, stride, padding, dilation = sides
    return dilation * (kernel - 1) + 1, stride, padding


def _short_name(module):
    names = {nn.BatchNorm2d: "BatchNorm", nn.Dropout: f"Dropout {getattr(module, 'p', '')}"}
    return names.get(type(module), type(module).__name__)
