"""Folders, and files that are written whole or not at all. What must not be lost is sealed with a checksum."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from src import ROOT, display_path
from src.checked import Kind, parsed, read_json
from src.evidence.git import remedy

RESULTS = ROOT / "results"
KEPT = ROOT / ".runs"  # git-ignored: runs that an execution finished or left unfinished
TRIAL = KEPT / "trial"  # what is no evidence goes here


PARTIAL = ".partial"  # behind the name and the process number of what is being written


class Damaged(Exception):
    """A sealed file does not hold what was written to it."""


def write(path: str | Path, content: str | bytes) -> None:
    """Replace a file by `content`, text or bytes, at once, so that nobody ever sees half of it.

    Raises OSError with what to do, the earlier file untouched.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
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


def write_json(path: str | Path, content: Any, one_line: Iterable[str] = ()) -> None:
    """Write content as JSON, what matches a pattern of `one_line` without its line breaks.

    Raises ValueError for NaN or infinity, OSError as `write` does.
    """
    text = json.dumps(content, indent=1, allow_nan=False)
    for pattern in one_line:
        text = re.sub(pattern, lambda found: re.sub(r"\s+", " ", found[0]), text)
    write(path, text + "\n")


def read_checked(kind: type[Kind], path: str | Path, prepared: Callable[[Any], Any] = lambda content: content) -> Kind:
    """Read a JSON file as a `kind`. Raises ValueError in one sentence: file, field, what is right, value, what to do.

    `prepared` makes of the file's content what the kind is made from.
    """
    try:
        return parsed(kind, prepared(read_json(path)))
    except ValueError as error:
        raise ValueError(f"{display_path(path)}: {error}; {remedy(path)}") from None


def check_writable(folder: str | Path) -> None:
    """Find out now, not after hours of training, whether a folder can be written into. Raises OSError with the fix.

    Removes what killed processes left half written there.
    """
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise OSError(f"{folder} cannot be made, as {folder.parent} is not a folder: correct the name or create it")
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for partial in folder.glob(f"*{PARTIAL}"):
            process = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
            if process.isdigit() and not _alive(int(process)):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{folder} cannot be written into ({error.strerror}): make it writable or name another") from None


def _alive(process):
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def seal(path: str | Path, content: bytes) -> None:
    """Write bytes behind their SHA-256, as `unseal` wants them."""
    write(path, hashlib.sha256(content).digest() + content)


def unseal(path: str | Path) -> bytes:
    """Return the bytes that `seal` wrote. Raises Damaged where a single bit of the file differs, or it is no file."""
    try:
        sealed = Path(path).read_bytes()
    except OSError as error:
        raise Damaged(f"{display_path(path)} cannot be read ({error.strerror})") from None
    digest, content = sealed[:32], sealed[32:]
    if hashlib.sha256(content).digest() != digest:
        raise Damaged(f"{display_path(path)} is damaged ({len(sealed)} bytes with the wrong checksum)")
    return content


def set_aside(path: str | Path) -> Path:
    """Move whatever is at `path` out of the way, and return where it is now."""
    path = Path(path)
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.aside{number}")):
        number += 1
    os.replace(path, aside)
    return aside
