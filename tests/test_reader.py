"""Weights in a file, and the network that reads pictures with them."""

import json

import pytest
import safetensors.torch
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from src.demo import reader
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
    return save_weights(trained, reader_of(trained, data.train_images), tmp_path)


@pytest.mark.filterwarnings("ignore::src.demo.reader.UnlikeMNIST")  # so little training is sure of nothing
def test_weights_come_back(weights, trained, data, tmp_path):
    assert weights == tmp_path / "model_8.safetensors"
    assert weights.stat().st_size < 40_000
    loaded = load("Model_8", tmp_path)
    assert (loaded.recipe, loaded.statistics) == (EVERYTHING, data.statistics)
    assert loaded.least_logit == reader_of(trained, data.train_images).least_logit
    for slope in (-60, 0, 60):
        picture = Image.new("L", (280, 280), "white")
        ImageDraw.Draw(picture).line([(140 + slope, 30), (140 - slope, 250)], fill="black", width=20)
        expected = torch.softmax(trained.predict(as_mnist(picture))[0], 0)
        assert loaded.read(picture) == pytest.approx(expected.tolist(), abs=1e-6)
        assert sum(loaded.read(picture)) == pytest.approx(1, abs=1e-5)


def test_weights_that_are_not_there(weights, tmp_path):
    with pytest.raises(ValueError, match=r"model_9.safetensors is missing: .* \(there are weights of Model_8\)"):
        load("Model_9", tmp_path)
    with pytest.raises(ValueError, match=r"model_8 is no model of src/model.py"):
        load("model_8", tmp_path)


def test_weights_of_other_layers(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(reader.models, "Model_8", Model_9)
    with pytest.raises(ValueError, match=r"belongs to other layers than Model_8 has: restore it, or run notebooks"):
        load("Model_8", tmp_path)


def test_every_bit_of_the_weights_counts(weights, tmp_path):
    content = weights.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    for at in (*range(header, len(content), 997), len(content) - 1):
        weights.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ValueError, match=r"model_8.safetensors is damaged, its checksum is wrong: restore it"):
            load("Model_8", tmp_path)
    for cut in (0, 7, header - 3, len(content) - 5):
        weights.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"model_8.safetensors is damaged: restore it") as raised:
            load("Model_8", tmp_path)
        assert "there are weights" not in str(raised.value)


def test_a_recipe_of_another_time(weights, tmp_path):
    with safe_open(weights, framework="pt") as content:
        facts, tensors = content.metadata(), {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
    facts["recipe"] = json.dumps({"bending": 1.0})
    weights.write_bytes(safetensors.torch.save(tensors, facts))
    with pytest.raises(ValueError, match=r"has a recipe that today's code does not know: restore it"):
        load("Model_8", tmp_path)


def test_it_warns_of_what_is_unlike_the_training_images(trained, data):
    reader, largest = reader_of(trained, data.train_images), trained.predict(data.train_images).amax(1)
    with pytest.warns(UnlikeMNIST, match="unlike MNIST's digits"):
        reader.probabilities(data.train_images[largest.argmin()][None])
    reader.probabilities(data.train_images[largest.argmax()][None])  # a warning would be an error
