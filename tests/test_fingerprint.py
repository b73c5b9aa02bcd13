"""Fingerprints: the committed evidence has those of today's code, and they notice what they must."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from src.evidence.fingerprint import deviation, fingerprint
from src.evidence.schema import STEPS, read_named, studies
from src.learn import images, training
from src.learn.data import load_dataset
from src.learn.networks import named
from src.report.text import CLAIMS, EARLIER

ARMS = {f"{study} {name}": read_named(study).arms[name] for _, study, name in (*CLAIMS, *EARLIER)}


@pytest.fixture(scope="module")
def mnist(real_root):
    return load_dataset(real_root)


@pytest.mark.parametrize("name", ARMS)
def test_claims_are_of_this_code(name, mnist):
    arm = ARMS[name]
    excess, what = deviation(fingerprint(named(arm.network), arm.recipe, mnist), arm.fingerprint)
    assert excess <= 1, f"today's code does not do what {name} was made by: {what} is {excess:.3g} tolerances off"


@pytest.mark.slow
def test_all_evidence_is_of_this_code(mnist):
    seen, differing = {}, {}
    for evidence in [*studies(), *studies(kind="search"), *(read_named(f"Step{k}") for k in STEPS)]:
        for name, arm in evidence.arms.items():
            key = (arm.network, arm.recipe)
            if key not in seen:
                seen[key] = fingerprint(named(arm.network), arm.recipe, mnist)
            excess, what = deviation(seen[key], arm.fingerprint)
            if excess > 1:
                differing[f"{evidence.name}, {name}"] = f"{what} is {excess:.3g} tolerances off"
    assert not differing


def with_padding(monkeypatch):
    sample = images.grid_sample
    monkeypatch.setattr(images, "grid_sample", lambda *a, **o: sample(*a, **(o | {"padding_mode": "border"})))


def with_longer_shifts(monkeypatch):
    resample = images.resample

    def shifted(pictures, maps, displacement=None):
        return resample(pictures, maps._replace(offset=maps.offset * 1.05), displacement)  # 2 / width to 2.1 / width

    monkeypatch.setattr(images, "resample", shifted)


def with_late_decay(monkeypatch):
    original = training.learning_rate

    def late(recipe, step, total):
        first = total - round(recipe.lr_decay_fraction * total) + 1
        return original(recipe, step - 1 if step == first else step, total)

    monkeypatch.setattr(training, "learning_rate", late)


def with_late_augmentation_decay(monkeypatch):
    original = training.augmentation_strengths
    monkeypatch.setattr(
        training, "augmentation_strengths", lambda recipe, step, n: original(recipe, max(0, step - 1), n)
    )


def with_swapped_draws(monkeypatch):
    affine = images.affine

    def swapped(pictures, *, right, down, **rest):
        return affine(pictures, right=down, down=right, **rest)

    monkeypatch.setattr(images, "affine", swapped)


FAULTS = {
    "padding": with_padding,
    "a shift of 2.1 / width": with_longer_shifts,
    "learning-rate decay a step late": with_late_decay,
    "augmentation decay a step late": with_late_augmentation_decay,
    "two draws swapped": with_swapped_draws,
    "ReLU": lambda monkeypatch: monkeypatch.setattr(nn.Hardswish, "forward", lambda _, x: torch.relu(x)),
}
# What code would do that took a setting for another.
SETTINGS = {
    "learning rate + 1 %": lambda recipe: {"lr": recipe.lr * 1.01},
    "EMA": lambda recipe: {"ema_decay": recipe.ema_decay - 0.001},
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*FAULTS, *SETTINGS, "mean 0.1308"])
def test_faults_are_noticed(fault, mnist, monkeypatch, record_property):
    """By five times what another processor's rounding is allowed, in each of the claims."""
    change = SETTINGS.get(fault, lambda recipe: {})
    if fault in FAULTS:
        FAULTS[fault](monkeypatch)
    elif fault == "mean 0.1308":
        mnist = replace(mnist, statistics=replace(mnist.statistics, mean=0.1308))
    found = {
        name: deviation(
            fingerprint(named(arm.network), replace(arm.recipe, **change(arm.recipe)), mnist), arm.fingerprint
        )
        for name, arm in ARMS.items()
    }
    print(f"{fault}:", {name: f"{excess:.3g} by {what}" for name, (excess, what) in found.items()})
    assert min(found.values())[0] > 5
