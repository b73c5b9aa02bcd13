"""Trying a network of one's own: what just works, and what is refused in one sentence before any training."""

import re
import shutil

import pytest
import torch
from torch import nn

from src.evidence.schema import path_to
from src.learn.recipe import Recipe
from src.studies import mine
from tests.helpers import finished

COURSE = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.pool = nn.MaxPool2d(2, 2)
        self.head = nn.Conv2d(width, 10, 13)

    def forward(self, x):
        x = self.head(self.pool(self.block(x)))
        return F.log_softmax(x.view(-1, 10), dim=-1)


class Residual(Net):
    def forward(self, x):
        x = self.block(x)
        return self.head(self.pool(x + x)).flatten(1)


class Twenty(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 20))


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1024, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Map(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 10, 28))


class Five(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 5))


class Undefined(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x):
        return super().forward(x) / 0 * 0


class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()


class Fixed(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10]
"""


@pytest.fixture
def course(tmp_path):
    path = tmp_path / "course.py"
    path.write_text(COURSE)
    return path


@pytest.mark.parametrize("name", ["Net", "Residual", "Twenty"])
def test_what_just_works(course, data, monkeypatch, tmp_path, name):
    """Log-probabilities, a forward of its own, twenty outputs."""
    monkeypatch.setattr(mine, "TRIAL", tmp_path)
    network = mine.loaded(f"{course}:{name}")
    mine.check_network(network)
    evidence = mine.try_network(network, data, Recipe(epochs=2), (3, 4), mine.Lines)
    assert list(evidence.arms[name].finals) == [3, 4]
    assert evidence.arms[name].parameters == sum(p.numel() for p in network().parameters())
    assert re.match(rf"{name} holds 99.4 % in [012].of.2 runs; the lowest epoch is [\d.]+ %", mine.verdict(evidence))
    assert "quick look, at 600 images for 2 epochs" in mine.verdict(evidence)
    assert mine.picture_of(evidence).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Wide", "Wide takes no images of 1 x 28 x 28"),
        ("Map", "Map makes 2 x 10 x 1 x 1"),
        ("Five", "Five makes 2 x 5"),
        ("Undefined", "Undefined answers nan"),
        ("Needs", "'width'; give every argument a default"),
        ("Fixed", "Fixed has no weights"),
        ("Nett", "no network Nett: it has Net, Residual, Twenty"),
    ],
)
def test_what_cannot_be_trained_is_refused(course, name, says):
    with pytest.raises(mine.NetworkError, match=says):
        mine.check_network(mine.loaded(f"{course}:{name}"))


@pytest.mark.parametrize(
    ("place", "content", "says"),
    [
        ("course.py", "", "write it as my_network.py:Net"),
        ("missing.py:Net", None, "missing.py is no file"),
        ("broken.py:Net", "class Net(:", "broken.py does not run: SyntaxError"),
        ("lacks.py:Net", "import no_such_module", "lacks.py does not run: ModuleNotFoundError: .*no_such_module"),
        ("plain.py:Net", "class Net: pass", "plain.py has no network Net: it has none"),
    ],
)
def test_a_file_that_gives_no_network(tmp_path, monkeypatch, place, content, says):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / place.split(":")[0]).write_text(content)
    with pytest.raises(mine.NetworkError, match=says):
        mine.loaded(place)


def test_a_training_that_breaks_names_the_seed(data, monkeypatch, tmp_path):
    monkeypatch.setattr(mine, "TRIAL", tmp_path)

    class Breaks(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Flatten(), nn.Linear(784, 10))

        def forward(self, images):
            return torch.log(super().forward(images)) if self.training else super().forward(images)

    mine.check_network(Breaks)
    with pytest.raises(mine.NetworkError, match="Breaks, seed 5: the loss is nan in epoch 1"):
        mine.try_network(Breaks, data, Recipe(epochs=1), (5,), mine.Lines)


def test_the_command(course, command, tmp_path):
    (tmp_path / "results" / "studies").mkdir()
    shutil.copy(path_to("published_models"), tmp_path / "results" / "studies")
    shutil.copy(path_to("model_8_confirmation"), tmp_path / "results" / "studies")
    status, shown, errors = finished(
        command("-m", "src.studies.mine", f"{course}:Net", "--recipe", "published", "--seeds", "0,1", "--epochs", "1")
    )
    assert (status, errors) == (0, "")
    assert "| Conv2d 3x3, BatchNorm, ReLU | 3 |" in shown
    assert "10,216 parameters: 2,217 too many for the budget" in shown  # 54 + 12 + 10,140 + 10
    assert shown.rstrip().endswith("Written: .runs/trial/mine_Net.png")
    status, shown, errors = finished(command("-m", "src.studies.mine", f"{course}:Five"))
    assert status == 1
    assert errors.count("\n") == 1
    assert "Five makes 2 x 5" in errors
