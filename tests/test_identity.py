"""The hash that says when evidence is stale: what changes it, what does not, and what it cannot see and refuses."""

import importlib.util
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from src import model as models
from src import variants
from src.identity import code_sha256, deciding_code, network
from tests.helpers import copy_source, model_names


def test_models_have_their_own_hashes():
    names = model_names()
    assert len({code_sha256(getattr(models, name)) for name in names}) == len(names)


def test_the_way_of_writing_a_network_does_not_count():
    class Twin(nn.Sequential):
        def __init__(self):
            super().__init__(*models.Model_8())

    assert code_sha256(Twin) == code_sha256(models.Model_8)
    assert network(variants.Model_8_EvenWidths) != network(models.Model_8)


def replace(text, old, new):
    assert old in text
    return text.replace(old, new)


def move_affine(source):
    """Move `affine` and what it calls, unchanged, from src/images.py to a file of its own."""
    text = (source / "images.py").read_text()
    start = text.index("def affine(")
    head = "import math\n\nimport torch\nfrom torch.nn.functional import affine_grid, grid_sample\n\n\n"
    (source / "moved.py").write_text(head + text[start:])
    line = "from torch.nn.functional import affine_grid, grid_sample, interpolate\n"
    rest = replace(
        text[:start], line, "from src.moved import _resample, affine\nfrom torch.nn.functional import interpolate\n"
    )
    (source / "images.py").write_text(replace(rest, "import math\n", ""))


def through_a_module(source):
    """Let training call what it takes from src/images.py through the module."""
    text = (source / "training.py").read_text()
    line, names = re.search(r"^from src\.images import (.+)$", text, re.MULTILINE).group(0, 1)
    text = text.replace(line, "from src import images as pixels")
    for name in names.split(", "):
        text = replace(text, f"{name}(", f"pixels.{name}(")
    (source / "training.py").write_text(text)


def constants_in_a_dict(source):
    text = (source / "images.py").read_text()
    text = replace(text, "MEAN, STD = 0.1307, 0.3081", 'OF_MNIST = {"mean": 0.1307, "std": 0.3081}')
    (source / "images.py").write_text(
        replace(text, "255 * MEAN) / (255 * STD)", '255 * OF_MNIST["mean"]) / (255 * OF_MNIST["std"])')
    )


def edit(file, old, new):
    def apply(source):
        (source / file).write_text(replace((source / file).read_text(), old, new))

    return apply


SAME = {
    "a comment": edit("model.py", "# 8 x 26 x 26, RF 3", "# an edge detector"),
    "a docstring": edit("images.py", '"""Scale values', '"""Bring values'),
    "formatting": edit("images.py", "draw[0] * rotation,", "(draw[0]\n        * rotation),"),
    "another model": edit("model.py", "conv_relu_bn(8, 12)", "conv_relu_bn(8, 13)"),
    "an error's words": edit("training.py", "the loss is {loss.item()}", "loss {loss.item()}"),
    "a check of Recipe": edit("recipe.py", "if self.lr <= 0", "if self.lr < 0"),
    "a new field of Recipe": edit("recipe.py", "ema: float = 0.0\n", "ema: float = 0.0\n    cutout: float = 0.0\n"),
    "how a checkpoint is named": edit("runs.py", '"checkpoint"', '"latest"'),
    "how a file is written": edit("files.py", ".partial", ".part"),
    "how data are checked": edit("data.py", "with the wrong SHA-256", "that are wrong"),
    "affine in another file": move_affine,
    "an import that nothing uses": edit("images.py", "import math\n", "import math\nimport os\n"),
}
OTHER = {  # what is edited first, as another way of writing, and then
    "a layer": (None, edit("model.py", "conv_bn_hardswish(1, 8)", "conv_bn_hardswish(1, 8, padding=1)")),
    "a block that it is built from": (None, edit("model.py", "nn.Hardswish(),\n", "nn.Hardswish(inplace=True),\n")),
    "the loop": (None, edit("training.py", "optimizer.zero_grad()", "optimizer.zero_grad(True)")),
    "what the loop calls": (None, edit("images.py", 'padding_mode="zeros"', 'padding_mode="border"')),
    "affine, which was moved": (move_affine, edit("moved.py", 'padding_mode="zeros"', 'padding_mode="border"')),
    "augment behind a module": (through_a_module, edit("images.py", "draw[3] * scale", "draw[4] * scale")),
    "the seed of the initial weights": (None, edit("training.py", "(seed)\n    return", "(seed + 1)\n    return")),
    "a constant": (None, edit("images.py", "0.3081", "0.3")),
    "a constant in a dict": (constants_in_a_dict, edit("images.py", '"std": 0.3081', '"std": 0.3')),
    "where a function comes from": (
        None,
        edit("images.py", "import affine_grid, grid_sample,", "import affine_grid, grid_sample as affine_grid,"),
    ),
    "a constant set from outside": (None, edit("training.py", "\n\nclass Score", "\nF.pad = None\n\n\nclass Score")),
}


