"""Other people's programs for MNIST, rebuilt after their own code, to be timed and scored beside ours.

Each is a function that takes a seed and yields, after each epoch, its model and how many of the 10,000 test images
that reads. All compute in float32.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR, StepLR
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from src.learn.data import MNIST as MNIST_SPEC
from src.learn.data import load_dataset, torchvision_root
from src.learn.images import normalise
from src.model import Model_8

TO_INPUT = (transforms.ToTensor(), transforms.Normalize((MNIST_SPEC.statistics.mean,), (MNIST_SPEC.statistics.std,)))


def common_loop(seed: int) -> Iterator[tuple[nn.Module, int]]:
    """Train Model_8 for 15 epochs as the public runs of the assignment do.

    What they have in common: torchvision's DataLoader with two workers, PIL images turned one at a time by
    RandomRotation, SGD.
    """
    torch.manual_seed(seed)
    model = Model_8()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    turned = transforms.RandomRotation((-7.0, 7.0), fill=(0,))
    train_set, test_set = _sets(turned)
    for _ in range(15):
        _epoch(model, optimizer, DataLoader(train_set, batch_size=128, shuffle=True, num_workers=2))
        yield model, _correct(model, DataLoader(test_set, batch_size=128, num_workers=2))


class PyTorch_Example(nn.Sequential):
    """The network of PyTorch's MNIST example: 1,199,882 parameters."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
            nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
        )  # fmt: skip


def pytorch_example(seed: int) -> Iterator[tuple[nn.Module, int]]:
    """Train for 14 epochs as github.com/pytorch/examples, mnist/main.py, does on a GPU: one worker, shuffled."""
    torch.manual_seed(seed)
    model = PyTorch_Example()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = StepLR(optimizer, step_size=1, gamma=0.7)
    train_set, test_set = _sets()
    for _ in range(14):
        _epoch(model, optimizer, DataLoader(train_set, batch_size=64, shuffle=True, num_workers=1))
        yield model, _correct(model, DataLoader(test_set, batch_size=1000, num_workers=1))
        schedule.step()


class Train_MNIST_Fast(nn.Sequential):
    """The network of github.com/tuomaso/train_mnist_fast: 215,194 parameters."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU(),
            nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10),
        )  # fmt: skip


def train_mnist_fast(seed: int) -> Iterator[tuple[nn.Module, int]]:
    """Train for one epoch as its notebook 8_Final does: all images ready in memory, in an order drawn once."""
    torch.manual_seed(seed)
    data = load_dataset()
    order = torch.randperm(len(data.train_labels))
    images, labels = normalise(data.train_images[order], data.statistics), data.train_labels[order]
    test_images = normalise(data.eval_images, data.statistics)
    model = Train_MNIST_Fast()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.7, 0.9))
    batches = list(zip(images.split(256), labels.split(256), strict=True))
    schedule = OneCycleLR(optimizer, max_lr=0.01, total_steps=len(batches), cycle_momentum=False)
    _epoch(model, optimizer, batches, schedule)
    yield model, _correct(model, zip(test_images.split(2000), data.eval_labels.split(2000), strict=True))


def _sets(*augmentation):
    """Return torchvision's training and test set."""
    with torchvision_root() as root:
        train_set = MNIST(root, train=True, transform=transforms.Compose([*augmentation, *TO_INPUT]))
        return train_set, MNIST(root, train=False, transform=transforms.Compose(TO_INPUT))


def _epoch(model, optimizer, batches, schedule=None):
    model.train()
    for images, labels in batches:
        optimizer.zero_grad()
        F.nll_loss(F.log_softmax(model(images), dim=1), labels).backward()
        optimizer.step()
        if schedule:
            schedule.step()


@torch.no_grad()
def _correct(model, batches):
    model.eval()
    return sum((model(images).argmax(1) == labels).sum().item() for images, labels in batches)
