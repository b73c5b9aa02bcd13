"""What the programs on the command line share: how they read seeds, and how they end."""

import argparse
import contextlib
import re
import signal
import sys
from collections.abc import Iterator

from src.learn.data import DataError

MOST_SEEDS = 1000


class CommandError(RuntimeError):
    """Say in one sentence why a program cannot go on, and what to do."""


def seeds_of(text: str) -> tuple[int, ...]:
    """Read "0-29", "3" or "0,2,5-7" as a tuple of seeds. Raises argparse.ArgumentTypeError for anything else."""
    seeds = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise argparse.ArgumentTypeError(f"seeds must look like 0-29 or 0,2,5-7, got {text!r}")
        if last >= 2**31 or len(seeds) + last - first >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"seeds must be at most {MOST_SEEDS} numbers below 2**31, got {text!r}")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"a seed stands twice in {text!r}")
    return tuple(seeds)


@contextlib.contextmanager
def ended_in_a_sentence(what: str) -> Iterator[None]:
    """End the program in one sentence where `what`, a study or a search, is stopped or cannot be made."""
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (CommandError, DataError, OSError, ValueError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print(f"Stopped; finished runs are kept. Start the {what} again: it resumes.", file=sys.stderr)
        sys.exit(130)


def stop(*_) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt
