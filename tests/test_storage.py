"""Files that are written whole or not at all, sealed, and set aside."""

import math
import os
import subprocess
import sys

import pytest

from src import ROOT, display_path
from src.evidence.storage import Damaged, check_writable, seal, set_aside, unseal, write, write_json


def test_written_whole_with_its_folder(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write(path, "caf\u00e9")
    assert path.read_bytes() == b"caf\xc3\xa9"
    write(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder .*\(Is a directory\): .*make it writable"):
        write(tmp_path / "folder", "text")
    assert os.listdir(tmp_path) == ["folder"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"inside .*\((File exists|Not a directory)\)"):
        write(tmp_path / "file" / "inside", "text")


def test_a_number_that_is_none_is_refused_and_nothing_lost(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"loss": 0.5, "seeds": [1, 2]}, [r'"seeds": \[[^]]*\]'])
    assert path.read_text() == '{\n "loss": 0.5,\n "seeds": [ 1, 2 ]\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": math.nan})
    assert "0.5" in path.read_text()
    assert os.listdir(tmp_path) == ["file.json"]


def test_sealed_content_comes_back(tmp_path):
    for content in (b"", b"x", bytes(range(256))):
        seal(tmp_path / "sealed", content)
        assert unseal(tmp_path / "sealed") == content


def test_every_bit_and_every_length_counts(tmp_path):
    path = tmp_path / "sealed"
    seal(path, b"some content")
    whole = path.read_bytes()
    flipped = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in (0, 7)
    ]
    cut = [whole[:length] for length in range(len(whole))]
    for content in [*flipped, *cut, whole + b"\x00"]:
        path.write_bytes(content)
        with pytest.raises(Damaged, match=r"^sealed .*\d+ bytes"):
            unseal(path)


def test_what_is_set_aside_never_replaces_anything(tmp_path):
    for number in (1, 2):
        (tmp_path / "run.pt").write_text(str(number))
        assert set_aside(tmp_path / "run.pt").name == f"run.pt.aside{number}"
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["1", "2"]


def test_folders_are_tried_before_they_are_needed(tmp_path):
    check_writable(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "file").touch()
    for name, says in (
        ("file", r"file .*make it writable"),
        ("file/results", r"results .*file is not a folder: correct the name"),
        ("no/results", r"results .*no is not a folder"),
    ):
        with pytest.raises(OSError, match=says):
            check_writable(tmp_path / name)
    if os.geteuid():  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(OSError, match=r"locked .*Permission denied"):
            check_writable(tmp_path / "locked")


def test_what_killed_processes_left_is_removed(tmp_path):
    """A living process may still be writing; and what has no process's number is somebody else's."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = [f"run.pt.{os.getpid()}.partial", "run.pt.partial", "paper.partial", "run.pt", f"run.pt.{ended.pid}"]
    for name in (*kept, f"run.pt.{ended.pid}.partial", "run.pt.99999999999999999999.partial"):
        (tmp_path / name).touch()
    (tmp_path / f"folder.{os.getpid()}.partial").mkdir()
    check_writable(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, f"folder.{os.getpid()}.partial"])


def test_names_do_not_show_the_machine(tmp_path):
    assert display_path(ROOT / "results" / "Step1.json") == "results/Step1.json"
    assert display_path(tmp_path / "out") == "out"
