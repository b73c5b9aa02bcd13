"""Weights in a file, and the network that reads pictures with them."""

import json
import math
import re
import warnings

import pytest
import safetensors.torch
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from src import ROOT
from src.demo import reader
from src.demo.mahalanobis import fitted_detector
from src.demo.picture import as_mnist
from src.demo.reader import UnlikeMNIST, WeightFacts, load, reader_of, save_weights
from src.evidence.runs import fit
from src.evidence.storage import RESULTS
from src.learn.images import Statistics
from src.learn.training import Job
from src.model import Model_8, Model_9
from tests.helpers import EVERYTHING


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return fit(Job(Model_8, data, EVERYTHING, 0), folder=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def weights(trained, data, tmp_path):
    return save_weights(trained, reader_of(trained, data.train_images, data.train_labels), tmp_path)


@pytest.mark.filterwarnings("ignore::src.demo.reader.UnlikeMNIST")  # so little training is sure of nothing
def test_weights_come_back(weights, trained, data, tmp_path):
    assert weights == tmp_path / "model_8.safetensors"
    assert weights.stat().st_size < 60_000
    before = weights.read_bytes()
    save_weights(trained, reader_of(trained, data.train_images, data.train_labels), tmp_path)
    assert weights.read_bytes() == before
    loaded = load("Model_8", tmp_path)
    assert (loaded.recipe, loaded.preprocess.statistics) == (EVERYTHING, data.statistics)
    known = reader_of(trained, data.train_images, data.train_labels).detector
    assert loaded.detector.limit == known.limit
    assert torch.equal(loaded.detector.means, known.means)
    assert torch.equal(loaded.detector.whitening, known.whitening)
    for slope in (-60, 0, 60):
        picture = Image.new("L", (280, 280), "white")
        ImageDraw.Draw(picture).line([(140 + slope, 30), (140 - slope, 250)], fill="black", width=20)
        expected = torch.softmax(trained.predict(as_mnist(picture))[0], 0)
        assert loaded.read(picture) == pytest.approx(expected.tolist(), abs=1e-6)
        assert sum(loaded.read(picture)) == pytest.approx(1, abs=1e-5)


def refusal(name, folder):
    """Return the sentence with which a model's weights are refused."""
    with pytest.raises(ValueError, match=r".") as raised:
        load(name, folder)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_weights_that_are_not_there(weights, tmp_path):
    said = refusal("Model_9", tmp_path)
    assert said.startswith("model_9.safetensors is missing: ")
    assert "run notebooks/Step3.ipynb (there are weights of Model_8)" in said
    assert "(there are weights of none)" in refusal("Model_9", tmp_path / "nowhere")


@pytest.mark.parametrize("name", [8, None, "8", "", "model_8", "Model_0", "nn", ["Model_8"], b"Model_8"])
def test_what_is_no_model_is_named(weights, tmp_path, name):
    said = refusal(name, tmp_path)
    assert said.startswith(repr(name))
    assert "try 'Model_8'" in said


def test_weights_of_other_layers(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(reader.models, "Model_8", Model_9)
    said = refusal("Model_8", tmp_path)
    assert said.startswith("model_8.safetensors: it does not fit the layers of Model_9; ")
    assert said.endswith("or run notebooks/Step3.ipynb")


def test_every_bit_of_the_file_counts(weights, tmp_path):
    content = weights.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    for at in (*range(0, header, 13), *range(header, len(content), 997), len(content) - 1):
        weights.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert re.match(
            r"model_8.safetensors: it is damaged.*; correct or delete it, or run", refusal("Model_8", tmp_path)
        )
    for cut in (0, 7, header - 3, len(content) - 5):
        weights.write_bytes(content[:cut])
        said = refusal("Model_8", tmp_path)
        assert re.match(r"model_8.safetensors: it is damaged; correct or delete it, or run", said)
        assert "there are weights" not in said


def test_the_cure_of_committed_weights_is_git(tmp_path, monkeypatch):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    monkeypatch.setattr(reader, "weights_path", lambda *_: RESULTS / "model_8.safetensors")
    monkeypatch.setattr(reader.models, "Model_8", Model_9)
    assert "`git restore results/model_8.safetensors`" in refusal("Model_8", tmp_path)


# ---------------------------------------------------------------- a right checksum over what is wrong


@pytest.fixture
def unpacked(weights):
    """Return the tensors and the facts of a file, without the checksum."""
    with safe_open(weights, framework="pt") as content:
        facts = json.loads(content.metadata()["facts"])
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
    del facts["sha256"]
    return tensors, facts


def repacked(path, tensors, facts):
    """Write what `WeightFacts` would refuse, with a checksum that is right."""
    facts = facts | {"sha256": reader._digest(tensors, facts)}
    path.write_bytes(safetensors.torch.save(tensors, {"facts": json.dumps(facts)}))


def test_repacking_changes_nothing(weights, unpacked, tmp_path):
    """So that what the tests below refuse is refused for what they change."""
    before = weights.read_bytes()
    tensors, facts = unpacked
    repacked(weights, tensors, facts)
    assert weights.read_bytes() == before
    with_recipe = facts | {"recipe": EVERYTHING, "statistics": Statistics(**facts["statistics"])}
    assert reader.packed_weights(tensors, WeightFacts(**with_recipe)) == before
    load("Model_8", tmp_path)


@pytest.mark.parametrize("name", ["model", "layers", "recipe", "statistics", "limit", "seed", "accuracy"])
def test_a_fact_that_is_missing_is_named(weights, unpacked, tmp_path, name):
    tensors, facts = unpacked
    del facts[name]
    repacked(weights, tensors, facts)
    said = refusal("Model_8", tmp_path)
    assert said.startswith(f"model_8.safetensors: {name} is missing")
    assert said.endswith("run notebooks/Step3.ipynb")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", 0.0),
        ("limit", math.nan),
        ("limit", math.inf),
        ("limit", "3"),
        ("layers", None),
        ("seed", -1),
        ("seed", 1.5),
        ("recipe", {"bending": 1.0}),
        ("recipe", {"lr": 0.0}),
        ("recipe", []),
        ("statistics", {"mean": 0.1, "std": 0.0, "ink_x": 3.0, "ink_y": 5.0}),
        ("bending", 1.0),
    ],
)
def test_a_fact_that_is_wrong_is_named(weights, unpacked, tmp_path, name, value):
    tensors, facts = unpacked
    repacked(weights, tensors, facts | {name: value})
    said = refusal("Model_8", tmp_path)
    assert said.startswith("model_8.safetensors: ")
    assert name in said
    assert said.endswith("run notebooks/Step3.ipynb")


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


