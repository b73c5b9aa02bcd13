"""The loop against a plain hand-written one, its reproducibility, and what it refuses."""

import copy
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from src.learn.data import load_dataset
from src.learn.evaluation import Classifier
from src.learn.images import Preprocess
from src.learn.recipe import Recipe
from src.learn.schedules import learning_rate
from src.learn.training import EpochMetrics, Job, TrainState, make_optimizer, train_epoch, train_epochs
from src.model import Model_5, Model_6, Model_8
from tests.helpers import EVERYTHING, same_weights, timeless, train


def built(model_class, seed=0):
    torch.manual_seed(seed)
    return model_class()


def correct(model, data, recipe):
    """Count what the public way of predicting has right."""
    predicted = Classifier(model, Preprocess(recipe, data.statistics)).predict(data.eval_images)
    return (predicted.argmax(1) == data.eval_labels).sum()


def test_weight_decay_spares_batchnorm_and_biases():
    model = Model_6()
    decayed, spared = make_optimizer(model, EVERYTHING).param_groups
    assert decayed["weight_decay"] == 0.01
    assert spared["weight_decay"] == 0
    assert {id(p) for p in decayed["params"]} == {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d)}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


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
    recipe = replace(EVERYTHING, epochs=8, ema_decay=0.0, ema_warmup=False, bn_images=0)
    history = train(model, data, recipe, seed=0).history
    assert [epoch.epoch for epoch in history] == list(range(1, 9))
    assert history[-1].train_total == 600
    assert history[-1].eval_correct > 150  # of 200; chance is 20
    assert history[-1].eval_correct == correct(model, data, EVERYTHING)


def test_same_seed_same_history_to_the_last_bit(data):
    models = [built(Model_6, seed) for seed in (1, 1, 2)]
    one, two, other = (train(m, data, EVERYTHING, seed) for m, seed in zip(models, (1, 1, 2), strict=True))
    assert timeless(one.history) == timeless(two.history)
    assert timeless(one.history) != timeless(other.history)
    assert same_weights(one.model, two.model)
    assert same_weights(one.average, two.average)


def test_resumed_run_equals_the_uninterrupted_one(data):
    job = Job(Model_6, data, EVERYTHING, 1)
    for reached in train_epochs(job):
        if len(reached.history) == 2:
            kept = copy.deepcopy(reached.state_dict())  # what is saved goes on changing
    torch.rand(7)  # the random stream has moved on since
    seen = []
    state = TrainState(job)
    state.load_state_dict(kept)
    (resumed,) = train_epochs(job, state, progress=lambda history, epochs: seen.append(epochs))
    assert 2 < min(seen) <= max(seen) == 3  # only the epoch that was lost
    assert timeless(resumed.history) == timeless(reached.history)
    assert same_weights(resumed.model, reached.model)
    assert same_weights(resumed.average, reached.average)
    assert resumed.step == reached.step == reached.total_steps == 30  # of 64 images each, but for the last of an epoch


def test_a_state_goes_on_at_its_step(data):
    """All schedules follow from it."""
    job = Job(Model_8, data, EVERYTHING, 0)
    reached = next(train_epochs(job))
    fresh = TrainState(job)
    assert (fresh.step, fresh.history, reached.step) == (0, [], 10)
    fresh.load_state_dict(reached.state_dict())
    assert (fresh.step, fresh.history) == (10, reached.history)
    assert same_weights(fresh.evaluated_model(), reached.evaluated_model())


def test_progress_reports_every_step_and_the_end_of_each_epoch(data):
    seen = []
    recipe = Recipe(epochs=2, batch_size=250)
    train(Model_8(), data, recipe, 0, progress=lambda history, epochs: seen.append((len(history), epochs)))
    third = [pytest.approx(k / 3) for k in range(7)]
    first, second = [(0, third[1]), (0, third[2]), (0, 1.0)], [(1, third[4]), (1, third[5]), (1, 2.0)]
    assert seen == [*first, (1, 1.0), *second, (2, 2.0)]


