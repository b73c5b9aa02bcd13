"""The notebooks as files, and as programs: executed in every way that the README and the assignment name."""

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from src import ROOT
from src.evidence.schema import STEPS, path_to, read_evidence
from tests.helpers import assert_clean, code, model_names, models_of, printed, read, source, write_synthetic_mnist

# The one place to read the repository's name from; CONTRIBUTING.md tells how to change it everywhere.
NAME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"].split("github.com/")[1]
SMOKE = {"epochs": 2, "train_limit": 64}


@pytest.fixture(params=STEPS)
def step(request):
    return request.param


@pytest.fixture
def notebook(step):
    return read(ROOT / "notebooks" / f"Step{step}.ipynb")


# ---------------------------------------------------------------- as files


def test_exactly_three():
    listed = subprocess.run(["git", "ls-files", "notebooks/*.ipynb"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert listed.stdout.split() == [f"notebooks/Step{k}.ipynb" for k in STEPS]


def test_skeleton(notebook, step):
    cells = notebook["cells"]
    assert source(cells[0]).startswith(f"# Step {step}: ")
    badge = f"https://colab.research.google.com/github/{NAME}/blob/main/notebooks/Step{step}.ipynb"
    assert badge in source(cells[0])
    headings = re.findall(r"^## (.+)$", source(cells[1]), re.MULTILINE)
    assert headings == ["Target", "Result", "Analysis"]
    assert cells[2]["metadata"]["tags"] == ["parameters"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def kind(cell):
    """Name a cell by what it does: its heading, or what its last statement calls."""
    if cell["cell_type"] == "markdown":
        return re.sub(r"Model_\d+|Step \d", "…", source(cell).split("\n")[0].split(":")[0])
    last = ast.parse(source(cell)).body[-1]
    calls = [node for node in ast.walk(last) if isinstance(node, ast.Call)]
    return ast.unparse(calls[0].func) if calls else "="


def test_cards_are_short(notebook):
    """The result's tables are generated; the words around them are for somebody to read."""
    by_hand = re.sub(r"<!-- table: .*?<!-- /table -->|<!--.*?-->", "", source(notebook["cells"][1]), flags=re.DOTALL)
    assert len(by_hand.split()) <= 450


def test_the_same_cells_in_all():
    notebooks = [read(ROOT / "notebooks" / f"Step{k}.ipynb") for k in STEPS]
    *first, last = (source(notebook["cells"][2]) for notebook in notebooks)  # parameters
    assert set(first) == {last.rsplit("\n", 1)[0]}
    assert last.rsplit("\n", 1)[1].startswith('digit = ""')  # for Model_8 alone
    assert len({source(notebook["cells"][3]) for notebook in notebooks}) == 1  # bootstrap
    settings = {source(code(notebook)[2]).split("\n\n", 1)[1].split("shown = ")[0] for notebook in notebooks}
    settings = {text.replace(", digit=digit", "").split("data = ")[0] for text in settings}
    assert len(settings) == 1  # after the imports
    order = (
        r"# … ## Target = sys.path.insert ## Data = show_samples (## The training loop show_loop )?"
        r"(## … show_layers (show_network )?show_summary fit_seeds )+"
        r"## What happened show_curves Below are the digits [^#]*? show_confusion show_mistakes "
        r"(## [^#]+? show_(seeds|changes|averaging|frontier|usps) )+"
        r"(## Use the network save_networks read_digit ){use}"
        r"## Check against the target finish_step (Next|The evidence).*"
    )
    for notebook in notebooks:
        use = "{1}" if notebook is notebooks[-1] else "{0}"
        assert re.fullmatch(order.format(use=use), " ".join(map(kind, notebook["cells"])))
    for k, notebook in zip(STEPS, notebooks, strict=True):
        neighbours = {f"Step{other}.ipynb" for other in STEPS if other != k} | {"../README.md"}
        assert neighbours <= set(re.findall(r"\]\(([^)]+)\)", source(notebook["cells"][0])))
        assert source(code(notebook)[-1]) == f"finish_step({k}, target, runs, data, settings)"


def test_every_model_has_its_section():
    shown = []
    for k in STEPS:
        cells = read(ROOT / "notebooks" / f"Step{k}.ipynb")["cells"]
        for at, cell in enumerate(cells):
            if heading := re.match(r"## (Model_\d+): ", source(cell)):
                name = heading[1]
                assert "*Was:*" in source(cell)
                assert "*Is:*" in source(cell)
                layers, *picture, summary, fit = map(source, cells[at + 1 : at + 4 + (name == "Model_8")])
                assert (layers, summary) == (f"show_layers({name})", f"show_summary({name})")
                assert picture == ["show_network(Model_8, data)"] * (name == "Model_8")
                assert fit.endswith(f'runs["{name}"] = fit_seeds({name}, recipe, data, settings)')
                shown.append(name)
    assert shown == model_names()


def test_cells_are_thin(notebook):
    for cell in code(notebook):
        tree = ast.parse(source(cell))
        assert len(source(cell).splitlines()) <= 25
        assert not any(isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)) for node in ast.walk(tree))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert modules <= {"pathlib", "src.model", "src.utils"}


def test_what_is_imported_is_there_and_utils_is_no_more_than_a_front_door(notebook):
    front_door = ast.parse((ROOT / "src" / "utils.py").read_text(encoding="utf-8"))
    docstring, *imports = front_door.body
    assert ast.get_docstring(front_door) == docstring.value.value
    assert all(isinstance(node, ast.ImportFrom) for node in imports)
    offered = {alias.asname or alias.name for node in imports for alias in node.names}
    nodes = [node for cell in code(notebook) for node in ast.walk(ast.parse(source(cell)))]
    asked = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "src.utils"]
    names = {alias.name for node in asked for alias in node.names}
    assert names <= offered
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert names <= called  # and each is used


