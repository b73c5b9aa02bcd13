"""Other people's programs are rebuilt as they are."""

import pytest
import torch
from torch.utils.data import Subset

from src.evidence.results import Timed
from src.studies import baselines


@pytest.mark.parametrize("network", [baselines.PyTorch_Example, baselines.Train_MNIST_Fast])
def test_parameters_are_those_of_the_docstring(network):
    count = sum(weights.numel() for weights in network().parameters())
    assert f"{count:,} parameters" in network.__doc__
    assert network()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "epochs"), [(baselines.common_loop, 15), (baselines.pytorch_example, 14)])
def test_programs_score_each_epoch(program, epochs, real_root, monkeypatch):
    monkeypatch.setenv("MNIST_ROOT", str(real_root))
    sets = baselines._sets
    monkeypatch.setattr(baselines, "_sets", lambda *given: [Subset(whole, range(200)) for whole in sets(*given)])
    models, correct = zip(*program(0), strict=True)
    assert len(set(map(id, models))) == 1
    assert len(correct) == epochs
    assert 40 < correct[-1] <= 200


@pytest.mark.slow
def test_train_mnist_fast_reaches_what_is_published(real_root, monkeypatch):
    """Its author's thirty seeds have a mean of 99.04 % and a standard deviation of 0.07."""
    monkeypatch.setenv("MNIST_ROOT", str(real_root))
    ((_, correct),) = baselines.train_mnist_fast(0)
    assert 9_880 <= correct <= 9_930


def test_seconds_until_a_score_are_those_of_all_epochs_up_to_it():
    timed = Timed(1, 1, [3.0, 4.0, 5.0], [9_800, 9_950, 9_930])
    assert (timed.seconds, timed.seconds_until(9_800), timed.seconds_until(9_940)) == (12, 3, 7)
    assert timed.seconds_until(9_960) is None
