"""The recurrence on cases worked out by hand, against an oracle, and what it must refuse."""

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn
from torch.nn import functional as F

from src.notebook import show
from src.receptive_field import layers, receptive_field
from src.report import figures


def test_by_hand():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=2, padding=2),  # 28 -> 14, field 5, jump 2
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(2, 3, 3, dilation=2), nn.BatchNorm2d(3)),  # 14 -> 10, field 5 + 4 * 2, jump 2
        nn.MaxPool2d((3,), stride=2, padding=1),  # 10 -> 5, field 13 + 2 * 2, jump 4
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
    assert receptive_field(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())) == (28, None)  # nothing before it


class Separable(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 2, (3, 1)),  # 26 x 28, field 3 x 1
            nn.Conv2d(2, 2, (1, 3), padding=(1, 0)),  # 28 x 26, field 3
            nn.MaxPool2d((2, 1)),  # 14 x 26, field 4 x 3, jump 2 x 1
            nn.Conv2d(2, 2, 3, padding="same", dilation=(1, 2)),  # 14 x 26, field 8 x 7
            nn.AvgPool2d((1, 2)),  # 14 x 13, field 8, jump 2
            nn.AdaptiveAvgPool2d(1),  # field 8 + 13 * 2 x 8 + 12 * 2
        )


def test_height_and_width_by_hand():
    rows = [(r.name, r.kernel, r.stride, r.padding, r.jump, str(r.receptive_field)) for r in layers(Separable())]
    assert rows == [
        ("Conv2d 3x1", "3 x 1", 1, 0, 1, "3 x 1"),
        ("Conv2d 1x3", "1 x 3", 1, "1 x 0", 1, "3"),
        ("MaxPool2d 2x1", "2 x 1", "2 x 1", 0, "2 x 1", "4 x 3"),
        ("Conv2d 3x5", "3 x 5", 1, "same", "2 x 1", "8 x 7"),
        ("AvgPool2d 1x2", "1 x 2", "1 x 2", 0, 2, "8"),
        ("GlobalAvgPool 14x13", "14 x 13", "14 x 13", 0, "28 x 26", "34 x 32"),
    ]
    assert receptive_field(Separable()) == ("34 x 32", 8)


def test_height_and_width_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(show, "display", lambda content, raw=False: shown.append(content))
    show.show_layers(Separable)
    row = "| MaxPool2d 2x1 | 2 x 1 | 2 x 1 | 0 | 2 x 1 | 4 x 3 | 2 x 14 x 26 | 0 |"
    assert row in shown[-1]["text/markdown"].splitlines()
    figure = figures.architecture(Separable(), torch.zeros(1, 28, 28))
    FigureCanvasAgg(figure).draw()
    fields = [text.get_text() for text in figure.axes[1].texts]
    assert fields == ["3", "8"]  # squares only


# ---------------------------------------------------------------- an oracle that shares no code with src