def test_an_epoch_takes_any_batches_and_any_logits(data):
    """Batches of one's own, of several sizes, and logits that are halved, against the same steps by hand."""
    recipe = Recipe(epochs=2, batch_size=300, lr=0.05, lr_decay_fraction=1.0)  # four steps
    state, plain = TrainState(Job(Model_8, data, recipe, 0)), built(Model_8).train()
    optimizer = torch.optim.SGD(plain.parameters(), momentum=recipe.momentum)
    parts = slice(0, 32), slice(32, 40), slice(500, 564)
    batches = [(data.train_images[part] / 255, data.train_labels[part].flip(0)) for part in parts]
    calls = []
    losses, sizes, right = train_epoch(
        state, iter(batches), recipe, lambda model, images: model(images) / 2, lambda: calls.append(state.step)
    )
    expected, expected_right = [], 0
    for step, (images, targets) in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate(recipe, step, 4)
        logits = plain(images) / 2
        expected.append(F.cross_entropy(logits, targets))
        expected_right += (logits.argmax(1) == targets).sum()
        optimizer.zero_grad()
        expected[-1].backward()
        optimizer.step()
    assert torch.allclose(losses, torch.stack(expected), atol=1e-5)
    assert right == expected_right
    assert calls == [1, 2, 3]
    assert sizes == [32, 8, 64]
    for mine, theirs in zip(state.model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


def test_targets_may_be_probabilities(data):
    """As mixup gives them: those of one class alone train like the class."""
    states = [TrainState(Job(Model_8, data, Recipe(batch_size=300), 0)) for _ in range(2)]
    images, labels = data.train_images[:50] / 255, data.train_labels[:50]
    found = [
        train_epoch(state, [(images, targets)], Recipe(), lambda model, x: model(x), lambda: None)
        for state, targets in zip(states, (labels, F.one_hot(labels, 10).float()), strict=True)
    ]
    assert torch.allclose(found[0][0], found[1][0])
    assert found[0][2] == found[1][2]
    assert same_weights(states[0].model, states[1].model)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train_correct": 601}, "train_correct is 601 .*600"),
        ({"eval_correct": 201}, "eval_correct is 201 .*200"),
        ({"eval_loss": float("nan")}, "eval_loss .*nan"),
        ({"seconds": -1}, "seconds .*-1"),
        ({"epoch": 0}, "epoch .*got 0"),
    ],
)
def test_an_epoch_that_cannot_be_is_refused(change, says):
    good = EpochMetrics(1, 0.1, 600, 600, 0.1, 200, 200, 1.0)
    assert (good.accuracy, good.train_accuracy) == (100, 100)
    with pytest.raises(ValueError, match=f"^{says}"):
        EpochMetrics(**asdict(good) | change)


def test_loss_that_is_not_finite_stops_the_run(data):
    with pytest.raises(FloatingPointError, match=r"(inf|nan) in epoch 1, step [23] of 10: lower lr \(1e\+30\)"):
        train(built(Model_5), data, Recipe(lr=1e30, batch_size=64), 0)


def test_weights_that_break_in_the_last_step_stop_the_run(data):
    """No loss comes after the last step of an epoch, so only the evaluation can tell."""
    with pytest.raises(FloatingPointError, match=r"test: .*nan after epoch 1: lower lr \(1e\+30\)"):
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
            epochs=1, batch_size=batch_size, optimizer="adamw", lr_decay_fraction=0.4, deslant=True, rotation=8.0,
            elastic=2.0, augmentation_decay_fraction=0.6, augmentation_factor=0.5, ema_decay=0.998, ema_warmup=True,
        )  # fmt: skip
        with Reads() as reads:
            train(built(Model_8), data, recipe, 0)
        found.append(reads.count)
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("warmup", [False, True])
def test_averaged_weights(data, warmup):
    """With an EMA the average of all steps, by the definition's recursion, is what is scored."""
    steps = []
    recipe = Recipe(epochs=1, batch_size=100, ema_decay=0.2, ema_warmup=warmup)
    model = built(Model_8)
    names = [name for name, value in model.state_dict().items() if value.is_floating_point()]  # with BatchNorm's

    def remember(history, epochs):
        if not history:
            steps.append([model.state_dict()[name].clone() for name in names])

    state = train(model, data, recipe, 0, progress=remember)
    assert len(steps) == 6
    average = steps[0]
    decays = (2 / 11, 0.2, 0.2, 0.2, 0.2) if warmup else (0.2,) * 5
    for decay, weights in zip(decays, steps[1:], strict=True):
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
    kept = state.evaluated_model()
    for name, theirs in zip(names, average, strict=True):
        assert torch.allclose(kept.state_dict()[name], theirs, atol=1e-6), name
    assert state.history[-1].eval_correct == correct(kept, data, recipe)
    assert all(torch.equal(model.state_dict()[name], last) for name, last in zip(names, steps[-1], strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_batchnorm_is_recomputed_from_images_as_they_are_tested(data, decay):
    """With momentum 1 and one batch, BatchNorm's own mean is that of its inputs: here the first convolution's."""
    recipe = Recipe(epochs=1, deslant=True, rotation=9.0, ema_decay=decay, bn_images=100)
    model = train(built(Model_8), data, recipe, 0, precision=torch.float32).evaluated_model()
    preprocess = Preprocess(recipe, data.statistics)
    images = preprocess.normalise(preprocess(data.train_images[:100]))
    convolution, batchnorm = model[0][0], model[0][1]
    with torch.no_grad():
        expected = convolution(images).mean((0, 2, 3))
    assert torch.allclose(batchnorm.running_mean, expected, atol=1e-5)
    assert not any(module.training for module in model.modules())  # ready to predict


@pytest.mark.parametrize(
    "other", [{"rotation": 0.0, "scale": 0.0}, {"augmentation_decay_fraction": 0.0, "augmentation_factor": 0.0}]
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
    history = train(built(Model_8), load_dataset(real_root, train_limit=10_000), recipe, seed=0).history
    assert history[-1].eval_total == 10_000
    assert history[-1].eval_correct >= 9_600
