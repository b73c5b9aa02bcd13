"""Every network by its name: the models of the steps, and variants of them that only studies use.

A variant is named for the model that it varies. All take images (N, 1, 28, 28); Model_7's variants return logits
(N, 20) as it does, the others (N, 10).
"""

import functools
import inspect
import re
from collections.abc import Callable

import torch
from torch import nn

from src import model as models
from src.model import conv_bn_hardswish, conv_pool_bn_hardswish, conv_relu, conv_relu_bn
from src.receptive_field import receptive_field

Network = Callable[[], nn.Module]  # makes a network: a class, mostly

# ---------------------------------------------------------------- names


USERS: dict[str, Network] = {}  # a user's, by their names, as long as the program runs


def register(network: Network) -> None:
    """Let `named` find a network of the user's own. Raises ValueError for a name that stands for one of ours."""
    if network.__name__ in globals() or hasattr(models, network.__name__):
        raise ValueError(f"{network.__name__} is the name of a network here: call yours otherwise")
    USERS[network.__name__] = network
    network_facts.cache_clear()


def named(name: str) -> Network:
    """Return what makes the network of a name: a class, or for "Model_8_Widths(7, 7, 8, 8, 8)" a function.

    Raises ValueError for a name that stands for no network.
    """
    if name in USERS:
        return USERS[name]
    found = re.fullmatch(r"(\w+)(?:\((\d+(?:, \d+)*)\))?", name)
    made = found and (getattr(models, found[1], None) or globals().get(found[1]))
    if not (inspect.isclass(made) and issubclass(made, nn.Module) and made is not models.Chain):
        raise ValueError(f"{name} is no network of src/model.py or src/learn/networks.py: correct the name, or add it")
    return functools.partial(made, *map(int, found[2].split(", "))) if found[2] else made


def name_of(network: Network) -> str:
    """Return the name by which `named` finds a class, or a function made by functools.partial."""
    if isinstance(network, functools.partial):
        return f"{network.func.__name__}({', '.join(map(str, network.args))})"
    return network.__name__


@functools.cache
def network_facts(name: str) -> tuple:
    """Return a network's number of parameters, and its receptive field in pixels and that before its global average.

    The fields are None where they are not known, or where there is no such average. Raises ValueError for a name that
    stands for no network, or for one that cannot be built.
    """
    network = named(name)
    try:
        with torch.random.fork_rng(devices=[]):
            model = network()
        return sum(p.numel() for p in model.parameters()), *receptive_field(model)
    except Exception as error:  # whatever a constructor or a layer makes of wrong numbers
        says = str(error).partition("\n")[0]
        raise ValueError(f"{name} cannot be built ({says}): correct it") from None


# ---------------------------------------------------------------- Model_7 with one thing changed


class Model_7_Plain1x1(models.Chain):
    """Model_7 as attempt B's code has it, against its write-up: no ReLU and no dropout after the 1x1 convolution.

    7,974 parameters, receptive field 22 before the average.
    """

    def __init__(self):
        layers = list(models.Model_7())
        super().__init__(*layers[:4], layers[4][0], *layers[6:])


class Model_7_NoDropout(models.Chain):
    """Model_7 without its seven dropouts: 7,974 parameters, receptive field 22 before the average."""

    def __init__(self):
        super().__init__(*(layer for layer in models.Model_7() if not isinstance(layer, nn.Dropout)))


class Model_7_NoDropoutTwoPoolings(models.Chain):
    """The same, a second pooling in place of three unpadded convolutions' borders.

    7,974 parameters, receptive field 32 before the average.
    """

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 6, bias=False), conv_relu_bn(6, 8, bias=False), conv_relu(8, 8, kernel=1, bias=False),
            nn.MaxPool2d(2),
            conv_relu_bn(8, 10, padding=1, bias=False), conv_relu_bn(10, 14, padding=1, bias=False),
            nn.MaxPool2d(2),
            conv_relu_bn(14, 16, padding=1, bias=False), conv_relu_bn(16, 20, padding=1, bias=False),
            nn.AvgPool2d(6), nn.Conv2d(20, 20, 1, bias=False), nn.Flatten(),
        )  # fmt: skip


# ---------------------------------------------------------------- Model_8 with one thing changed


class Model_8_ReLU(models.Model_8):
    """Model_8 with ReLU in place of Hardswish: 7,996 parameters."""

    def __init__(self):
        super().__init__()
        for block in list(self)[:5]:
            block[-1] = nn.ReLU()


class Model_8_ActivationFirst(models.Model_8):
    """Model_8 with BatchNorm after Hardswish, as both published attempts have it after ReLU: 7,996 parameters."""

    def __init__(self):
        super().__init__()
        for block in list(self)[:5]:
            block[-2], block[-1] = block[-1], block[-2]


class Model_8_ThirdPooling(models.Model_8):
    """Model_8 with a third pooling before the last convolution, as in attempt A, for the average: 7,996 parameters."""

    def __init__(self):
        super().__init__()
        self[4].insert(1, nn.MaxPool2d(2))
        del self[7]  # the average


class Model_8_Dropout(models.Model_8):
    """Model_8 with dropout 0.1 after each of its first five blocks, as Model_7 has it: 7,996 parameters."""

    def __init__(self):
        super().__init__()
        for block in list(self)[:5]:
            block.append(nn.Dropout(0.1))


# ---------------------------------------------------------------- Model_8 in other sizes


class Model_8_Widths(models.Chain):
    """Model_8's plan with other numbers of channels in its first five layers."""

    def __init__(self, first, second, third, fourth, fifth):
        super().__init__(
            conv_bn_hardswish(1, first),
            conv_pool_bn_hardswish(first, second),
            conv_bn_hardswish(second, third, padding=1),
            conv_pool_bn_hardswish(third, fourth, padding=1),
            conv_bn_hardswish(fourth, fifth, padding=1),
            nn.Conv2d(fifth, 10, 3, bias=False),
            nn.BatchNorm2d(10),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
