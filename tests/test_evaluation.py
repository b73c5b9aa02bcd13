"""What a network answers, on a case worked out by hand, and that asking changes nothing."""

import math

import pytest
import torch
from torch import nn

from src.learn.data import MNIST
from src.learn.evaluation import Classifier, Score, fastest_precision, score
from src.learn.images import Preprocess, normalise
from src.learn.recipe import Recipe
from src.model import Model_8
from tests.helpers import EVERYTHING


class Brightest(nn.Module):
    """Take the brightest of the first ten pixels for the digit."""

    def forward(self, images):
        return images.flatten(1)[:, :10]


def brightest_data(count=2345, wrong=17):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (count,), generator=generator)
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    shown = labels.clone()
    shown[-wrong:] = (labels[-wrong:] + 1) % 10  # in the last, partial batch
    images.view(count, -1)[torch.arange(count), shown] = 255
    return images, labels


def test_scoring_counts_every_image():
    images, labels = brightest_data()
    found = score(Classifier(Brightest(), Preprocess(Recipe(), MNIST.statistics)).predict(images), labels)
    assert (found.correct, found.total) == (2345 - 17, 2345)
    assert found.accuracy == 100 * (2345 - 17) / 2345
    black, white = normalise(torch.tensor([0, 255], dtype=torch.uint8), MNIST.statistics).tolist()
    spread = white - black  # logit of white over black
    right, off = -math.log(1 / (1 + 9 * math.exp(-spread))), -math.log(1 / (9 + math.exp(spread)))
    assert found.loss == pytest.approx((right * (2345 - 17) + off * 17) / 2345, rel=1e-4)


def test_a_loss_that_is_none_is_no_score():
    logits = torch.zeros(3, 10)
    logits[1, 4] = math.nan
    with pytest.raises(FloatingPointError, match="nan"):
        score(logits, torch.arange(3))
    with pytest.raises(ValueError, match=r"correct is 4 .*total of 3"):
        Score(0.1, 4, 3)


def test_evaluation_changes_nothing(data):
    model = Model_8()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    stream = torch.get_rng_state()
    Classifier(model.train(), Preprocess(EVERYTHING, data.statistics)).predict(data.eval_images)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)


def test_prediction_prepares_what_it_is_given(data):
    """Raw images go in, and what the network gets is what it was trained and scored with."""
    given = []

    class Remember(nn.Module):
        def forward(self, images):
            given.append(images)
            return images.flatten(1)[:, :10]

    preprocess = Preprocess(EVERYTHING, data.statistics)
    Classifier(Remember(), preprocess).predict(data.eval_images)
    ready = preprocess(data.eval_images)
    assert torch.equal(torch.cat(given), normalise(ready, data.statistics))
    assert (ready - data.eval_images).abs().max() > 50  # of 255
    given.clear()
    Classifier(Remember(), Preprocess(Recipe(), data.statistics)).predict(data.eval_images)
    assert torch.equal(torch.cat(given), normalise(data.eval_images, data.statistics))


@pytest.mark.parametrize(
    ("has", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_precision_follows_the_processor(monkeypatch, has, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fastest_precision("cpu") == expected
    assert fastest_precision("cuda") == torch.float32
