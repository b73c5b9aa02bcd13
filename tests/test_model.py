"""Each model against the published counts, its own comments, and oracles that share no code with src."""

import inspect
import re

import pytest
import torch
import torchsummary
from torch import nn

from src import model as models
from src import variants
from src.receptive_field import layers, receptive_field
from src.utils import show_summary

PARAMETERS = {
    "Model_1": 6_379_786,
    "Model_2": 1_968_874,
    "Model_3": 1_970_730,
    "Model_4": 10_970,
    "Model_5": 7_836,
    "Model_6": 7_836,
    "Model_7": 7_974,
    "Model_8": 7_996,
    "Model_9": 5_052,
}


@pytest.fixture(params=PARAMETERS)
def model_class(request):
    return getattr(models, request.param)


def test_every_model_is_listed_here():
    assert [name for name in vars(models) if name.startswith("Model_")] == list(PARAMETERS)


def test_parameters(model_class):
    expected = PARAMETERS[model_class.__name__]
    assert sum(p.numel() for p in model_class().parameters()) == expected
    assert f"{expected:,} parameters" in model_class.__doc__


def test_torchsummary_counts_what_we_count(model_class, capsys):
    show_summary(model_class)
    assert f"Total params: {PARAMETERS[model_class.__name__]:,}\n" in capsys.readouterr().out
    assert sum(layer.parameters for layer in layers(model_class())) == PARAMETERS[model_class.__name__]


def test_summary_leaves_the_random_stream_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    show_summary(models.Model_8)
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
        assert layers(nn.Sequential(*list(model)[:at]))[-1].receptive_field == int(field)


def as_linear_probe(module, size):
    """Turn a model into one with all weights one and no way to lose a gradient, of the same geometry."""
    if isinstance(module, nn.Sequential):
        built = []
        for child in module:
            probe, size = as_linear_probe(child, size)
            built.append(probe)
        return nn.Sequential(*built), size
    if isinstance(module, nn.Conv2d):
        probe = nn.Conv2d(1, 1, module.kernel_size, module.stride, module.padding, bias=False).double()
        nn.init.ones_(probe.weight)
    elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        probe = nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
    elif isinstance(module, nn.AdaptiveAvgPool2d):
        probe = nn.AvgPool2d(size)
    else:
        return nn.Identity(), size
    return probe, probe(torch.zeros(1, 1, size, size, dtype=torch.double)).shape[-1]


def measured_field(model):
    """Measure by autograd which input columns reach one output in the middle of a large image."""
    probe, _ = as_linear_probe(model, 28)
    image = torch.zeros(1, 1, 200, 200, dtype=torch.double, requires_grad=True)
    out = probe(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    rows, columns = image.grad[0, 0].nonzero().unbind(1)
    assert rows.max() - rows.min() == columns.max() - columns.min()
    return int(columns.max() - columns.min() + 1)


def test_receptive_field_by_autograd(model_class):
    model = model_class()
    field, before = receptive_field(model)
    assert field == measured_field(model)
    stated = f"receptive field {before} ({field} after the average)" if before else f"receptive field {field}."
    assert stated in model_class.__doc__.splitlines()[0]
    for at in range(1, len(model) + 1):
        assert layers(nn.Sequential(*list(model)[:at]))[-1].receptive_field == measured_field(
            nn.Sequential(*list(model)[:at])
        )


def test_variants_count_what_they_say():
    classes = [c for c in vars(variants).values() if inspect.isclass(c) and c.__module__ == variants.__name__]
    assert len(classes) > 5
    for variant in classes:
        if variant is variants.Widths:
            continue
        model = variant()
        of_model_7 = variant in (variants.NoDropout, variants.NoDropoutTwoPoolings)
        assert model(torch.randn(2, 1, 28, 28)).shape == (2, 20 if of_model_7 else 10)
        assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in variant.__doc__
        _, before = receptive_field(model)
        if of_model_7:
            assert f"receptive field {before} before the average" in variant.__doc__


def test_variants_change_one_thing():
    """Take away or swap what a variant is named for, and its original is left, layer by layer."""

    def chain(model):
        return [str(layer) for layer in model.modules() if not list(layer.children())]

    ours = chain(models.Model_8())
    assert [layer for layer in chain(variants.Dropout()) if "Dropout" not in layer] == ours
    assert [re.sub(r"ReLU\(.*\)", "Hardswish()", layer) for layer in chain(variants.ReLU())] == ours
    swapped = list(ours)
    for at, layer in enumerate(ours[1:], 1):
        if layer == "Hardswish()":
            swapped[at - 1 : at + 1] = ours[at], ours[at - 1]
    assert chain(variants.ActivationBeforeBatchNorm()) == swapped != ours
    assert chain(variants.Widths(8, 16, 16)) == ours
    assert chain(variants.Widths(7, 12, 12)) == chain(models.Model_9())
    pooled = chain(variants.ThirdPooling())
    assert [layer for layer in pooled if "Pool" not in layer] == [layer for layer in ours if "Pool" not in layer]
    assert [sum("MaxPool2d" in layer for layer in layers) for layers in (pooled, ours)] == [3, 2]

    published, relieved = chain(models.Model_7()), chain(variants.NoDropout())
    assert relieved == [layer for layer in published if "Dropout" not in layer] != published
    wider = chain(variants.NoDropoutTwoPoolings())
    assert sum("MaxPool2d" in layer for layer in wider) == 2
    unpadded = [
        re.sub(r", padding=\(1, 1\)", "", "".join(layer for layer in layers if "MaxPool2d" not in layer))
        for layers in (relieved, wider)
    ]
    assert unpadded[0] == unpadded[1]


def test_published_differences():
    """What the comparisons of the notebooks rest on: one change at a time."""
    extra = [m for m in models.Model_3().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(extra) == 7
    assert sum(p.numel() for m in extra for p in m.parameters()) == PARAMETERS["Model_3"] - PARAMETERS["Model_2"]
    for plain, changed in ((models.Model_2, models.Model_3), (models.Model_5, models.Model_6)):
        torch.manual_seed(0)
        one = [m.weight for m in plain().modules() if isinstance(m, nn.Conv2d)]
        torch.manual_seed(0)
        two = [m.weight for m in changed().modules() if isinstance(m, nn.Conv2d)]
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    without = [str(m) for m in models.Model_6() if not isinstance(m, nn.Dropout)]
    assert without == [str(m) for m in models.Model_5()]
    assert sum(isinstance(m, nn.Dropout) for m in models.Model_6()) == 4
