"""What is committed fits together: evidence in itself, notebooks and evidence, texts and evidence."""

import ast
import re
import statistics
from dataclasses import replace

import pytest

from src import ROOT
from src.demo.reader import load, models_with_weights
from src.evidence.results import read_benchmark, read_gpu, read_published, read_usps
from src.evidence.schema import STEPS, Target, read_named, studies
from src.evidence.storage import RESULTS
from src.learn.data import load_dataset
from src.learn.recipe import Recipe
from src.report import figures, text
from src.report.__main__ import DRAWN, pictures, texts
from src.studies import benchmark, usps
from tests.helpers import assert_clean, changed, code, models_of, printed, read, source

ROTATION = {"Model_1": 0.0, "Model_4": 0.0, "Model_7": 5.0}  # as published; the others 7 degrees
STUDIES = {study.name: study for study in studies()}
SEARCH = {study.name: study for study in studies(kind="search")}


@pytest.fixture(params=STEPS)
def step(request):
    return read_named(f"Step{request.param}")


@pytest.fixture
def notebook(step):
    return read(ROOT / "notebooks" / f"{step.name}.ipynb")


@pytest.fixture
def as_published():
    """Skip where somebody executed a notebook: the new evidence is right, the texts about the old are not yet."""
    if changed("results") and not changed("README.md", "notebooks"):
        pytest.skip("results/ is new here: `python -m src.report` brings README and cards in line")


# ---------------------------------------------------------------- evidence


def check_runs(evidence, arm, images):
    for run in arm.runs:
        assert {(epoch.train_total, epoch.eval_total) for epoch in run.history} == {(images, 10_000)}
    assert [run.seed for run in arm.runs] == list(evidence.seeds)
    assert len(arm.fingerprint) == 3 * arm.recipe.epochs + 1


@pytest.mark.parametrize("name", [*STUDIES, *SEARCH])
def test_studies_are_whole(name):
    """What claims has seeds below 100; what chooses sees the validation split, with seeds from 100 on."""
    study = (STUDIES | SEARCH)[name]
    for arm in study.arms.values():
        check_runs(study, arm, 50_000 if name in SEARCH else 60_000)
    if name in SEARCH:
        assert study.split == "validation"
        assert min(study.seeds) >= 100
        assert study.question
    else:
        assert study.split == "test"
        assert max(study.seeds) < 100


def test_steps_are_whole(step, notebook):
    assert step.split == "test"
    assert list(step.arms) == models_of(notebook)
    for name, arm in step.arms.items():
        assert arm.network == name
        check_runs(step, arm, 60_000)
        if name in read_published().rebuilt:
            assert arm.recipe == Recipe(rotation=ROTATION.get(name, 7.0))


def test_evidence_is_of_mnist(real_root):
    """The hash is of the tensors that src/learn/data.py makes of MNIST's files today."""
    expected = {split: load_dataset(real_root, split=split).sha256 for split in ("test", "validation")}
    for evidence in [*STUDIES.values(), *SEARCH.values(), *(read_named(f"Step{k}") for k in STEPS)]:
        hashes = {run.environment.data_sha256 for arm in evidence.arms.values() for run in arm.runs}
        assert hashes == {expected[evidence.split]}


def test_one_run_has_one_history():
    """What was trained twice, or stands in several files, is the same to the last image: training promises it."""
    seen = {}
    for evidence in [*STUDIES.values(), *SEARCH.values(), *(read_named(f"Step{k}") for k in STEPS)]:
        for arm in evidence.arms.values():
            for run in arm.runs:
                made_with = replace(run.environment, git_commit="unknown")
                history = [replace(epoch, seconds=0.0) for epoch in run.history]
                assert seen.setdefault((arm.network, arm.recipe, run.seed, made_with), history) == history


def test_ours_lie_above_every_public_run_but_two():
    ours = [(arm.parameters, text.mean_of(arm).mean) for arm in STUDIES["frontier"].arms.values()]
    small = [run for run in read_published().runs if min(ours)[0] <= run.parameters < 8000]
    above = [run for run in small if all(run.best >= mean for size, mean in ours if size <= run.parameters)]
    assert {(run.parameters, run.epochs, run.best) for run in above} == {(697, None, 99.03), (7704, 20, 99.62)}