def as_linear_probe(module, size=(28, 28)):
    """Turn a chain into one with all weights one and no way to lose a gradient, of the same geometry.

    Return it with the height and width that it makes of an image of that size.
    """
    if isinstance(module, nn.Sequential):
        built = []
        for child in module:
            probe, size = as_linear_probe(child, size)
            built.append(probe)
        return nn.Sequential(*built), size
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        probe = nn.Conv2d(1, 1, module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    elif isinstance(module, nn.AdaptiveAvgPool2d):
        probe = nn.Conv2d(1, 1, size, size)
    else:
        return nn.Identity(), size
    nn.init.ones_(probe.double().weight)
    return probe, tuple(probe(torch.zeros(1, 1, *size, dtype=torch.double)).shape[2:])


def measured_field(model):
    """Measure by autograd which input pixels reach one output in the middle of a large image, as it is shown."""
    probe, _ = as_linear_probe(model)
    image = torch.zeros(1, 1, 200, 200, dtype=torch.double, requires_grad=True)
    out = probe(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    height, width = (int(reached.max() - reached.min()) + 1 for reached in image.grad[0, 0].nonzero().unbind(1))
    return f"{height} x {width}" if height != width else str(height)


def shared():
    layer = nn.Conv2d(1, 1, (5, 3), stride=(1, 2), padding=(2, 1))
    return nn.Sequential(layer, nn.ReLU(), nn.Sequential(layer, nn.BatchNorm2d(1)), layer)


CHAINS = {
    "non-square": nn.Sequential(nn.Conv2d(1, 1, (3, 1)), nn.Conv2d(1, 1, (1, 3)), nn.Conv2d(1, 1, (1, 7))),
    "stride": nn.Sequential(nn.Conv2d(1, 1, 3, stride=(2, 1)), nn.MaxPool2d((1, 2)), nn.Conv2d(1, 1, (3, 5))),
    "same": nn.Sequential(nn.Conv2d(1, 1, 5, padding="same"), nn.MaxPool2d(2), nn.Conv2d(1, 1, (1, 3), padding="same")),
    "valid": nn.Sequential(nn.Conv2d(1, 1, 5, padding="valid"), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, padding="valid")),
    "dilation": nn.Sequential(nn.Conv2d(1, 1, 3, dilation=3), nn.Conv2d(1, 1, (3, 2), dilation=(2, 5))),
    "dilated pooling": nn.Sequential(nn.MaxPool2d(3, stride=1, dilation=2), nn.AvgPool2d([3, 1])),
    "shared": shared(),
    "all": Separable(),
}


@pytest.mark.parametrize("name", CHAINS)
def test_each_layer_sees_what_reaches_it(name):
    flat = [module for module in as_list(CHAINS[name]) if not isinstance(module, (nn.ReLU, nn.BatchNorm2d))]
    measured = [measured_field(nn.Sequential(*flat[:at])) for at in range(1, len(flat) + 1)]
    assert [str(layer.receptive_field) for layer in layers(CHAINS[name])] == measured


def as_list(chain):
    return [module for child in chain for module in (as_list(child) if isinstance(child, nn.Sequential) else [child])]


def test_padding_changes_no_field():
    for kernel, dilation in ((3, 1), (4, 2), ((3, 1), 1), (3, (1, 2))):
        shown = {
            str(receptive_field(nn.Sequential(nn.Conv2d(1, 1, kernel, padding=padding, dilation=dilation)))[0])
            for padding in (0, 1, (2, 0), "same", "valid")
        }
        assert len(shown) == 1


@pytest.mark.parametrize("name", CHAINS)
def test_every_parameter_is_counted_once(name):
    assert sum(layer.parameters for layer in layers(CHAINS[name])) == sum(p.numel() for p in CHAINS[name].parameters())


def test_shared_weights_are_the_first_layers():
    one, other = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)
    other.weight = one.weight  # the bias is its own
    found = layers(nn.Sequential(one, nn.BatchNorm2d(1), other, one))
    assert [layer.parameters for layer in found] == [10 + 2, 1, 0]


# ---------------------------------------------------------------- what is not known


class Twice(nn.Sequential):
    def forward(self, x):
        return super().forward(super().forward(x))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3)

    def forward(self, x):
        return self.layer(self.layer(x))


class Residual(Own):
    def forward(self, x):
        return x[:, :, 1:-1, 1:-1] + self.layer(x)


class Depends(Own):
    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else self.layer(self.layer(x))


class Functional(Own):
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.layer(x)), 2)
        return F.log_softmax(self.layer(F.dropout(x, 0.1, self.training)).view(-1, 121), dim=1)


@pytest.mark.parametrize(
    "layer", [nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(2), nn.Linear(28, 28), Residual(), Depends()]
)
def test_what_is_not_known_is_said_from_there_on(layer):
    known, unknown, after = layers(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.GELU(), layer, nn.MaxPool2d(2)))
    assert (known.receptive_field, known.name) == (3, "Conv2d 3x3, GELU")
    for one in (unknown, after):
        assert {one.kernel, one.stride, one.padding, one.jump, one.receptive_field} == {None}
    assert receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), layer)) == (None, None)
    assert unknown.parameters == sum(p.numel() for p in layer.parameters())


def test_a_forward_that_calls_layers_in_turn_is_a_chain():
    once = nn.Conv2d(1, 1, 3)
    assert (
        receptive_field(Twice(once))
        == receptive_field(Own())
        == receptive_field(nn.Sequential(once, once))
        == (5, None)
    )
    rows = [(r.name, r.receptive_field, r.shape, r.parameters) for r in layers(Functional())]
    assert rows == [
        ("Conv2d 3x3, ReLU", 3, (1, 26, 26), 10),
        ("MaxPool2d 2x2, Dropout 0.1", 4, (1, 13, 13), 0),
        ("Conv2d 3x3, Flatten, LogSoftmax", 8, (121,), 0),
    ]


@pytest.mark.parametrize("model", [Residual(), Depends()])
def test_a_network_that_is_no_chain_is_one_unknown_layer(model):
    (layer,) = layers(model)
    expected = type(model).__name__, None, tuple(model(torch.ones(1, 1, 28, 28)).shape[1:]), 10
    assert (layer.name, layer.receptive_field, layer.shape, layer.parameters) == expected
    assert receptive_field(model) == (None, None)


def test_the_model_is_left_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
