"""A page on which one draws a digit and watches the network read it: results/try.html, made from its weights."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.demo.picture import BOX, SIDE
from src.demo.reader import Reader
from src.learn.images import MAX_SHEAR, MAX_STEP, MIN_STEP
from src.receptive_field import layers

NAME = "try.html"
SOURCES = Path(__file__).with_suffix("")  # the folder of what the page is put together from
TITLE = "<title>Draw a digit, watch the network read it</title>"
PARTS = "style.css", "engine.js", "ink.js", "view.js"
PLACE = re.compile(r"\{\{ (\S+) \}\}")  # in the markup, page.html, for a part or for the networks


def page_is_ours(path: Path) -> bool:
    """Say whether an HTML file is such a page, of whatever networks."""
    return TITLE in path.read_text(encoding="utf-8", errors="replace")


def page_html(readers: dict[str, Reader]) -> str:
    """Return the page of `readers`, the networks by name: one HTML document that loads nothing else.

    Raises ValueError where page.html lacks the place of a part, TypeError as `described` does.
    """
    networks = {name: described(reader) for name, reader in readers.items()}
    contents = {name: (SOURCES / name).read_text(encoding="utf-8").rstrip() for name in PARTS}
    contents["networks"] = json.dumps(networks, separators=(",", ":"))
    markup = (SOURCES / "page.html").read_text(encoding="utf-8")
    if sorted(PLACE.findall(markup)) != sorted(contents):
        places = ", ".join(f"{{{{ {name} }}}}" for name in contents)
        raise ValueError(f"{SOURCES / 'page.html'} must hold each of these once, and nothing like them: {places}")
    return PLACE.sub(lambda place: contents[place[1]], markup)


def described(reader: Reader) -> dict[str, Any]:
    """Describe a network as the page computes it: how an image is preprocessed, and the layers with their weights.

    A layer ends where its maps are shown: after the pointwise layers behind a convolution or pooling. BatchNorm is a
    factor and a summand for each channel. Weights are float32, as base64. Raises TypeError for a layer that the page
    does not know.
    """
    model, recipe, statistics = reader.model, reader.recipe, reader.preprocess.statistics
    found, start = [], 0.0
    steps = iter(module for module in model.modules() if not isinstance(module, nn.Sequential))
    pending = next(steps)
    for layer in layers(model):
        operations = [_operation(pending)]
        pending = next(steps, None)
        while pending is not None and not isinstance(pending, (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)):
            operations += [] if isinstance(pending, nn.Flatten) else [_operation(pending)]
            pending = next(steps, None)
        if not all(isinstance(side, int) for side in (layer.kernel, layer.padding)):
            raise TypeError(f"the page does not know {layer.name}: teach src/demo/page/engine.js and src/demo/page.py")
        before = found[-1]["jump"] if found else 1
        start += ((layer.kernel - 1) / 2 - layer.padding) * before
        found.append(
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
        "preprocess": {
            "deslant": recipe.deslant, "sizeNormalisation": recipe.size_normalisation,
            "ink": [statistics.ink_x, statistics.ink_y],
            "maxShear": MAX_SHEAR, "minStep": MIN_STEP, "maxStep": MAX_STEP,
            "mean": statistics.mean, "std": statistics.std,
        },
        "detector": {
            "means": _text(reader.detector.means), "whitening": _text(reader.detector.whitening),
            "limit": reader.detector.limit,
        },
        "box": BOX,
        "side": SIDE,
        "layers": found,
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
    raise TypeError(f"the page does not know {module}: teach src/demo/page/engine.js and src/demo/page.py")


def _has(module, **settings):
    return all(getattr(module, name) == value for name, value in settings.items())


def _text(values):
    return base64.b64encode(values.detach().cpu().to(torch.float32).contiguous().numpy().tobytes()).decode()
