"""What git knows of this checkout: its commit, and whether it has a good copy of a file."""

import os
import subprocess
from pathlib import Path

from src import ROOT


def git(*words: str) -> str:
    """Return what git says of this checkout. Raises OSError without git, CalledProcessError where it fails."""
    command = ["git", "--git-dir", ROOT / ".git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def git_commit() -> str:
    """Name the commit of src/, with "-dirty" behind it where a file of src/ differs; "unknown" outside a checkout.

    A copy without its own .git inside another repository must not be taken for that repository's. MNIST_COMMIT names
    the commit where only src/ was sent, as to the machines of a cluster.
    """
    if sent := os.environ.get("MNIST_COMMIT"):
        return sent
    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def remedy(path: str | Path) -> str:
    """Say how to come by a good copy of a file: from git where that has one."""
    try:
        git("ls-files", "--error-unmatch", "--", str(path))
        name = os.path.relpath(path, ROOT)
        return f"correct it, or `git restore {name}` brings back the committed one"
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "correct or delete it" if os.path.lexists(path) else "correct the name"
