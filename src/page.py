"""A page on which one draws a digit and watches the network read it: results/try.html, made from its weights."""

import base64
import json
from pathlib import Path

import torch
from torch import nn

from src.files import ROOT, write
from src.images import LARGEST_STEP, MEAN, SMALLEST_STEP, SPREAD, STD, STEEPEST
from src.reader import BOX, SIDE
from src.receptive_field import layers

NAME = "try.html"
TEMPLATE = ROOT / "src" / "page.html"
PLACE = "/* the network */ null"


def save(readers, folder):
    """Write the page of `readers`, the networks by name, and return its path."""
    path = Path(folder) / NAME
    write(path, html(readers))
    return path


def html(readers):
    """Return the page of `readers`, the networks by name."""
    content = {name: network(reader.model, reader.recipe) for name, reader in readers.items()}
    template = TEMPLATE.read_text(encoding="utf-8")
    if template.count(PLACE) != 1:
        raise ValueError(f"{TEMPLATE} must hold {PLACE} once, for the network to be put there")
    return template.replace(PLACE, json.dumps(content, separators=(",", ":")))


def network(model, recipe):
    """Describe a network as the page computes it: what prepares an image, and the layers with their weights.

    A layer ends where its maps are shown: after the pointwise layers behind a convolution or pooling. BatchNorm is a
    factor and a summand for each channel. Weights are float32, as base64. Raises TypeError for a layer that the page
    does not know.
    """
    described, start = [], 0.0
    steps = iter(module for module in model.modules() if not isinstance(module, nn.Sequential))
    pending = next(steps)
    for layer in layers(model):
        operations = [_operation(pending)]
        pending = next(steps, None)
        while pending is not None and not isinstance(pending, (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)):
            operations += [] if isinstance(pending, nn.Flatten) else [_operation(pending)]
            pending = next(steps, None)
        before = described[-1]["jump"] if described else 1
        start += ((layer.kernel - 1) / 2 - layer.padding) * before
        described.append(
            {
                "shape": [*layer.shape, 1, 1][:3],
                "field": layer.receptive_field,
                "jump": layer.jump,
                "start": start,  # of the image's pixels, the one in the middle of what the first unit sees
                "operations": operations,
            }
        )
    return {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "prepare": {
            "straighten": recipe.straighten, "spread": recipe.spread, "common": SPREAD,
            "steepest": STEEPEST, "smallest": SMALLEST_STEP, "largest": LARGEST_STEP, "mean": MEAN, "std": STD,
        },
        "box": BOX,
        "side": SIDE,
        "layers": described,
    }  # fmt: skip


def _operation(module):
    if isinstance(module, nn.Conv2d) and _has(module, bias=None, stride=(1, 1), dilation=(1, 1), groups=1):
        outputs, inputs, size, _ = module.weight.shape
        return {
            "kind": "convolution", "inputs": inputs, "outputs": outputs, "size": size, "padding": module.padding[0],
            "weights": _text(module.weight),
        }  # fmt: skip
    if isinstance(module, nn.BatchNorm2d):
        factor = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
        summand = module.bias.double() - factor * module.running_mean.double()
        return {"kind": "scale", "factor": _text(factor), "summand": _text(summand)}
    if isinstance(module, nn.MaxPool2d) and _has(module, kernel_size=2, stride=2, padding=0):
        return {"kind": "pool"}
    if isinstance(module, nn.Hardswish):
        return {"kind": "hardswish"}
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return {"kind": "average"}
    raise TypeError(f"the page does not know {module}: teach src/page.html and src/page.py")


def _has(module, **settings):
    return all(getattr(module, name) == value for name, value in settings.items())


def _text(values):
    return base64.b64encode(values.detach().cpu().to(torch.float32).contiguous().numpy().tobytes()).decode()
