"""The loop against a plain hand-written one, its reproducibility, and what it refuses."""

import copy
import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from src import training
from src.data import Data, load_mnist
from src.images import normalise
from src.model import Model_5, Model_6, Model_8
from src.training import Recipe, epochs, evaluate, lr_factor, make_optimizer, precision, predict, train

EVERYTHING = Recipe(
    epochs=3, batch_size=64, optimizer="adamw", lr=0.01, weight_decay=0.01, schedule="cosine", warmup=0.2,
    rotation=10.0, translation=2.0, scale=0.1, shear=0.15, ema=0.9,
)  # fmt: skip


def built(model_class, seed=0):
    torch.manual_seed(seed)
    return model_class()


def timeless(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


# ---------------------------------------------------------------- Recipe


def test_recipe_survives_json():
    assert Recipe(**json.loads(json.dumps(asdict(EVERYTHING)))) == EVERYTHING
    assert "optimizer adamw" in str(EVERYTHING)
    assert "beta2" not in str(Recipe())  # SGD has none


def test_whole_numbers_are_the_same_recipe():
    assert json.dumps(asdict(Recipe(rotation=7))) == json.dumps(asdict(Recipe(rotation=7.0)))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be of type int, got 2.0"),
        ({"epochs": True}, TypeError, "epochs must be of type int, got True"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1, got -1"),
        ({"lr": "0.1"}, TypeError, "lr must be of type float, got '0.1'"),
        ({"lr": 0.0}, ValueError, "lr must be over 0, got 0.0"),
        ({"lr": math.nan}, ValueError, "lr must be finite, got nan"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of sgd, adamw, got 'adam'"),
        ({"schedule": "step"}, ValueError, "schedule must be one of constant, cosine, got 'step'"),
        ({"ema": 1.0}, ValueError, "ema must be at least 0 and below 1, got 1.0"),
        ({"warmup": -0.1, "schedule": "cosine"}, ValueError, "warmup must be at least 0 and below 1, got -0.1"),
        ({"warmup": 0.1}, ValueError, "warmup must be 0 when the schedule is constant, got 0.1"),
        ({"rotation": -5.0}, ValueError, "rotation must be at least 0, got -5.0"),
    ],
)
def test_recipe_refuses(change, error, says):
    with pytest.raises(error, match=says):
        Recipe(**change)


def test_cosine_schedule():
    factor = lr_factor(replace(EVERYTHING, warmup=0.25), 100)
    assert factor(0) == pytest.approx(1 / 25)
    assert factor(24) == factor(25) == 1
    assert factor(62.5) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0)
    assert all(factor(step + 1) > factor(step) for step in range(24))
    assert all(factor(step + 1) < factor(step) for step in range(25, 99))
    assert [lr_factor(Recipe(), 100)(step) for step in (0, 50, 100)] == [1, 1, 1]


@pytest.mark.parametrize("total", [1, 2, 5])
def test_cosine_schedule_of_very_short_runs(total):
    factor = lr_factor(EVERYTHING, total)
    assert all(0 <= factor(step) <= 1 for step in range(total + 1))
    assert factor(0) > 0


def test_weight_decay_spares_batchnorm_and_biases():
    model = Model_6()
    decayed, spared = make_optimizer(model, EVERYTHING).param_groups
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0
    assert {id(p) for p in decayed["params"]} == {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d)}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


# ---------------------------------------------------------------- evaluate


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


def test_evaluate_counts_every_image():
    images, labels = brightest_data()
    score = evaluate(Brightest(), images, labels)
    assert (score.correct, score.total) == (2345 - 17, 2345)
    spread = (1 / training_std()) / 1  # logit of white over black
    right, off = -math.log(1 / (1 + 9 * math.exp(-spread))), -math.log(1 / (9 + math.exp(spread)))
    assert score.loss == pytest.approx((right * (2345 - 17) + off * 17) / 2345, rel=1e-4)


def training_std():
    black, white = normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    return 1 / (white - black)


def test_evaluation_changes_nothing(data):
    model = built(Model_8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    stream = torch.get_rng_state()
    predict(model.train(), data.eval_images)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)


def test_prediction_does_not_depend_on_the_batch(data):
    model = built(Model_6)
    whole = predict(model, data.eval_images)
    assert torch.allclose(whole, predict(model, data.eval_images, batch_size=33), atol=1e-2)


