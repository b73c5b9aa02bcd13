"""The evidence against the code that is here now, and every number that the repository tells against the evidence."""

import ast
import itertools
import json
import math
import re
import subprocess
from dataclasses import asdict

import pytest

from src import model as models
from src.data import ROOT
from src.receptive_field import receptive_field
from src.results import (
    PUBLISHED,
    STEPS,
    Target,
    over_seeds,
    percent,
    published_texts,
    read_evidence,
    read_study,
    summary,
)
from src.results import differences as changes
from src.runs import code_sha256
from src.studies import MILD, RECIPE, STUDIES
from src.training import Recipe
from tests.test_notebooks import assert_clean, code, read, source, told

MODELS = {
    1: ["Model_1", "Model_2", "Model_3"],
    2: ["Model_4", "Model_5", "Model_6"],
    3: ["Model_7", "Model_8", "Model_9"],
}
# The digest of the four files' official SHA-256 sums, worked out with sha256sum.
DATA_SHA256 = "d0a3eec1f5a454401d758fdbf15b9b0163a7034963586d671960c180b97e2c1a"
ROTATION = {
    "Model_1": 0.0,
    "Model_2": 7.0,
    "Model_3": 7.0,
    "Model_4": 0.0,
    "Model_5": 7.0,
    "Model_6": 7.0,
    "Model_7": 5.0,
}


@pytest.fixture(params=STEPS)
def step(request):
    return request.param


@pytest.fixture
def content(step):
    return read_evidence(step)


@pytest.fixture
def notebook(step):
    return read(ROOT / "notebooks" / f"Step{step}.ipynb")


def changed(*names):
    """Return whether git sees uncommitted changes in these files of the checkout."""
    answer = subprocess.run(["git", "status", "--porcelain", "--", *names], cwd=ROOT, capture_output=True, text=True)
    return answer.returncode == 0 and bool(answer.stdout)


@pytest.fixture
def as_published():
    """Skip where somebody executed a notebook: the new evidence is right, the words about the old are not yet."""
    if changed("results") and not changed("README.md", "notebooks"):
        pytest.skip("results/ is new here: `python -m src.results` brings README and cards in line")


# ---------------------------------------------------------------- evidence against code


def test_evidence_is_of_this_code(content, step):
    for name, entry in content["models"].items():
        assert entry["code_sha256"] == code_sha256(getattr(models, name)), (
            f"{name} in results/Step{step}.json was trained by other code: run notebooks/Step{step}.ipynb"
        )


def test_evidence_is_complete(content, step):
    assert list(content["models"]) == MODELS[step]
    for name, entry in content["models"].items():
        model = getattr(models, name)()
        assert entry["parameters"] == sum(p.numel() for p in model.parameters())
        assert (entry["receptive_field"], entry["receptive_field_before_average"]) == receptive_field(model)
        assert len({run["seed"] for run in entry["runs"]}) == len(entry["runs"]) >= 1
        for run in entry["runs"]:
            assert [epoch["epoch"] for epoch in run["history"]] == list(range(1, 16))
            assert {(epoch["train_total"], epoch["test_total"]) for epoch in run["history"]} == {(60_000, 10_000)}
            assert all(math.isfinite(value) for epoch in run["history"] for value in epoch.values())
            assert run["met"] == Target(**content["target"]).met(run["history"], entry["parameters"])


def test_evidence_is_of_mnist(content):
    assert content["environment"]["data_sha256"] == DATA_SHA256


def test_published_models_had_the_published_recipe(content):
    for name, entry in content["models"].items():
        if name in PUBLISHED:
            assert Recipe(**entry["recipe"]) == Recipe(
                epochs=15, batch_size=128, optimizer="sgd", lr=0.01, momentum=0.9, rotation=ROTATION[name]
            )


def test_targets_are_those_of_the_notebooks(content, notebook):
    call = next(
        node for cell in code(notebook) for node in ast.walk(ast.parse(source(cell)))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Target"
    )  # fmt: skip
    stated = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert content["target"] == asdict(Target(**stated))


def test_only_the_last_step_asks_for_everything():
    assert read_evidence(3)["target"] == {"accuracy": 0.994, "last_epochs": 5, "max_epochs": 15, "max_parameters": 7999}


@pytest.fixture(params=STUDIES)
def study(request):
    return request.param


def test_studies_are_of_this_code_and_as_declared(study):
    content, declared = read_study(study), STUDIES[study]
    assert content["target"] == asdict(declared.target)
    assert list(content["models"]) == list(declared.arms)
    assert content["environment"]["data_sha256"] == DATA_SHA256
    for arm, entry in content["models"].items():
        model, recipe = declared.arms[arm]
        assert (entry["model"], entry["recipe"]) == (model.__name__, asdict(recipe))
        assert entry["code_sha256"] == code_sha256(model), f"{arm}: run python -m src.study {study}"
        assert entry["parameters"] == sum(p.numel() for p in model().parameters())
        assert [run["seed"] for run in entry["runs"]] == list(declared.seeds)
        assert not any("data_sha256" in run.get("environment", {}) for run in entry["runs"])
        for run in entry["runs"]:
            assert [epoch["epoch"] for epoch in run["history"]] == list(range(1, recipe.epochs + 1))
            assert {(epoch["train_total"], epoch["test_total"]) for epoch in run["history"]} == {(60_000, 10_000)}
            assert run["met"] == declared.target.met(run["history"], entry["parameters"])


