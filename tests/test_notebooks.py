"""The notebooks as files, and as programs: executed in every way that the README and the assignment name."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from src import model as models
from src.data import ROOT
from src.results import repository

STEPS = (1, 2, 3)
SMOKE = {"epochs": 2, "train_limit": 200}


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(params=STEPS)
def step(request):
    return request.param


@pytest.fixture
def notebook(step):
    return read(ROOT / "notebooks" / f"Step{step}.ipynb")


# ---------------------------------------------------------------- as files


def test_exactly_three():
    assert sorted(path.name for path in (ROOT / "notebooks").glob("*")) == [f"Step{k}.ipynb" for k in STEPS]


def test_skeleton(notebook, step):
    cells = notebook["cells"]
    assert source(cells[0]).startswith(f"# Step {step}: ")
    badge = f"https://colab.research.google.com/github/{repository()}/blob/main/notebooks/Step{step}.ipynb"
    assert badge in source(cells[0])
    headings = re.findall(r"^## (.+)$", source(cells[1]), re.MULTILINE)
    assert headings == ["Target", "Result", "Analysis"]
    assert cells[2]["metadata"]["tags"] == ["parameters"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def test_parameters_bootstrap_and_kind_of_cells_are_the_same_in_all():
    notebooks = [read(ROOT / "notebooks" / f"Step{k}.ipynb") for k in STEPS]
    for at in (2, 3):
        assert len({source(notebook["cells"][at]) for notebook in notebooks}) == 1
    assert len({source(code(notebook)[2]).split("\n\n", 1)[1] for notebook in notebooks}) == 1  # after the imports
    for notebook in notebooks:
        calls = [re.match(r"[\w ]*?(?:= \w+\(|\w+\()", source(cell).splitlines()[-1]) for cell in code(notebook)]
        assert calls  # each cell of the skeleton is a call or an assignment
    endings = [[source(cell) for cell in code(notebook)[-4:]] for notebook in notebooks]
    for k, (curves, confusion, mistakes, finish) in zip(STEPS, endings, strict=True):
        assert curves.endswith("show_curves(runs, target)")
        assert confusion.endswith("show_confusion(logits, data)")
        assert mistakes == "show_mistakes(logits, data)"
        assert finish == f"finish_step({k}, target, runs, data, settings)"


def test_every_model_has_its_section():
    shown = []
    for k in STEPS:
        notebook = read(ROOT / "notebooks" / f"Step{k}.ipynb")
        text = "\n".join(source(cell) for cell in notebook["cells"])
        names = re.findall(r"^## (Model_\d+): ", text, re.MULTILINE)
        for name in names:
            assert f"show_layers({name})" in text
            assert f"show_summary({name})" in text
            assert f"fit_seeds({name}, recipe, data, settings)" in text
            assert "*Was:*" in text
        shown += names
    assert shown == [name for name in vars(models) if name.startswith("Model_")]


def test_cells_are_thin(notebook):
    for cell in code(notebook):
        tree = ast.parse(source(cell))
        assert len(source(cell).splitlines()) <= 25
        assert not any(isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)) for node in ast.walk(tree))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert modules <= {"pathlib", "src.model", "src.utils"}


def test_parameters_are_read_by_papermill(notebook):
    """papermill hides a parameter whose comment holds an equals sign."""
    for line in source(notebook["cells"][2]).splitlines():
        assert re.fullmatch(r"\w+ = [^#=]+  # [^=]+", line)


# ---------------------------------------------------------------- as programs


def environment(root, **more):
    return os.environ | {"MNIST_ROOT": str(root), "PYTHONWARNINGS": "default"} | more


def papermill(notebook, out, cwd, root, **parameters):
    pairs = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), str(out), *pairs]
    return subprocess.run(command, cwd=cwd, env=environment(root), capture_output=True, text=True)


def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_clean(notebook):
    """Hold what an executed notebook must look like, fresh or committed."""
    assert [cell["execution_count"] for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    assert not re.search(r"(^|[\s'\"])(/[\w.-]+){2,}|[A-Z]:\\", "\n".join("".join(text) for text in texts))
    assert len(json.dumps(notebook)) < 1_000_000


def told(notebook):
    """Return all text that the notebook printed."""
    outputs = [output for cell in code(notebook) for output in cell["outputs"]]
    return "\n".join("".join(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in outputs)


def test_papermill_from_the_root(checkout, synthetic_root, step, tmp_path):
    before = state(checkout / "results")
    out = tmp_path / "out.ipynb"
    run = papermill(f"notebooks/Step{step}.ipynb", out, checkout, synthetic_root, **SMOKE, fresh=True)
    assert run.returncode == 0, run.stderr[-2000:]
    notebook = read(out)
    assert_clean(notebook)
    assert "200 training and 200 test images. This run is a trial: its results go to .runs/trial/" in told(notebook)
    assert f"Written: .runs/trial/Step{step}.json" in told(notebook)
    assert len(re.findall(r"Model_\d, seed 0: 2 epochs in", told(notebook))) == (2 if step == 3 else 3)
    assert state(checkout / "results") == before
    evidence = read(checkout / ".runs" / "trial" / f"Step{step}.json")
    assert all(len(run["history"]) == 2 for entry in evidence["models"].values() for run in entry["runs"])


def test_papermill_from_the_notebooks_folder_picks_up_what_is_kept(checkout, synthetic_root, tmp_path):
    for expected in (0, 2):
        out = tmp_path / "out.ipynb"
        run = papermill("Step3.ipynb", out, checkout / "notebooks", synthetic_root, epochs=1, train_limit=100)
        assert run.returncode == 0, run.stderr[-2000:]
        assert told(read(out)).count("trained by an earlier execution and picked up") == expected


def test_nbconvert_with_the_defaults(checkout, synthetic_root, tmp_path):
    """All 15 epochs, on synthetic data: these are not MNIST, so the evidence stays what it is."""
    before = state(checkout / "results")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "Step3.ipynb"]
    options = ["--output-dir", str(tmp_path), "--output", "out.ipynb"]
    run = subprocess.run(
        command + options, cwd=checkout / "notebooks", env=environment(synthetic_root), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert_clean(read(tmp_path / "out.ipynb"))
    assert state(checkout / "results") == before


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"epochs": 20}, "ValueError: epochs must be a whole number from 1 to 15, got 20"),
        ({"epochs": "many"}, "ValueError: epochs must be a whole number from 1 to 15, got 'many'"),
        ({"epoch": 3}, "ValueError: epoch is no parameter of this notebook: use one of seed, n_seeds, epochs"),
    ],
)
def test_papermill_refuses(checkout, synthetic_root, tmp_path, parameters, says):
    run = papermill("notebooks/Step3.ipynb", tmp_path / "out.ipynb", checkout, synthetic_root, **parameters)
    assert run.returncode != 0
    assert says in run.stderr


def test_outside_a_checkout(synthetic_root, tmp_path):
    run = papermill(ROOT / "notebooks" / "Step1.ipynb", tmp_path / "out.ipynb", tmp_path, synthetic_root)
    assert run.returncode != 0
    assert "or above: start from a clone of the repository" in run.stderr


def test_a_colab_machine_clones_once(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    here = {  # git takes this checkout for the one on GitHub
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{repository()}.git",
        "COLAB_RELEASE_TAG": "release",
    }
    bootstrap = source(read(ROOT / "notebooks" / "Step1.ipynb")["cells"][3])
    program = f"{bootstrap}\nimport src.model\nprint(src.model.__file__)"
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | here, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr[-2000:]
        assert Path(run.stdout.strip()) == tmp_path / repository().split("/")[1] / "src" / "model.py"
