"""Weights in a file, and the network that reads pictures with them."""

import json
import warnings

import pytest
import safetensors.torch
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from src.demo import reader
from src.demo.mahalanobis import familiarity_of
from src.demo.picture import as_mnist
from src.demo.reader import UnlikeMNIST, load, reader_of, save_weights
from src.evidence.runs import fit
from src.model import Model_8, Model_9
from tests.helpers import EVERYTHING


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return fit(Model_8, data, EVERYTHING, seed=0, folder=tmp_path_factory.mktemp("runs"))


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
    assert (loaded.recipe, loaded.statistics) == (EVERYTHING, data.statistics)
    known = reader_of(trained, data.train_images, data.train_labels).familiarity
    assert loaded.familiarity.limit == known.limit
    assert torch.equal(loaded.familiarity.means, known.means)
    for slope in (-60, 0, 60):
        picture = Image.new("L", (280, 280), "white")
        ImageDraw.Draw(picture).line([(140 + slope, 30), (140 - slope, 250)], fill="black", width=20)
        expected = torch.softmax(trained.predict(as_mnist(picture))[0], 0)
        assert loaded.read(picture) == pytest.approx(expected.tolist(), abs=1e-6)
        assert sum(loaded.read(picture)) == pytest.approx(1, abs=1e-5)


def test_weights_that_are_not_there(weights, tmp_path):
    with pytest.raises(ValueError, match=r"model_9.safetensors is missing: .* \(there are weights of Model_8\)"):
        load("Model_9", tmp_path)
    with pytest.raises(ValueError, match=r"model_8 is not in src/model.py"):
        load("model_8", tmp_path)


def test_weights_of_other_layers(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(reader.models, "Model_8", Model_9)
    with pytest.raises(ValueError, match=r"does not fit the layers of Model_8: restore it, or run notebooks"):
        load("Model_8", tmp_path)


def test_every_bit_of_the_file_counts(weights, tmp_path):
    content = weights.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    for at in (*range(0, header, 13), *range(header, len(content), 997), len(content) - 1):
        weights.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ValueError, match=r"model_8.safetensors is damaged.*: restore it"):
            load("Model_8", tmp_path)
    for cut in (0, 7, header - 3, len(content) - 5):
        weights.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"model_8.safetensors is damaged: restore it") as raised:
            load("Model_8", tmp_path)
        assert "there are weights" not in str(raised.value)


def test_a_recipe_of_another_time(weights, tmp_path):
    with safe_open(weights, framework="pt") as content:
        facts = json.loads(content.metadata()["facts"])
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
    del facts["sha256"]
    facts["recipe"] = {"bending": 1.0}
    facts["sha256"] = reader._digest(tensors, facts)
    weights.write_bytes(safetensors.torch.save(tensors, {"facts": json.dumps(facts)}))
    with pytest.raises(ValueError, match=r"has a recipe that today's code does not know: restore it"):
        load("Model_8", tmp_path)


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
    known = familiarity_of(activity, labels)
    along, across, far = known.distance(torch.tensor([[6.0, 0.0], [0.0, 6.0], [100.0, 106.0]])).tolist()
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