def decides(folder):
    """Return what the identity of Model_8 consists of in a copy of src/."""
    spec = importlib.util.spec_from_file_location("edited", folder / "src" / "model.py")
    edited = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(edited)
    return network(edited.Model_8), deciding_code(folder / "src")


@pytest.fixture
def source(tmp_path):
    return copy_source(tmp_path) / "src"


@pytest.mark.parametrize("apply", SAME.values(), ids=SAME)
def test_what_does_not_decide_a_run_does_not_count(source, apply):
    before = decides(source.parent)
    apply(source)
    assert decides(source.parent) == before


@pytest.mark.parametrize(("first", "apply"), OTHER.values(), ids=OTHER)
def test_what_decides_a_run_counts(source, first, apply):
    if first:
        first(source)
    before = decides(source.parent)
    apply(source)
    assert decides(source.parent) != before


def test_it_is_of_the_code_that_was_imported(tmp_path):
    """Somebody edits a file while its old code trains: the run must not be filed under the new text."""
    copy_source(tmp_path)
    program = (
        "from pathlib import Path; from src.model import Model_8; from src.identity import code_sha256;"
        "path = Path('src/training.py'); text = path.read_text();"
        "path.write_text('# moved\\n' + text.replace('zero_grad()', 'zero_grad(True)')); print(code_sha256(Model_8))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == code_sha256(models.Model_8)


def test_two_meanings_of_a_name_are_refused(source):
    path = source / "images.py"
    path.write_text(path.read_text() + "\n\ndef predict():\n    pass\n")
    with pytest.raises(ValueError, match=r"predict has two meanings in .*images: give one another name"):
        deciding_code(source)


def test_code_that_it_cannot_see_is_refused(source):
    text = (source / "images.py").read_text()
    (source / "images.py").write_text(
        "import importlib\n" + text.replace("math.pi", 'importlib.import_module("math").pi')
    )
    with pytest.raises(ValueError, match=r"importlib in .* would hide code that decides a run: import it plainly"):
        deciding_code(source)
    (source / "images.py").unlink()
    (source / "images").mkdir()
    (source / "images" / "__init__.py").write_text(text)
    with pytest.raises(ValueError, match=r"src/images is a folder, whose code no run's identity would see"):
        deciding_code(source)


def test_a_name_that_passes_through_a_file_counts(source):
    text = (source / "training.py").read_text()
    text = replace(text, "from src.images", "from src.losses import loss_of\nfrom src.images")
    (source / "training.py").write_text(replace(text, "F.cross_entropy(logits, labels)\n", "loss_of(logits, labels)\n"))
    (source / "losses.py").write_text("from torch.nn.functional import cross_entropy as loss_of\n")
    before = deciding_code(source)
    (source / "losses.py").write_text("from torch.nn.functional import multi_margin_loss as loss_of\n")
    assert deciding_code(source) != before


class SharedPooling(nn.Sequential):
    def __init__(self, shared=True):
        pool = nn.MaxPool2d(2)
        super().__init__(nn.Conv2d(1, 4, 3), pool, nn.Conv2d(4, 4, 3), *([pool] if shared else []), nn.Flatten())


def test_a_layer_that_is_used_twice_is_told_twice():
    assert len(network(SharedPooling)) == len(network(lambda: SharedPooling(shared=False))) + 1


class OwnForward(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class OwnWeights(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 10, 28), nn.Flatten())
        nn.init.zeros_(self[0].bias)


class Frozen(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 10, 28), nn.Flatten())
        self[0].bias.requires_grad_(False)


class Hooked(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 10, 28), nn.Flatten())
        self[0].register_forward_hook(lambda module, inputs, output: 2 * output)


class OwnLayer(nn.Sequential):
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    def __init__(self):
        super().__init__(nn.Conv2d(1, 10, 28), nn.Flatten(), self.Doubled())


@pytest.mark.parametrize("model_class", [OwnForward, OwnWeights, Frozen, Hooked, OwnLayer])
def test_what_it_cannot_see_is_refused(model_class):
    with pytest.raises(TypeError, match=f"in {model_class.__name__} is more than a list of torch's layers"):
        code_sha256(model_class)


def test_settings_that_a_layer_does_not_print():
    def averaging(**settings):
        return type("Averaging", (nn.Sequential,), {"__init__": lambda self: nn.Sequential.__init__(
            self, nn.AvgPool2d(2, padding=1, **settings))})  # fmt: skip

    assert str(averaging()()) == str(averaging(count_include_pad=False)())
    assert code_sha256(averaging()) != code_sha256(averaging(count_include_pad=False))


def test_the_random_stream_is_left_alone():
    before = torch.get_rng_state()
    network(models.Model_5)
    assert torch.equal(torch.get_rng_state(), before)
