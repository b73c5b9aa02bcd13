"""The house as a whole: imports go one way, and what only declares is light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

from src.files import ROOT

FILES = {path.stem: path for path in (ROOT / "src").glob("*.py") if path.stem != "__init__"}


def imported(path):
    """Name the files of src/ that a file imports when it is imported itself."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "src":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("src."):
            names.add(node.module.split(".")[1])
    return names


def test_imports_go_one_way():
    graph = {name: imported(path) for name, path in FILES.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(FILES)


def test_training_knows_nothing_of_keeping_and_reporting():
    """These files decide a run, and nothing else does: what they import counts in the identity of every run."""
    deciding, waiting = set(), ["training"]
    while waiting:
        name = waiting.pop()
        if name not in deciding:
            deciding.add(name)
            waiting += imported(FILES[name])
    assert deciding == {"training", "images"}


def test_declaring_a_study_loads_no_statistics():
    program = "import sys, src.studies; print(*{'scipy.stats', 'matplotlib', 'ray'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_every_file_has_a_place_in_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in FILES if f"{name}.py" not in text]
