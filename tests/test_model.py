"""Each model against the published counts, its own comments, and oracles that share no code with src."""

import inspect
import re

import pytest
import torch
import torchsummary
from torch import nn

from src import model as models
from src.evidence.results import read_published
from src.notebook import show
from src.receptive_field import layers, receptive_field
from tests.helpers import model_names
from tests.test_receptive_field import measured_field

# Counted by the write-ups, or for Model_3 by hand: the write-up copied Model_2's count.
PUBLISHED_COUNTS = {
    "Model_1": 6_379_786,
    "Model_2": 1_968_874,
    "Model_3": 1_970_730,
    "Model_4": 10_970,
    "Model_5": 7_836,
    "Model_6": 7_836,
    "Model_7": 7_974,
}


@pytest.fixture(params=model_names())
def model_class(request):
    return getattr(models, request.param)


def count(model_class):
    return sum(p.numel() for p in model_class().parameters())


def test_parameters(model_class):
    assert f"{count(model_class):,} parameters" in model_class.__doc__
    if model_class.__name__ in PUBLISHED_COUNTS:
        assert count(model_class) == PUBLISHED_COUNTS[model_class.__name__]


def test_published_models_are_all_there():
    assert list(PUBLISHED_COUNTS) == list(read_published().rebuilt) == model_names()[: len(PUBLISHED_COUNTS)]


def test_torchsummary_counts_what_we_count(model_class, monkeypatch):
    shown = []
    monkeypatch.setattr(show, "display", shown.append)
    show.show_summary(model_class)
    assert shown[0].data.startswith("<details>")  # folded
    assert f"Total params: {count(model_class):,}\n" in shown[0].data
    assert sum(layer.parameters for layer in layers(model_class())) == count(model_class)


def test_summary_leaves_the_random_stream_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    show.show_summary(models.Model_8)
    assert torch.equal(torch.get_rng_state(), before)
    # The trap that show_summary avoids: torchsummary itself draws a batch.
    torchsummary.summary(models.Model_8().eval(), (1, 28, 28), device="cpu")
    assert not torch.equal(torch.get_rng_state(), before)


def test_logits_of_ten_digits(model_class):
    outputs = 20 if model_class is models.Model_7 else 10  # as published
    assert f"Images (N, 1, 28, 28) to logits (N, {outputs})." in model_class.__doc__
    assert model_class()(torch.randn(2, 1, 28, 28)).shape == (2, outputs)


def test_comments_at_the_line_ends(model_class):
    """The line of each layer says the output's shape and receptive field; run the layers one by one to check it."""
    claims = re.findall(r"# (.+), RF (\d+)$", inspect.getsource(model_class.__init__), re.MULTILINE)
    model = model_class().eval()
    assert len(claims) == len(model)
    x = torch.zeros(1, 1, 28, 28)
    for at, (shape, field) in enumerate(claims, 1):
        x = model[at - 1](x)
        assert " x ".join(map(str, x.shape[1:])) == shape
        until_here = nn.Sequential(*list(model)[:at])
        assert str(layers(until_here)[-1].receptive_field) == measured_field(until_here) == field


def test_receptive_field_is_that_of_the_docstring(model_class):
    field, before = receptive_field(model_class())
    stated = f"receptive field {before} ({field} after the average)" if before else f"receptive field {field}."
    assert stated in model_class.__doc__.splitlines()[0]


def test_published_differences():
    """What the comparisons of the notebooks rest on: one change at a time."""
    extra = [m for m in models.Model_3().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(extra) == 7
    assert sum(p.numel() for m in extra for p in m.parameters()) == count(models.Model_3) - count(models.Model_2)
    for plain, changed in ((models.Model_2, models.Model_3), (models.Model_5, models.Model_6)):
        torch.manual_seed(0)
        one = [m.weight for m in plain().modules() if isinstance(m, nn.Conv2d)]
        torch.manual_seed(0)
        two = [m.weight for m in changed().modules() if isinstance(m, nn.Conv2d)]
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    without = [str(m) for m in models.Model_6() if not isinstance(m, nn.Dropout)]
    assert without == [str(m) for m in models.Model_5()]
    assert sum(isinstance(m, nn.Dropout) for m in models.Model_6()) == 4