@pytest.mark.parametrize(
    ("has", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_precision_follows_the_processor(monkeypatch, has, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert precision("cpu") == expected
    assert precision("cuda") == torch.float32


# ---------------------------------------------------------------- train


def plain_loop(model, data, recipe, seed):
    """The published loop in a few lines: SGD over shuffled batches, no augmentation, float32."""
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    shuffle = torch.Generator().manual_seed(seed)
    images = (data.train_images.float() / 255 - 0.1307) / 0.3081
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(images), generator=shuffle).split(recipe.batch_size):
            optimizer.zero_grad()
            F.nll_loss(F.log_softmax(model(images[batch]), 1), data.train_labels[batch]).backward()
            optimizer.step()


def test_against_the_plain_loop(data, monkeypatch):
    monkeypatch.setattr(training, "precision", lambda device: torch.float32)
    recipe = Recipe(epochs=1, batch_size=200)  # three steps: rounding grows with each
    ours, plain = built(Model_8), built(Model_8)
    train(ours, data, recipe, seed=3)
    plain_loop(plain, data, recipe, seed=3)
    for mine, theirs in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    moved = [(a - b).abs().max() for a, b in zip(built(Model_8).parameters(), plain.parameters(), strict=True)]
    assert max(moved) > 1e-2


def test_history_and_learning(data):
    model = built(Model_8)
    history = train(model, data, replace(EVERYTHING, epochs=8, ema=0.0), seed=0)
    assert [epoch["epoch"] for epoch in history] == list(range(1, 9))
    assert set(history[0]) == {
        "epoch", "lr", "train_loss", "train_correct", "train_total", "eval_loss", "eval_correct", "eval_total",
        "seconds",
    }  # fmt: skip
    assert history[-1]["train_total"] == 600
    assert history[-1]["eval_correct"] > 150  # of 200; chance is 20
    assert history[-1]["eval_correct"] == evaluate(model, data.eval_images, data.eval_labels).correct
    assert json.loads(json.dumps(history)) == history


def test_same_seed_same_history_to_the_last_bit(data):
    models = [built(Model_6, seed) for seed in (1, 1, 2)]
    one, two, other = (train(m, data, EVERYTHING, seed) for m, seed in zip(models, (1, 1, 2), strict=True))
    assert timeless(one) == timeless(two)
    assert timeless(one) != timeless(other)
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_resumed_run_equals_the_uninterrupted_one(data):
    whole = built(Model_6)
    expected = train(whole, data, EVERYTHING, seed=1)
    for state in epochs(built(Model_6), data, EVERYTHING, seed=1):
        if len(state["history"]) == 2:
            kept = copy.deepcopy(state)  # what is yielded goes on changing
    torch.rand(7)  # the random stream has moved on since
    resumed, seen = built(Model_6), []
    for state in epochs(resumed, data, EVERYTHING, 1, kept, progress=lambda history, epoch, _: seen.append(epoch)):
        history = state["history"]
    assert set(seen) == {3}  # only the epoch that was lost
    assert timeless(history) == timeless(expected)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_progress_reports_every_step_and_the_end_of_each_epoch(data):
    seen = []
    recipe = Recipe(epochs=2, batch_size=250)
    train(
        built(Model_8), data, recipe, 0, progress=lambda history, epoch, part: seen.append((len(history), epoch, part))
    )
    third = [pytest.approx(k / 3) for k in (1, 2, 3)]
    assert seen == [(0, 1, k) for k in third] + [(1, 1, 1.0)] + [(1, 2, k) for k in third] + [(2, 2, 1.0)]


def test_loss_that_is_not_finite_stops_the_run(data):
    with pytest.raises(
        FloatingPointError, match=r"the loss is (inf|nan) in epoch 1, step [23] of 10: lower lr \(1e\+30\)"
    ):
        train(built(Model_5), data, Recipe(lr=1e30, batch_size=64), 0)


def test_weights_that_break_in_the_last_step_stop_the_run(data):
    """No loss comes after the last step of an epoch, so only the evaluation can tell."""
    with pytest.raises(FloatingPointError, match=r"the test loss is nan after epoch 1: lower lr \(1e\+30\)"):
        train(built(Model_5), data, Recipe(lr=1e30, batch_size=600, epochs=1), 0)


def test_averaged_weights(data):
    """With an EMA the model ends as the average of all steps, by the definition's recursion, and that is scored."""
    steps = []
    recipe = Recipe(epochs=1, batch_size=100, ema=0.5)
    kept = built(Model_8)
    names = [name for name, value in kept.state_dict().items() if value.is_floating_point()]  # with BatchNorm's

    def remember(history, epoch, fraction):
        if not history:
            steps.append([kept.state_dict()[name].clone() for name in names])

    history = train(kept, data, recipe, 0, progress=remember)
    assert len(steps) == 6
    average = steps[0]
    for weights in steps[1:]:
        average = [0.5 * a + 0.5 * w for a, w in zip(average, weights, strict=True)]
    for name, theirs in zip(names, average, strict=True):
        assert torch.allclose(kept.state_dict()[name], theirs, atol=1e-6), name
    assert history[-1]["eval_correct"] == evaluate(kept, data.eval_images, data.eval_labels).correct


def test_one_epoch_on_real_mnist(real_root):
    """A floor that no broken loop reaches: one epoch of Model_8 on a sixth of the images."""
    recipe = replace(EVERYTHING, epochs=1, ema=0.0)
    history = train(built(Model_8), load_mnist(real_root, train_limit=10_000), recipe, seed=0)
    assert history[-1]["eval_total"] == 10_000
    assert history[-1]["eval_correct"] >= 9_600


def test_data_stay_where_they_are(data):
    assert isinstance(data, Data)
    before = data.train_images.clone()
    train(built(Model_8), data, replace(EVERYTHING, epochs=1), 0)
    assert torch.equal(data.train_images, before)