def test_benchmark_is_of_todays_programs():
    timed = read_benchmark().programs
    recipes = {name: arm.recipe for name, arm in STUDIES[benchmark.STUDY].arms.items()}
    assert list(timed) == list(benchmark.programs()), "run python -m src.studies.benchmark on a quiet machine"
    for name, found in timed.items():
        assert len(found.epochs) == len(found.correct)
        assert name not in recipes or len(found.epochs) == recipes[name].epochs
        assert found.seconds == pytest.approx(statistics.median(found.runs), abs=0.06)
        assert len(found.runs) == (benchmark.REPEATS if len(found.epochs) <= benchmark.SHORT else 1)


def test_usps_is_of_the_arms_that_its_program_names():
    found = read_usps().arms
    for name, (study, count, _) in usps.ARMS.items():
        assert found[name].source == study
        assert [run.seed for run in found[name].runs] == list(STUDIES[study].seeds[:count])
    assert len(found) == len(usps.ARMS) + 1  # and PyTorch's example


def test_the_gpu_ran_every_model():
    """An earlier version of the notebooks: what they are called and how long they train is still the same."""
    found = read_gpu()
    assert found.environment.device == "cuda"
    for name, step in found.steps.items():
        arms = read_named(name).arms
        assert list(step.models) == list(arms)
        assert all(len(model.correct) == arms[model_name].recipe.epochs for model_name, model in step.models.items())


@pytest.mark.parametrize("name", models_with_weights())
def test_weights_are_those_of_the_evidence(name, real_root):
    reader, data = load(name), load_dataset(real_root)
    right = reader.predict(data.eval_images).argmax(1) == data.eval_labels
    run = read_named("Step3").arms[name].runs[0]
    assert right.sum() == pytest.approx(run.history[-1].eval_correct, abs=5)  # another processor rounds differently


# ---------------------------------------------------------------- notebooks and texts


def calls(notebook, name):
    """Return each call of `name` in a notebook, evaluated with the parameters' defaults, and the cell that it is in."""
    defaults = {}
    exec(source(notebook["cells"][2]), defaults)
    for cell in code(notebook):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                values = {k.arg: eval(ast.unparse(k.value), {}, dict(defaults)) for k in node.keywords}
                assert not node.args
                yield values, source(cell)


def test_targets_and_recipes_are_those_of_the_notebooks(step, notebook):
    ((stated, _),) = calls(notebook, "Target")
    assert step.target == Target(**stated)
    recipes = {}
    for values, cell in calls(notebook, "Recipe"):
        if trained := re.search(r"fit_seeds\((\w+), recipe,", cell):
            recipes[trained[1]] = Recipe(**values)
    assert recipes == {name: arm.recipe for name, arm in step.arms.items()}


@pytest.mark.usefixtures("as_published")
def test_committed_notebooks_show_this_evidence(step, notebook):
    assert_clean(notebook)
    shown = printed(notebook)
    assert "This run is the evidence in results/" in shown
    assert f"Written: results/{step.name}.json" in shown
    assert "-dirty" not in shown, f"execute notebooks/{step.name}.ipynb again, on committed code"
    for arm in step.arms.values():
        for epoch in arm.runs[0].history:
            assert text.percent(epoch.train_accuracy) in shown
            assert text.percent(epoch.accuracy) in shown
    pictures = sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell["outputs"])
    cells = "\n".join(map(source, code(notebook)))
    assert pictures >= len(re.findall(r"^(?:show_(?!layers|loop|summary)|read_)\w+\(", cells, re.MULTILINE))


@pytest.mark.usefixtures("as_published")
def test_readme_and_cards_are_made_from_the_evidence():
    for path, made in texts().items():
        assert path.read_text(encoding="utf-8") == made, f"{path.name} is out of date: run `python -m src.report`"


def test_every_figure_is_redrawn_from_the_evidence():
    drawn = pictures()
    by_step_3 = {RESULTS / name for name in ("reading.png", "reading_dark.png", "photograph.png")}
    assert set(drawn) | by_step_3 == set(RESULTS.rglob("*.png"))
    assert set(DRAWN) <= set(STUDIES)
    for path, picture in drawn.items():
        if figures.made_with(path.read_bytes()) == figures.made_with(picture):
            assert path.read_bytes() == picture, f"{path.name} is out of date: run `python -m src.report`"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "results/search/README.md"])
def test_links_lead_somewhere(name):
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src(?:set)?="([^"]+)"', text)
    assert [link for link in links if not link.startswith("http") and not (path.parent / link).exists()] == []


def test_only_the_last_step_asks_for_everything():
    assert read_named("Step3").target == Target(accuracy=0.994, last_epochs=5, max_epochs=15, max_parameters=7999)
