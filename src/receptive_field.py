"""The receptive field of a chain of layers, by the recurrence of Araujo, Norris and Sim (Distill, 2019).

A layer of kernel k and stride s, whose inputs lie `jump` pixels of the image apart, widens the receptive field by
(k - 1) * jump and multiplies the jump by s, in height and in width. Padding changes neither.
https://distill.pub/2019/computing-receptive-fields
"""

import copy
import itertools
from dataclasses import dataclass

import torch
import torch.fx
from torch import nn

SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
POINTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Sigmoid, nn.Tanh,
    nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
# What a network's own forward may call in place of a layer, with the arguments behind the images.
FUNCTIONS = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU, "hardswish": nn.Hardswish,
    "max_pool2d": nn.MaxPool2d, "avg_pool2d": nn.AvgPool2d, "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "mean": lambda *_, **__: nn.AdaptiveAvgPool2d(1), "dropout": lambda p=0.5, *_, **__: nn.Dropout(p),
    "softmax": lambda *_, **__: nn.Softmax(1), "log_softmax": lambda *_, **__: nn.LogSoftmax(1),
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze"), lambda *_, **__: nn.Flatten()),
}  # fmt: skip


@dataclass
class Layer:
    """Describe a layer together with the pointwise layers that follow it.

    `jump` and `receptive_field` are in pixels of the image, as the layer's output sees it. Where height and width
    differ, a number is text, "3 x 1"; padding may be "same" or "valid". `shape` is channels, height, width (or the
    length, once flat); `global_average` says that the layer averages over its whole input. From the first layer on
    whose geometry is not known (a residual block, say), kernel to receptive field are None.
    `parameters` leaves out those that an earlier layer shares.
    """

    name: str
    kernel: int | str | None
    stride: int | str | None
    padding: int | str | None
    jump: int | str | None
    receptive_field: int | str | None
    shape: tuple
    parameters: int
    global_average: bool = False


@torch.no_grad()
def layers(model: nn.Module) -> list[Layer]:
    """List the layers of a network, measured on an image of 1 x 28 x 28.

    A (nested) nn.Sequential is its layers, and so is a network whose own forward calls one after the other. Another one
    is a single layer, whose geometry is not known.
    """
    image, counted = torch.linspace(0, 1, 784).view(1, 1, 28, 28), set()
    found, field, jump = [], (1, 1), (1, 1)
    for module, given in _chain(copy.deepcopy(model).cpu().eval(), image):
        size, x = tuple(given.shape[-2:]), module(given)
        new = set(module.parameters()) - counted
        counted |= new
        parameters = sum(p.numel() for p in new)
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
        field = tuple(f + (k - 1) * j for f, k, j in zip(field, kernel, jump, strict=True))
        jump = tuple(j * s for j, s in zip(jump, stride, strict=True))
        average = isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)) and kernel == size
        name = f"{'GlobalAvgPool' if average else type(module).__name__} {kernel[0]}x{kernel[1]}"
        numbers = map(_number, (kernel, stride, padding, jump, field))
        found.append(Layer(name, *numbers, tuple(x.shape[1:]), parameters, average))
    return found


def receptive_field(model: nn.Module) -> tuple[int | str | None, int | str | None]:
    """Return the receptive field of the model's outputs and that before its global average pooling, or None twice."""
    found = layers(model)
    before = [one.receptive_field for one, layer in itertools.pairwise(found) if layer.global_average]
    return found[-1].receptive_field, before[0] if before else None


def _chain(module, x):
    """Yield each layer of a network with its input."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        chain = list(module)
    elif type(module).__module__.startswith("torch."):
        chain = [module]
    else:
        chain = _called_in_turn(module, x)
    for layer in chain:
        if layer is module:
            yield layer, x
        else:
            yield from _chain(layer, x)
        x = layer(x)


def _called_in_turn(module, x):
    """Return the layers that a network's own forward calls, each on what the last returned, or the network itself.

    A chain is believed where it computes what the network does.
    """
    try:
        before, *nodes, last = torch.fx.symbolic_trace(module).graph.nodes
        found = [module.get_submodule(n.target) if n.op == "call_module" else _layer_of(n) for n in nodes]
        in_turn = all(node.all_input_nodes == [one] for one, node in itertools.pairwise((before, *nodes, last)))
        same = in_turn and torch.equal(nn.Sequential(*found).eval()(x), module(x))
    except Exception:  # it cannot be traced, or calls what is no layer
        return [module]
    return found if same else [module]


def _layer_of(call):
    """Return the layer that does what a function or a tensor's method does. Raises KeyError for an unknown one."""
    name = call.target if call.op == "call_method" else call.target.__name__
    return FUNCTIONS[name](*call.args[1:], **call.kwargs)


def _geometry(module, size):
    """Return kernel, stride and padding of a layer, and take its input's size, each as height and width.

    None where they are not known.
    """
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return (size, size, (0, 0)) if module.output_size in (1, (1, 1)) else None
    if not isinstance(module, SPATIAL):
        return None
    names = ("kernel_size", "stride", "padding", "dilation")
    kernel, stride, padding, dilation = (_pair(getattr(module, name, 1)) for name in names)
    return tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)), stride, padding


def _pair(value):
    return (*value, *value)[:2] if isinstance(value, (tuple, list)) else (value, value)


def _number(pair):
    height, width = pair
    return height if height == width else f"{height} x {width}"


def _short_name(module):
    names = {nn.BatchNorm2d: "BatchNorm", nn.Dropout: f"Dropout {getattr(module, 'p', '')}"}
    return names.get(type(module), type(module).__name__)
