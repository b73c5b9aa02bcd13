"""The loop against a plain hand-written one, its reproducibility, and what it refuses."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from src.learn.data import MNIST, load_dataset
from src.learn.images import normalise
from src.learn.recipe import Recipe
from src.learn.training import (
    augmentation_schedule,
    epochs,
    evaluate,
    fastest_precision,
    lr_factor,
    make_optimizer,
    predict,
    preprocess,
    train,
)
from src.model import Model_5, Model_6, Model_8
from tests.helpers import EVERYTHING, same_weights, timeless


def built(model_class, seed=0):
    torch.manual_seed(seed)
    return model_class()


def correct(model, data, recipe):
    """Count what the public way of predicting has right."""
    return (predict(model, data.eval_images, recipe, data.statistics).argmax(1) == data.eval_labels).sum()


# ---------------------------------------------------------------- what changes from step to step


def test_rate_rises_stays_and_falls():
    factor = lr_factor(replace(EVERYTHING, warmup=0.1, lr_decay=0.4), 100)
    assert [factor(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert {factor(step) for step in range(9, 61)} == {1.0}
    assert [factor(step) for step in (70, 80, 99, 100)] == pytest.approx([0.75, 0.5, 1 / 40, 0])
    assert {lr_factor(Recipe(), 100)(step) for step in (0, 50, 100)} == {1.0}


@pytest.mark.parametrize("total", [1, 2, 5])
def test_rate_of_very_short_runs(total):
    factor = lr_factor(EVERYTHING, total)
    assert all(0 <= factor(step) <= 1 for step in range(total + 1))
    assert factor(0) > 0


def test_augmentation_decays():
    strengths = augmentation_schedule(replace(EVERYTHING, augmentation_decay=0.3, augmentation_factor=0.5), 100)
    whole = EVERYTHING.strengths
    assert strengths(0) == strengths(69) == whole
    assert whole["rotation"] == 10.0
    assert strengths(70) == strengths(99) == {name: strength / 2 for name, strength in whole.items()}
    constant = augmentation_schedule(replace(EVERYTHING, augmentation_decay=0.0, augmentation_factor=0.0), 100)
    assert constant(0) == constant(99) == whole


def test_weight_decay_spares_batchnorm_and_biases():
    model = Model_6()
    decayed, spared = make_optimizer(model, EVERYTHING).param_groups
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0
    assert {id(p) for p in decayed["params"]} == {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d)}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


# ---------------------------------------------------------------- predict and score


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
    score = evaluate(Brightest(), images, labels, Recipe(), MNIST.statistics)
    assert (score.correct, score.total) == (2345 - 17, 2345)
    black, white = normalise(torch.tensor([0, 255], dtype=torch.uint8), MNIST.statistics).tolist()
    spread = white - black  # logit of white over black
    right, off = -math.log(1 / (1 + 9 * math.exp(-spread))), -math.log(1 / (9 + math.exp(spread)))
    assert score.loss == pytest.approx((right * (2345 - 17) + off * 17) / 2345, rel=1e-4)


def test_evaluation_changes_nothing(data):
    model = built(Model_8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    stream = torch.get_rng_state()
    predict(model.train(), data.eval_images, EVERYTHING, data.statistics)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)


def test_prediction_prepares_what_it_is_given(data):
    """Raw images go in, and what the network gets is what it was trained and scored with."""
    given = []

    class Remember(nn.Module):
        def forward(self, images):
            given.append(images)
            return images.flatten(1)[:, :10]

    predict(Remember(), data.eval_images, EVERYTHING, data.statistics)
    ready = preprocess(data.eval_images, EVERYTHING, data.statistics)
    assert torch.equal(torch.cat(given), normalise(ready, data.statistics))
    assert (ready - data.eval_images).abs().max() > 50  # of 255
    given.clear()
    predict(Remember(), data.eval_images, Recipe(), data.statistics)
    assert torch.equal(torch.cat(given), normalise(data.eval_images, data.statistics))


@pytest.mark.parametrize(
    ("has", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_precision_follows_the_processor(monkeypatch, has, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert fastest_precision("cpu") == expected
    assert fastest_precision("cuda") == torch.float32


# ---------------------------------------------------------------- train


def plain_loop(model, data, recipe, seed):
    """The published loop in a few lines: SGD over shuffled batches, no augmentation, float32."""
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    shuffle = torch.Generator().manual_seed(seed)
    images = (data.train_images.float() / 255 - data.statistics.mean) / data.statistics.std
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(images), generator=shuffle).split(recipe.batch_size):
            optimizer.zero_grad()
            F.nll_loss(F.log_softmax(model(images[batch]), 1), data.train_labels[batch]).backward()
            optimizer.step()


def test_against_the_plain_loop(data):
    recipe = Recipe(epochs=1, batch_size=200)  # three steps: rounding grows with each
    ours, plain = built(Model_8), built(Model_8)
    train(ours, data, recipe, seed=3, precision=torch.float32)
    plain_loop(plain, data, recipe, seed=3)
    for mine, theirs in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    moved = [(a - b).abs().max() for a, b in zip(built(Model_8).parameters(), plain.parameters(), strict=True)]
    assert max(moved) > 1e-2


def test_history_and_learning(data):
    model = built(Model_8)
    history = train(model, data, replace(EVERYTHING, epochs=8, ema=0.0, ema_warmup=False, bn_images=0), seed=0)
    assert [epoch.epoch for epoch in history] == list(range(1, 9))
    assert history[-1].train_total == 600
    assert history[-1].eval_correct > 150  # of 200; chance is 20
    assert history[-1].eval_correct == correct(model, data, EVERYTHING)


def test_same_seed_same_history_to_the_last_bit(data):
    models = [built(Model_6, seed) for seed in (1, 1, 2)]
    one, two, other = (train(m, data, EVERYTHING, seed) for m, seed in zip(models, (1, 1, 2), strict=True))
    assert timeless(one) == timeless(two)
    assert timeless(one) != timeless(other)
    assert same_weights(models[0], models[1])


def test_resumed_run_equals_the_uninterrupted_one(data):
    whole = built(Model_6)
    expected = train(whole, data, EVERYTHING, seed=1)
    for reached in epochs(built(Model_6), data, EVERYTHING, seed=1):
        if len(reached.history) == 2:
            kept = copy.deepcopy(reached.state_dict())  # what is saved goes on changing
    torch.rand(7)  # the random stream has moved on since
    resumed, seen = built(Model_6), []
    watch = {"progress": lambda history, epoch, _: seen.append(epoch)}
    for reached in epochs(resumed, data, EVERYTHING, 1, state=kept, **watch):
        history = reached.history
    assert set(seen) == {3}  # only the epoch that was lost
    assert timeless(history) == timeless(expected)
    assert same_weights(whole, resumed)


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


def test_no_step_waits_for_the_device(data):
    """Reading a number back waits until a GPU has computed it: an epoch does so no more often if it has more steps."""

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += function is torch.ops.aten._local_scalar_dense.default
            return function(*args, **kwargs or {})

    found = []
    for batch_size in (300, 50):
        recipe = Recipe(
            epochs=1, batch_size=batch_size, optimizer="adamw", lr_decay=0.4, deslant=True, rotation=8.0, elastic=2.0,
            augmentation_decay=0.6, augmentation_factor=0.5, ema=0.998, ema_warmup=True,
        )  # fmt: skip
        with Reads() as reads:
            train(built(Model_8), data, recipe, 0)
        found.append(reads.count)
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("warmup", [False, True])
def test_averaged_weights(data, warmup):
    """With an EMA the model ends as the average of all steps, by the definition's recursion, and that is scored."""
    steps = []
    recipe = Recipe(epochs=1, batch_size=100, ema=0.2, ema_warmup=warmup)
    kept = built(Model_8)
    names = [name for name, value in kept.state_dict().items() if value.is_floating_point()]  # with BatchNorm's

    def remember(history, epoch, fraction):
        if not history:
            steps.append([kept.state_dict()[name].clone() for name in names])

    history = train(kept, data, recipe, 0, progress=remember)
    assert len(steps) == 6
    average = steps[0]
    decays = (2 / 11, 0.2, 0.2, 0.2, 0.2) if warmup else (0.2,) * 5
    for decay, weights in zip(decays, steps[1:], strict=True):
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
    for name, theirs in zip(names, average, strict=True):
        assert torch.allclose(kept.state_dict()[name], theirs, atol=1e-6), name
    assert history[-1].eval_correct == correct(kept, data, recipe)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_batchnorm_is_recomputed_from_images_as_they_are_tested(data, ema):
    """With momentum 1 and one batch, BatchNorm's own mean is that of its inputs: here the first convolution's."""
    model, recipe = built(Model_8), Recipe(epochs=1, deslant=True, rotation=9.0, ema=ema, bn_images=100)
    train(model, data, recipe, 0, precision=torch.float32)
    images = normalise(preprocess(data.train_images[:100], recipe, data.statistics), data.statistics)
    convolution, batchnorm = model[0][0], model[0][1]
    with torch.no_grad():
        expected = convolution(images).mean((0, 2, 3))
    assert torch.allclose(batchnorm.running_mean, expected, atol=1e-5)
    assert not any(module.training for module in model.modules())  # ready to predict


@pytest.mark.parametrize(
    "other", [{"rotation": 0.0, "scale": 0.0}, {"augmentation_decay": 0.0, "augmentation_factor": 0.0}]
)
def test_arms_see_the_images_in_the_same_order(data, monkeypatch, other):
    """What an arm augments must not change which images come in which step."""
    orders, randperm = [], torch.randperm

    def remembering(*arguments, **options):
        orders.append(randperm(*arguments, **options))
        return orders[-1]

    monkeypatch.setattr(torch, "randperm", remembering)
    for recipe in (EVERYTHING, replace(EVERYTHING, **other)):
        train(built(Model_8), data, recipe, seed=5)
    assert len(orders) == 6
    assert all(torch.equal(a, b) for a, b in zip(orders[:3], orders[3:], strict=True))


def test_one_epoch_on_real_mnist(real_root):
    """A floor that no broken loop reaches: one epoch of Model_8 on a sixth of the images."""
    recipe = replace(EVERYTHING, epochs=1)
    history = train(built(Model_8), load_dataset(real_root, train_limit=10_000), recipe, seed=0)
    assert history[-1].eval_total == 10_000
    assert history[-1].eval_correct >= 9_600