def test_parameters_are_read_by_papermill(notebook):
    """papermill hides a parameter whose comment holds an equals sign."""
    for line in source(notebook["cells"][2]).splitlines():
        assert re.fullmatch(r"\w+ = [^#=]+  # [^=]+", line)


# ---------------------------------------------------------------- as programs


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return write_synthetic_mnist(tmp_path_factory.mktemp("few"), train=100, test=50)


def environment(root, **more):
    return os.environ | {"MNIST_ROOT": str(root), "PYTHONWARNINGS": "default"} | more


def papermill(notebook, out, cwd, root, **parameters):
    pairs = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(notebook), str(out), *pairs]
    return subprocess.run(command, cwd=cwd, env=environment(root), capture_output=True, text=True)


def state(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_papermill_from_the_root(checkout, few, step, tmp_path):
    before = state(checkout / "results")
    out = tmp_path / "out.ipynb"
    run = papermill(f"notebooks/Step{step}.ipynb", out, checkout, few, **SMOKE, fresh=True)
    assert run.returncode == 0, run.stderr[-2000:]
    notebook = read(out)
    assert_clean(notebook)
    assert "64 training and 50 test images. The results of this run go to .runs/trial/" in printed(notebook)
    assert f"Written: .runs/trial/Step{step}.json" in printed(notebook)
    assert len(re.findall(r"Model_\d+, seed 0: 2 epochs in", printed(notebook))) == len(models_of(notebook)) >= 3
    assert state(checkout / "results") == before
    evidence = read(checkout / ".runs" / "trial" / f"Step{step}.json")
    assert all(len(run["history"]) == 2 for arm in evidence["arms"].values() for run in arm["runs"])


@pytest.mark.slow
def test_papermill_from_the_notebooks_folder_picks_up_what_is_kept(checkout, few, tmp_path):
    """And reads a picture of one's own, whose name counts from the checkout."""
    shutil.copy(checkout / "tests" / "pictures" / "blue-ink-ruled-paper_4.jpg", checkout / "photo.jpg")
    for again in (False, True):
        out = tmp_path / "out.ipynb"
        own = {"digit": "photo.jpg"} if again else {}
        run = papermill("Step3.ipynb", out, checkout / "notebooks", few, epochs=1, train_limit=64, **own)
        assert run.returncode == 0, run.stderr[-2000:]
        notebook = read(out)
        kept = printed(notebook).count("kept from an earlier execution")
        assert len(models_of(notebook)) >= 3
        assert kept == (len(models_of(notebook)) if again else 0)
        assert bool(re.search(r"photo\.jpg: \d, \d+\.\d% sure", printed(notebook))) == again


@pytest.mark.slow
def test_nbconvert_with_the_defaults(checkout, few, tmp_path):
    """All 15 epochs, on synthetic data: these are not MNIST, so the evidence stays what it is."""
    before = state(checkout / "results")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "Step3.ipynb"]
    options = ["--output-dir", str(tmp_path), "--output", "out.ipynb"]
    run = subprocess.run(
        command + options, cwd=checkout / "notebooks", env=environment(few), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert_clean(read(tmp_path / "out.ipynb"))
    assert state(checkout / "results") == before


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"epochs": "many"}, r"ValueError: epochs must .* got 'many'"),
        ({"digit": "nowhere.png"}, r"nowhere.png cannot be read .*: correct the path or file"),
        ({"epoch": 3}, r"ValueError: epoch is no parameter of this notebook: use one of seed, n_seeds, epochs"),
        ({"results_dir": ".."}, r"ValueError: results_dir is '\.\.', .*name another folder"),
    ],
)
def test_papermill_refuses(checkout, few, tmp_path, parameters, says):
    run = papermill("notebooks/Step3.ipynb", tmp_path / "out.ipynb", checkout, few, **parameters)
    assert run.returncode != 0
    assert re.search(says, run.stderr)


