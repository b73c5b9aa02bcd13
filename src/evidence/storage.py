"""Folders, and files that are written whole or not at all. What must not be lost is sealed with a checksum."""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

from src import ROOT, shown

RESULTS = ROOT / "results"
KEPT = ROOT / ".runs"  # git-ignored: runs that an execution finished or left unfinished
TRIAL = KEPT / "trial"  # what is no evidence goes here


class Damaged(Exception):
    """A sealed file does not hold what was written to it."""


def write(path, content):
    """Replace a file by `content`, text or bytes, at once, so that nobody ever sees half of it.

    Raises OSError with what to do, the earlier file untouched.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error.strerror}): make room or make it writable, and run again; "
            "what was finished before is kept"
        ) from None
    finally:
        if partial.is_file():
            partial.unlink()


def write_json(path, content, one_line=()):
    """Write content as JSON, what matches a pattern of `one_line` without its line breaks.

    Raises ValueError for a number that is none, OSError as `write` does.
    """
    text = json.dumps(content, indent=1, allow_nan=False)
    for pattern in one_line:
        text = re.sub(pattern, lambda found: re.sub(r"\s+", " ", found[0]), text)
    write(path, text + "\n")


def check_writable(folder):
    """Find out now, not after hours of training, whether a folder can be written into. Raises OSError with the fix."""
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise OSError(f"{folder} cannot be made, as {folder.parent} is not a folder: correct the name or create it")
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{folder} cannot be written into ({error.strerror}): make it writable or name another") from None


def seal(path, content):
    """Write bytes behind their SHA-256, as `unseal` wants them."""
    write(path, hashlib.sha256(content).digest() + content)


def unseal(path):
    """Return the bytes that `seal` wrote. Raises Damaged where a single bit of the file differs, or it is no file."""
    try:
        sealed = Path(path).read_bytes()
    except OSError as error:
        raise Damaged(f"{shown(path)} cannot be read ({error.strerror})") from None
    digest, content = sealed[:32], sealed[32:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged(f"{shown(path)} is damaged ({len(sealed)} bytes with the wrong checksum)")
    return content


def set_aside(path):
    """Move whatever is at `path` out of the way, and return where it is now."""
    path = Path(path)
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.aside{number}")):
        number += 1
    os.replace(path, aside)
    return aside
