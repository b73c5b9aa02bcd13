"""Time two trainings of Model_8, by the published kind of loop and by ours: `python -m src.studies.benchmark`.

The published loop is what the public runs of the assignment have in common: torchvision's DataLoader with two
workers, PIL images turned one at a time by RandomRotation, float32, SGD, 15 epochs. Ours is
`src.learn.training.train` with the recipe for few epochs, of which results/studies/three_epochs.json shows where it
ends. Both train Model_8 on 60,000 images and score 10,000 after each epoch. Reading the files is not timed,
preprocessing is. Ours takes so little time that whatever else a computer does shows in it: it is run three times, and
the run of median time counts. Each run has a process of its own. For Linux, where peak memory is in KiB.
"""

import functools
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from src.evidence.records import read_named
from src.evidence.runs import environment
from src.evidence.storage import RESULTS, check_writable, write_json
from src.learn.data import MNIST as OURS
from src.learn.data import DataError, load_dataset, torchvision_root
from src.learn.training import new_model, train
from src.model import Model_8

PUBLISHED_EPOCHS = 15
OUR_RUNS = 3


def published_loop():
    """Train and score Model_8 as the published notebooks do; return the seconds of each epoch."""
    turn = transforms.RandomRotation((-7.0, 7.0), fill=(0,))
    to_input = [transforms.ToTensor(), transforms.Normalize((OURS.statistics.mean,), (OURS.statistics.std,))]
    with torchvision_root() as root:
        train_set = MNIST(root, train=True, transform=transforms.Compose([turn, *to_input]))
        test_set = MNIST(root, train=False, transform=transforms.Compose(to_input))
    model = Model_8()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    seconds = []
    for _ in range(PUBLISHED_EPOCHS):
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
        seconds.append(time.perf_counter() - started)
    return seconds


def our_loop(recipe):
    """Train and score Model_8 as our notebooks do; return the seconds of each epoch, preparation in the first."""
    data = load_dataset()
    started = time.perf_counter()
    seconds = [epoch.seconds for epoch in train(new_model(Model_8, 0), data, recipe, seed=0)]
    seconds[0] += time.perf_counter() - started - sum(seconds)
    return seconds


def with_memory(loop):
    """Return the seconds of each epoch and this process's peak memory in MiB, its largest data worker included."""
    seconds = loop()
    peak = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return seconds, sum(peak) / 1024


def in_a_process(loop):
    """Return with_memory(loop), run in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(with_memory, loop).result()


def main():
    try:
        check_writable(RESULTS)
        data = load_dataset()  # which downloads it where it is missing
    except (DataError, OSError) as error:
        sys.exit(str(error))
    recipe = read_named("three_epochs").arms["Model_8, 3 epochs"].recipe
    content = {"environment": environment(data), "recipe": recipe.changed()}
    ours = functools.partial(our_loop, recipe)
    for name, loop, times in (("ours", ours, OUR_RUNS), ("published", published_loop, 1)):
        runs = sorted((in_a_process(loop) for _ in range(times)), key=lambda run: sum(run[0]))
        seconds, memory = runs[times // 2]
        content[name] = {
            "runs": [round(sum(run[0]), 1) for run in runs],
            "total_seconds": round(sum(seconds), 1),
            "peak_memory_mib": round(memory),
            "epochs": [round(epoch, 2) for epoch in seconds],
        }
        print("{name}: {total_seconds} s, {peak_memory_mib:,} MiB".format(name=name, **content[name]), flush=True)
    content["ratio"] = round(sum(content["published"]["epochs"]) / sum(content["ours"]["epochs"]), 2)
    print(f"the published loop takes {content['ratio']} times as long")
    write_json(RESULTS / "benchmark.json", content)


if __name__ == "__main__":
    main()