def spoilt(value):
    value = value.clone()
    value.view(-1)[-1] = math.nan
    return value


CHANGES = {
    "a weight too few": ("0.0.weight", lambda tensors: without(tensors, "0.0.weight")),
    "no means": ("means", lambda tensors: without(tensors, "means")),
    "no whitening": ("whitening", lambda tensors: without(tensors, "whitening")),
    "one too many": ("another", lambda tensors: tensors | {"another": torch.zeros(3)}),
    "a weight's shape": ("0.0.weight", lambda tensors: tensors | {"0.0.weight": torch.zeros(8, 1, 3, 2)}),
    "a weight's type": ("0.0.weight", lambda tensors: tensors | {"0.0.weight": tensors["0.0.weight"].double()}),
    "means of other maps": ("means", lambda tensors: tensors | {"means": tensors["means"][:, 1:].contiguous()}),
    "means without classes": ("means", lambda tensors: tensors | {"means": tensors["means"][:0]}),
    "means in a row": ("means", lambda tensors: tensors | {"means": tensors["means"].flatten()}),
    "means as a number": ("means", lambda tensors: tensors | {"means": torch.tensor(1.0)}),
    "whole means": ("means", lambda tensors: tensors | {"means": tensors["means"].long()}),
    "whitening of other maps": ("whitening", lambda tensors: tensors | {"whitening": tensors["whitening"][1:]}),
    "both of other maps": (
        "means",
        lambda tensors: (
            tensors
            | {"means": tensors["means"][:, 1:].contiguous(), "whitening": tensors["whitening"][1:, 1:].contiguous()}
        ),
    ),
    "a weight that is none": ("0.0.weight", lambda tensors: tensors | {"0.0.weight": spoilt(tensors["0.0.weight"])}),
    "a mean that is none": ("means", lambda tensors: tensors | {"means": spoilt(tensors["means"])}),
    "an infinite whitening": ("whitening", lambda tensors: tensors | {"whitening": tensors["whitening"] / 0}),
    "nothing": ("0.0.weight", lambda tensors: {"none": torch.zeros(1)}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_tensor_that_does_not_fit_is_named(weights, unpacked, tmp_path, change):
    tensors, facts = unpacked
    name, changed = CHANGES[change]
    repacked(weights, changed(tensors), facts)
    said = refusal("Model_8", tmp_path)
    assert said.startswith("model_8.safetensors: ")
    assert f": {name}; " in said
    assert said.endswith("run notebooks/Step3.ipynb")


@pytest.mark.parametrize("facts", ["[]", "null", "7", "{}", "{", "[" * 100_000, '"text"', '{"sha256": null}'])
def test_facts_that_are_none(weights, unpacked, tmp_path, facts):
    weights.write_bytes(safetensors.torch.save(unpacked[0], {"facts": facts}))
    assert "model_8.safetensors: it is damaged" in refusal("Model_8", tmp_path)


def test_weights_of_somebody_elses_making(weights, unpacked, tmp_path):
    tensors = unpacked[0]
    weights.write_bytes(safetensors.torch.save(tensors))
    assert "model_8.safetensors: it is damaged" in refusal("Model_8", tmp_path)
    bfloat16 = {key: value.bfloat16() for key, value in tensors.items()}
    weights.write_bytes(safetensors.torch.save(bfloat16, {"facts": '{"sha256": ""}'}))
    assert "model_8.safetensors: it is damaged" in refusal("Model_8", tmp_path)


# ---------------------------------------------------------------- what is unlike the training images


def test_it_warns_of_what_is_unlike_the_training_images(trained, data):
    reader = reader_of(trained, data.train_images, data.train_labels)
    _, distance = reader.logits_and_distance(data.train_images)
    with pytest.warns(UnlikeMNIST, match="unlike MNIST's digits"):
        reader.probabilities(data.train_images[distance.argmax()][None])
    reader.probabilities(data.train_images[distance.argmin()][None])  # a warning would be an error


def test_distance_is_mahalanobis_to_the_nearest_class():
    """Two classes that spread three times as far along one axis: the distance counts deviations, not lengths."""
    spread = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    activity, labels = torch.cat([spread, spread + 100]), torch.tensor([4] * 4 + [7] * 4)
    detector = fitted_detector(activity, labels)
    along, across, far = detector.distance(torch.tensor([[6.0, 0.0], [0.0, 6.0], [100.0, 106.0]])).tolist()
    assert along == pytest.approx(36 / 4.5, rel=0.01)  # the variances are 18 / 4 and 2 / 4
    assert across == pytest.approx(36 / 0.5, rel=0.01)
    assert far == pytest.approx(across, rel=0.01)


def odd(kind):
    """Draw what is no digit, at a few angles: pictures of 280 x 280 pixels."""
    shapes = {
        "cross": [[(-1, -1), (1, 1)], [(-1, 1), (1, -1)]],
        "zigzag": [[(-0.8, -1), (0.8, -0.6), (-0.8, -0.2), (0.8, 0.2), (-0.8, 0.6), (0.8, 1)]],
        "letter A": [[(-0.7, 1), (0, -1), (0.7, 1)], [(-0.4, 0.3), (0.4, 0.3)]],
        "star": [[(0, -1), (0, 1)], [(-0.9, -0.5), (0.9, 0.5)], [(-0.9, 0.5), (0.9, -0.5)]],
    }
    for degrees in range(-12, 13, 4):
        picture = Image.new("L", (280, 280), "white")
        for stroke in shapes[kind]:
            points = [(140 + 90 * x, 140 + 90 * y) for x, y in stroke]
            ImageDraw.Draw(picture).line(points, fill="black", width=20, joint="curve")
        yield picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")


@pytest.mark.parametrize("kind", ["cross", "zigzag", "letter A", "star"])
def test_it_warns_of_what_is_no_digit(kind):
    """The network of results/ takes each for a digit, mostly with 99 %."""
    reader, pictures = load("Model_8"), list(odd(kind))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for picture in pictures:
            reader.read(picture)
    assert len(warned) > 0.5 * len(pictures)
