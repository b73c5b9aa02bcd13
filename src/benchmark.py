"""Time one epoch of Model_8 in the published kind of loop and in ours, in one run: `python -m src.benchmark`.

The published loop is what the public runs of the assignment have in common: torchvision's DataLoader with two
workers, PIL images turned one at a time by RandomRotation, float32, SGD. Ours is `src.training.train` with Step 3's
recipe. Both train on 60,000 images and score 10,000; reading the files is not timed. Each epoch has a process of its
own, the two loops take turns, and the medians count. For Linux, where peak memory is in KiB.
"""

import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from src.data import MEAN, ROOT, STD, data_root, load_mnist
from src.model import Model_8
from src.results import write_text
from src.runs import environment
from src.studies import RECIPE
from src.training import train

ROUNDS = 5
IMAGES = 60_000
EPOCH = replace(RECIPE, epochs=1)


def published_epoch():
    """Train and score one epoch as the published notebooks do; return its seconds."""
    turn = transforms.RandomRotation((-7.0, 7.0), fill=(0,))
    to_input = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    train_set = MNIST(data_root(), train=True, transform=transforms.Compose([turn, *to_input]))
    test_set = MNIST(data_root(), train=False, transform=transforms.Compose(to_input))
    model = Model_8()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    started = time.perf_counter()
    model.train()
    for images, labels in DataLoader(train_set, batch_size=128, shuffle=True, num_workers=2):
        optimizer.zero_grad()
        loss = F.nll_loss(F.log_softmax(model(images), dim=1), labels)
        loss.backward()
        optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(test_set, batch_size=128, num_workers=2):
            correct += (model(images).argmax(1) == labels).sum().item()
    return time.perf_counter() - started


def our_epoch():
    """Train and score one epoch as our notebooks do; return its seconds."""
    data = load_mnist()
    model = Model_8()
    started = time.perf_counter()
    train(model, data, EPOCH, seed=0)
    return time.perf_counter() - started


def with_memory(epoch):
    """Return the seconds of `epoch` and this process's peak memory in MiB, its largest data worker included."""
    seconds = epoch()
    peak = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return seconds, sum(peak) / 1024


def main():
    where = environment(load_mnist())  # which downloads it where it is missing
    results = {"published": [], "ours": []}
    for number in range(1, ROUNDS + 1):
        for name, epoch in (("published", published_epoch), ("ours", our_epoch)):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                seconds, memory = process.submit(with_memory, epoch).result()
            results[name].append((seconds, memory))
            print(f"round {number} of {ROUNDS}, {name}: {seconds:.2f} s, peak {memory:.0f} MiB", flush=True)

    content = {"environment": where}
    for name, rounds in results.items():
        seconds = statistics.median(seconds for seconds, _ in rounds)
        content[name] = {
            "seconds": round(seconds, 2),
            "images_per_second": round(IMAGES / seconds),
            "peak_memory_mib": round(max(memory for _, memory in rounds)),
            "rounds": [round(seconds, 2) for seconds, _ in rounds],
        }
        print("{name}: {seconds} s an epoch, {images_per_second:,} images/s".format(name=name, **content[name]))
    content["ratio"] = round(content["published"]["seconds"] / content["ours"]["seconds"], 2)
    print(f"the published loop takes {content['ratio']} times as long as ours")
    write_text(ROOT / "results" / "benchmark.json", json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
