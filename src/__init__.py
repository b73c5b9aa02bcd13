"""MNIST with fewer than 8,000 parameters. Here: where the checkout is, and how a path is shown."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the checkout


def display_path(path: str | Path) -> str:
    """Name a path as seen from the checkout: what is kept or printed must not show the machine's folders."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