def test_outside_a_checkout(few, tmp_path):
    run = papermill(ROOT / "notebooks" / "Step1.ipynb", tmp_path / "out.ipynb", tmp_path, few)
    assert run.returncode != 0
    assert "or above: start from a clone of the repository" in run.stderr


def test_a_colab_machine_clones_once(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    here = {  # git takes this checkout for the one on GitHub
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{NAME}.git",
        "COLAB_RELEASE_TAG": "release",
    }
    bootstrap = source(read(ROOT / "notebooks" / "Step1.ipynb")["cells"][3])
    program = f"{bootstrap}\nimport src.model\nprint(src.model.__file__)"
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | here, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr[-2000:]
        assert Path(run.stdout.strip()) == tmp_path / NAME.split("/")[1] / "src" / "model.py"


def program_of(path):
    """Return the only program in Python that imports from src/ in a text, without its indentation."""
    text = path.read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(\s*from .*?)```", text, re.DOTALL)
    return textwrap.dedent(program)


def executed(program, checkout, root):
    """Run a program in a checkout, and return what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, env=environment(root), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def test_the_program_of_readme(checkout, few):
    """Read a picture of one's own."""
    picture = Image.new("L", (90, 90), "white")
    ImageDraw.Draw(picture).line([(45, 10), (45, 80)], fill="black", width=9)
    picture.save(checkout / "photo.png")
    probabilities = ast.literal_eval(executed(program_of(ROOT / "README.md"), checkout, few))
    assert probabilities[1] == max(probabilities) > 0.5


def test_the_program_of_the_exercises(checkout, few):
    """Train a network by another's recipe: 15 epochs, of which the digits here have few images."""
    assert 0 <= float(executed(program_of(ROOT / "notebooks" / "exercises.md"), checkout, few)) <= 100


@pytest.mark.parametrize(("text", "study"), [("CONTRIBUTING.md", "elastic"), ("results/leaderboard.md", "yours")])
def test_a_study_is_declared_as_texts_say(checkout, few, text, study):
    path = path_to(study, checkout / "results")
    executed(program_of(ROOT / text), checkout, few)
    declared = read_evidence(path)
    path.unlink()
    assert declared.arms
    assert not any(arm.runs for arm in declared.arms.values())
