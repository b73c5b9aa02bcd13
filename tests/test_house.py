"""The house as a whole: floors whose imports go down only, and rooms that README names."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from src import ROOT

# From the ground up. A room may use what is listed before it, and nothing else.
FLOORS = (
    "checked", "model", "receptive_field", "learn", "evidence", "demo", "report", "studies", "notebook", "utils",
)  # fmt: skip
FILES = {path.relative_to(ROOT / "src"): path for path in (ROOT / "src").rglob("*.py") if path.name != "__init__.py"}


def floor(file):
    return FLOORS.index(file.parts[0].removesuffix(".py"))


def imported(path):
    """Name the files of src/ that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "src":
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
            if module.startswith("src.") and file.exists():
                yield file.relative_to(ROOT / "src")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_go_down(file):
    for other in imported(FILES[file]):
        assert floor(other) < floor(file) or other.parent == file.parent != Path(), f"{file} imports {other}"


def test_no_files_import_each_other_in_a_circle():
    graph = {file: set(imported(path)) for file, path in FILES.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them
    assert set(order) >= set(FILES)


def test_every_room_has_a_place_in_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = {file.parts[0] for file in FILES}
    assert not [room for room in rooms if f"src/{room}" not in text]


def test_readme_names_files_that_are_there():
    """In the row of a folder each word of code is one of its files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(src/\w+)/` \| (.*) \|$", text, re.MULTILINE)
    assert {folder for folder, _ in rows} == {f"src/{file.parts[0]}" for file in FILES if len(file.parts) > 1}
    for folder, row in rows:
        missing = [word for word in re.findall(r"`(\w+)`", row) if not (ROOT / folder / f"{word}.py").exists()]
        assert not missing, f"{folder} has no {missing}"