def test_one_run_has_one_history():
    """What was trained twice, or is told in several files, is the same to the last image: `train` promises it."""
    seen = {}
    for content in [read_study(name) for name in STUDIES] + [read_evidence(3)]:
        for entry in content["models"].values():
            for run in entry["runs"]:
                made_with = content["environment"] | run.get("environment", {}) | {"git_commit": ""}
                key = json.dumps([entry["code_sha256"], entry["recipe"], run["seed"], made_with], sort_keys=True)
                history = [epoch | {"seconds": 0} for epoch in run["history"]]
                assert seen.setdefault(key, history) == history


def search_log():
    """Return the two parts of the log of the search: by candidate, and run by run."""
    return (ROOT / "results" / "search.md").read_text(encoding="utf-8").split("## Run by run")


def test_seeds_of_the_studies_took_no_part_in_the_choice():
    """The search is on the validation split, with seeds from 100 on."""
    _, run_by_run = search_log()
    header, _, *rows = [line.split(" | ") for line in run_by_run.splitlines() if line.startswith("| ")]
    seeds = [int(row[header.index("seed")]) for row in rows]
    assert len(seeds) > 100
    assert min(seeds) >= 100
    assert max(max(study.seeds) for study in STUDIES.values()) < 100


# ---------------------------------------------------------------- words against evidence


@pytest.mark.usefixtures("as_published")
def test_readme_and_cards_are_made_from_the_evidence():
    for path, text in published_texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run `python -m src.results`"


@pytest.mark.usefixtures("as_published")
def test_committed_notebooks_show_this_evidence(content, notebook, step):
    assert_clean(notebook)
    shown = told(notebook)
    assert "This run is the evidence in results/" in shown
    assert f"Written: results/Step{step}.json" in shown
    for name, entry in content["models"].items():
        words = summary(entry, content["target"])
        assert re.search(
            rf"^{name} +{words['parameters']} +{words['final']} +{words['lowest']} +{words['met']}$", shown, re.M
        )
        for epoch in entry["runs"][0]["history"]:
            assert percent(epoch["train_correct"], 60_000) in shown
            assert percent(epoch["test_correct"]) in shown
    pictures = sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell["outputs"])
    assert pictures == (8 if step == 3 else 4)


@pytest.mark.usefixtures("as_published")
def test_numbers_of_the_analysis(notebook, step):
    """Each percentage is one of the evidence or of the write-ups; "points" lie between final epochs or the target."""
    entries = {name: entry for k in STEPS[:step] for name, entry in read_evidence(k)["models"].items()}
    histories = [run["history"] for entry in entries.values() for run in entry["runs"]]
    known = {
        percent(e[f"{part}_correct"], e[f"{part}_total"]) for h in histories for e in h for part in ("train", "test")
    }
    known |= {f"{value:.2f} %" for value in PUBLISHED.values()} | {"99.40 %", "99.00 %"}
    finals = [h[-1]["test_correct"] / 100 for h in histories]
    differences = {f"{abs(a - b):.2f}" for a, b in itertools.combinations([*finals, 99.4], 2)}
    if step == 3:
        studies = [read_study(name) for name in STUDIES]
        told = [over_seeds(entry, study["target"]) for study in studies for entry in study["models"].values()]
        known |= {part for row in told for part in (row["mean"], row["lowest"])}
        candidates, _ = search_log()
        known |= {f"{mean} %" for mean in re.findall(r"\| (\d+\.\d{3})(?= ± | \|)", candidates)}
        differences |= {
            f"{abs(gap.mean):.2f}" for name in ("stall", "ablation") for gap in changes(read_study(name)).values()
        }

    text = source(notebook["cells"][1]).split("## Analysis")[1]
    percentages = re.findall(r"\d+\.\d+ %", text)
    assert len(percentages) >= 3
    assert set(percentages) <= known
    assert set(re.findall(r"(\d+\.\d+) points", text)) <= differences
    losses = {f"{e[f'{part}_loss']:.4f}" for h in histories for e in h for part in ("train", "test")}
    assert set(re.findall(r"\b\d\.\d{4}\b", text)) <= losses
    assert set(re.findall(r"(\d+) mistakes", text)) <= {str(10_000 - h[-1]["test_correct"]) for h in histories}


@pytest.mark.usefixtures("as_published")
def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert len(links) > 6
    assert all((ROOT / link).exists() for link in links)


@pytest.mark.usefixtures("as_published")
def test_readme_tells_how_the_steps_ended():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    history = read_evidence(1)["models"]["Model_3"]["runs"][0]["history"]
    above = [epoch["epoch"] for epoch in history if epoch["test_correct"] >= 9_940]
    assert above == list(range(5, 15))
    assert "Model_3 is above the line in epochs 5 to 14 and below it in epoch 15" in text
    for step, name, claim in ((2, "Model_6", "It holds 99.0 %."), (3, "Model_8", "holds 99.4 %")):
        assert all(run["met"] for run in read_evidence(step)["models"][name]["runs"])
        assert claim in text


def test_benchmark_adds_up():
    told = json.loads((ROOT / "results" / "benchmark.json").read_text())
    totals = {loop: sum(told[loop]["epochs"]) for loop in ("ours", "published")}
    assert told["ratio"] == pytest.approx(totals["published"] / totals["ours"], abs=0.01)
    for loop, total in totals.items():
        assert len(told[loop]["epochs"]) == RECIPE.epochs
        assert told[loop]["total_seconds"] == pytest.approx(total, abs=0.6)


def test_step_3_has_the_recipes_of_the_studies():
    for name, recipe in (("Model_8", RECIPE), ("Model_9", MILD)):
        assert read_evidence(3)["models"][name]["recipe"] == asdict(recipe)
