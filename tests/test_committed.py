"""What is committed fits together: evidence and code, notebooks and evidence, words and evidence."""

import ast
import itertools
import json
import math
import re
import statistics
import subprocess
from dataclasses import asdict

import pytest
from safetensors import safe_open

from src import model as models
from src import published, reader, report
from src.benchmark import OUR_RUNS, PUBLISHED_EPOCHS
from src.data import load_mnist
from src.evidence import STEPS, Target, accuracy, finals, lowest, path_of, percent, read_step, read_study, seeds_met
from src.files import ROOT
from src.identity import code_sha256
from src.intervals import CHANCE, differences_to_first, mean_over_seeds, paired_difference
from src.receptive_field import receptive_field
from src.recipe import Recipe
from src.studies import QUICK, RECIPE, SMALL, STUDIES
from src.training import predict
from tests.helpers import assert_clean, code, models_of, printed, read, source

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
    return read_step(step)


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
        pytest.skip("results/ is new here: `python -m src.report` brings README and cards in line")


# ---------------------------------------------------------------- evidence against code


def test_evidence_is_of_this_code(content, step):
    for name, entry in content["models"].items():
        assert entry["code_sha256"] == code_sha256(getattr(models, name)), (
            f"{name} in results/Step{step}.json was trained by other code: run notebooks/Step{step}.ipynb"
        )


def test_evidence_is_complete(content, notebook):
    assert content["split"] == "test"
    assert list(content["models"]) == models_of(notebook)
    for name, entry in content["models"].items():
        model = getattr(models, name)()
        assert entry["parameters"] == sum(p.numel() for p in model.parameters())
        assert (entry["receptive_field"], entry["receptive_field_before_average"]) == receptive_field(model)
        assert len({run["seed"] for run in entry["runs"]}) == len(entry["runs"]) >= 1
        check_runs(entry, content["target"], epochs=15)


def check_runs(entry, target, epochs, images=60_000):
    for run in entry["runs"]:
        assert [epoch["epoch"] for epoch in run["history"]] == list(range(1, epochs + 1))
        assert {(epoch["train_total"], epoch["eval_total"]) for epoch in run["history"]} == {(images, 10_000)}
        assert all(math.isfinite(value) for epoch in run["history"] for value in epoch.values())
        assert run["met"] == target.met(run["history"], entry["parameters"])
        assert "data_sha256" not in run.get("environment", {})


def test_evidence_is_of_mnist(real_root):
    """The hash is of the tensors that src/data.py makes of MNIST's files today."""
    expected = {
        split: load_mnist(real_root, split=split).sha256 for split in {s.split for s in STUDIES.values()} | {"test"}
    }
    for content in [read_step(step) for step in STEPS] + list(present_studies()):
        assert content["environment"]["data_sha256"] == expected[content["split"]]


def test_published_models_had_the_published_recipe(content):
    for name, entry in content["models"].items():
        if name in published.rebuilt():
            assert entry["recipe"] == Recipe(
                epochs=15, batch_size=128, optimizer="sgd", lr=0.01, momentum=0.9, rotation=ROTATION[name]
            )


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


def test_targets_are_those_of_the_notebooks(content, notebook):
    ((stated, _),) = calls(notebook, "Target")
    assert content["target"] == Target(**stated)


def test_recipes_are_those_of_the_notebooks(content, notebook):
    stated = {}
    for values, cell in calls(notebook, "Recipe"):
        if trained := re.search(r"fit_seeds\((\w+), recipe,", cell):
            stated[trained[1]] = Recipe(**values)
    assert stated == {name: entry["recipe"] for name, entry in content["models"].items()}


def test_only_the_last_step_asks_for_everything():
    assert read_step(3)["target"] == Target(accuracy=0.994, last_epochs=5, max_epochs=15, max_parameters=7999)


def has_evidence(study):
    return path_of({"study": study}, ROOT / "results").exists()


def present_studies():
    return map(read_study, filter(has_evidence, STUDIES))


def studies_in(cells):
    """Name the studies that the calls in a notebook's cells show."""
    calls = re.findall(r"^show_(seeds|changes|frontier)\((.*?)\)$", cells, re.MULTILINE | re.DOTALL)
    return [study for kind, names in calls for study in re.findall(r'"(\w+)"', names) or [kind]]


@pytest.fixture(params=STUDIES)
def study(request):
    if not has_evidence(request.param):
        pytest.skip(f"declared, but not carried out: run python -m src.run_study {request.param}")
    return request.param


def test_studies_are_of_this_code_and_as_declared(study):
    content, declared = read_study(study), STUDIES[study]
    assert (content["target"], content["split"]) == (declared.target, declared.split)
    assert list(content["models"]) == list(declared.arms)
    for arm, entry in content["models"].items():
        model, recipe = declared.arms[arm]
        assert (entry["model"], entry["recipe"]) == (model.__name__, recipe)
        assert entry["code_sha256"] == code_sha256(model), f"{arm}: run python -m src.run_study {study}"
        assert entry["parameters"] == sum(p.numel() for p in model().parameters())
        assert [run["seed"] for run in entry["runs"]] == list(declared.seeds)
        check_runs(entry, declared.target, recipe.epochs, images=60_000 if declared.split == "test" else 50_000)


def test_one_run_has_one_history():
    """What was trained twice, or is told in several files, is the same to the last image: training promises it."""
    seen = {}
    for content in [*present_studies(), *(read_step(step) for step in STEPS)]:
        for entry in content["models"].values():
            for run in entry["runs"]:
                made_with = content["environment"] | run.get("environment", {}) | {"git_commit": ""}
                facts = [entry["code_sha256"], asdict(entry["recipe"]), run["seed"], made_with]
                key = json.dumps(facts, sort_keys=True)
                history = [epoch | {"seconds": 0} for epoch in run["history"]]
                assert seen.setdefault(key, history) == history


def test_seeds_of_the_studies_took_no_part_in_the_choice():
    """What chooses sees the validation split, with seeds from 100 on; what claims has seeds below."""
    for name, study in STUDIES.items():
        assert (study.split == "validation") == bool(study.question) == name.startswith("choose_")
        assert (max(study.seeds) < 100) if study.split == "test" else (min(study.seeds) >= 100)
        assert not study.chosen or study.chosen in study.arms


# ---------------------------------------------------------------- words against evidence


@pytest.mark.usefixtures("as_published")
def test_readme_and_cards_are_made_from_the_evidence():
    for path, text in report.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run `python -m src.report`"


@pytest.mark.usefixtures("as_published")
def test_committed_notebooks_show_this_evidence(content, notebook, step):
    assert_clean(notebook)
    shown = printed(notebook)
    assert "This run is the evidence in results/" in shown
    assert f"Written: results/Step{step}.json" in shown
    assert "-dirty" not in shown, f"execute notebooks/Step{step}.ipynb again, on committed code"
    for line in report.step_lines(content):
        assert line in shown
    for entry in content["models"].values():
        for epoch in entry["runs"][0]["history"]:
            assert percent(accuracy(epoch, "train")) in shown
            assert percent(accuracy(epoch)) in shown
    pictures = sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell["outputs"])
    cells = "\n".join(map(source, code(notebook)))
    drawing = re.findall(r"^(?:show_(?!layers|summary)|read_)\w+\(.*", cells, re.MULTILINE)
    assert pictures == sum(not studies_in(call) or any(map(has_evidence, studies_in(call))) for call in drawing)


def interval(gap):
    """Write the 95 % interval of a difference as the cards do."""
    return f"{gap.low:.3f} to {gap.high:.3f}"


# What cards compare two arms by, and with how many digits.
MEASURES = {
    "final epoch": (lambda history: accuracy(history[-1]), 2),
    "mean of the last five": (lambda history: statistics.mean(map(accuracy, history[-5:])), 2),
    "lowest of the last five": (lambda history: min(map(accuracy, history[-5:])), 2),
    "final test loss": (lambda history: history[-1]["eval_loss"], 3),
}


@pytest.mark.usefixtures("as_published")
def test_numbers_of_the_analysis(notebook, step):
    """Each percentage is one of the evidence or of the write-ups; "points" lie between final epochs or the target."""
    entries = {name: entry for k in STEPS[:step] for name, entry in read_step(k)["models"].items()}
    histories = [run["history"] for entry in entries.values() for run in entry["runs"]]
    known = {percent(accuracy(e, part)) for h in histories for e in h for part in ("train", "eval")}
    known |= {percent(value) for value in published.rebuilt().values()} | {"99.4 %", "99.40 %", "99.0 %", "99.00 %"}
    known.add(percent(max(run.best for run in published.runs() if run.keeps_to_the_assignment)))
    ends = [accuracy(h[-1]) for h in histories]
    differences = {f"{abs(a - b):.2f}" for a, b in itertools.combinations([*ends, 99.4], 2)}
    shown = studies_in("\n".join(map(source, code(notebook))))
    held, intervals = set(), set()
    for study in present_studies():
        if study["study"] in shown:
            entries = study["models"].values()
            known |= {f"{report.mean_text(entry)[0]} %" for entry in entries}
            known |= {percent(lowest(entry, study["target"])) for entry in entries}
            held |= {(seeds_met(entry), len(entry["runs"])) for entry in entries}
            for measure, digits in MEASURES.values():
                by_arm = [{run["seed"]: measure(run["history"]) for run in entry["runs"]} for entry in entries]
                for gap in (paired_difference(b, a) for a, b in itertools.permutations(by_arm, 2)):
                    differences.add(f"{gap.mean:.{digits}f}")
                    intervals.add(interval(gap))

    text = source(notebook["cells"][1]).split("## Analysis")[1]
    percentages = re.findall(r"\d+\.\d+ %", text)
    assert len(percentages) >= 3
    assert set(percentages) <= known
    assert set(re.findall(r"(\d+\.\d+) points", text)) <= differences
    assert set(re.findall(r"\d\.\d{3} lower", text)) <= {f"{points} lower" for points in differences}
    assert set(re.findall(r"-?\d\.\d{3} to -?\d\.\d{3}", text)) <= intervals
    losses = {f"{e[f'{part}_loss']:.4f}" for h in histories for e in h for part in ("train", "eval")}
    assert set(re.findall(r"\b\d\.\d{4}\b", text)) <= losses
    assert set(re.findall(r"(\d+) mistakes", text)) <= {str(10_000 - h[-1]["eval_correct"]) for h in histories}
    assert {(int(met), int(of)) for met, of in re.findall(r"(\d+) of (\d+) seeds", text)} <= held


@pytest.mark.usefixtures("as_published")
def test_the_recipe_before_is_the_same_until_augmentation_is_reduced():
    """Step 3 tells by how much they differ in the end."""
    (now,), (before,) = (read_study(name)["models"].values() for name in ("record", "record_before"))
    for a, b in zip(now["runs"], before["runs"], strict=True):
        counts = [[epoch["eval_correct"] for epoch in run["history"][:6]] for run in (a, b)]
        assert a["seed"] == b["seed"]
        assert counts[0] == counts[1]
    gap = paired_difference(finals(now), finals(before))
    told = f"ends {gap.mean:.2f} points lower ({interval(gap)})"
    cells = read(ROOT / "notebooks" / "Step3.ipynb")["cells"]
    assert any(told in " ".join(source(cell).split()) for cell in cells)


@pytest.mark.usefixtures("as_published")
def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    by_hand = re.sub(r"<!-- (\w+) -->\n.*?\n<!-- /\1 -->", "", text, flags=re.DOTALL)
    assert len(by_hand.split()) <= 1500
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert len(links) > 6
    assert all((ROOT / link).exists() for link in links)


@pytest.mark.usefixtures("as_published")
def test_readme_tells_how_the_steps_ended():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    history = read_step(1)["models"]["Model_3"]["runs"][0]["history"]
    above = [epoch["epoch"] for epoch in history if epoch["eval_correct"] >= 9_940]
    assert above == list(range(5, 16))
    assert "Model_3, with BatchNorm and 1,970,730 parameters, is at 99.4 % or above from epoch 5 on" in text
    ((entry,),) = [read_study("record")["models"].values()]
    assert seeds_met(entry) == len(entry["runs"]) == 30
    assert "Model_8 holds 99.4 % with 30 of 30 seeds" in text
    told = [run for run in published.runs() if run.keeps_to_the_assignment]
    holding = [run for run in told if all(accuracy >= 99.4 for accuracy in run.accuracies[-5:])]
    assert f"Of {len(told)} public runs that keep to this assignment" in text
    assert f"{len(holding)} held 99.4 % in their last five epochs" in text
    assert f"the best epoch among them is {max(run.best for run in told):.2f} %" in text
    for step, name in ((2, "Model_6"), (3, "Model_8")):
        assert all(run["met"] for run in read_step(step)["models"][name]["runs"])
    entry = read_study("published")["models"]["Model_6"]
    assert f"Model_6 holds 99.0 % with {seeds_met(entry)} of {len(entry['runs'])} seeds, not 99.4 %." in text
    entry = read_study("stall")["models"]["that recipe, no dropout"]
    assert f"without its dropout, holds with {seeds_met(entry)} of {len(entry['runs'])} seeds" in text


@pytest.mark.usefixtures("as_published")
def test_readme_tells_what_fresh_seeds_say():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for name, says in (
        ("record_again", "Model_8 holds with"),
        ("smallest_again", "Model_9 with"),
        ("fewest_epochs_again", "three epochs reach 99.4 % with"),
    ):
        ((entry,),) = [read_study(name)["models"].values()]
        assert f"{says} {seeds_met(entry)} of {len(entry['runs'])} ({report.mean_text(entry)[0]} %)" in text


@pytest.mark.usefixtures("as_published")
def test_what_was_missed_is_told_with_what_was_reached():
    ratio = json.loads((ROOT / "results" / "benchmark.json").read_text())["ratio"]
    thirty, quick, smallest, frontier = (
        read_study(name)["models"] for name in ("record", "fewest_epochs", "smallest", "frontier")
    )
    (fresh,) = read_study("record_again")["models"].values()
    told = (ROOT / "results" / "search.md").read_text(encoding="utf-8")
    for reached in (
        f"| {report.mean_text(thirty['Model_8'])[0]} %; with thirty fresh seeds {report.mean_text(fresh)[0]} % |",
        f"| {seeds_met(quick['Model_8, 2 epochs'])} of 20, and 16 of 20 by an earlier recipe |",
        f"| {seeds_met(smallest['2,976 parameters'])} of 10 with 2,976; ",
        f"; {seeds_met(smallest['Model_9'])} of 10 with 3,998 |",
        f"| a {ratio:.0f}th |",
        f"| {report.mean_text(frontier['689 parameters'])[0]} % with 689 |",
    ):
        assert reached in told


@pytest.mark.usefixtures("as_published")
def test_readme_tells_what_the_ingredients_are_worth():
    images, training = (read_study(f"ablation_{of}")["models"] for of in ("images", "training"))
    loss = {
        arm: gap
        for models_of_study in (images, training)
        for arm, gap in differences_to_first({a: finals(e) for a, e in models_of_study.items()}).items()
    }
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"Augmentation is worth {-loss['no augmentation'].mean:.2f} points" in text
    gap = paired_difference(finals(images["augmentation never reduced"]), finals(images["no augmentation"]))
    assert gap.low < 0 < gap.high
    gap = paired_difference(finals(images["sizes evened out, not straightened"]), finals(images["images as they come"]))
    assert gap.low > 0
    assert loss["sizes evened out, not straightened"].high > 0
    lower = -loss["SGD at 0.01, no weight decay"].mean
    assert f"(results/study_ablation_training.png), not tuned again, the mean is {lower:.2f} points lower" in text
    assert round(loss["no averaging of weights"].mean, 2) == 0
    network = read_study("ablation_network")["models"]
    changes = differences_to_first({arm: finals(entry) for arm, entry in network.items()}).values()
    assert all(gap.low < 0 < gap.high for gap in changes)
    without = training["no averaging of weights"]
    assert f"but only {seeds_met(without)} of {len(without['runs'])} seeds hold" in text


def test_ours_lie_above_every_public_run_but_those_that_readme_names():
    ours = [
        (entry["parameters"], statistics.mean(finals(entry).values()))
        for entry in read_study("frontier")["models"].values()
    ]
    public = [run for run in published.runs() if run.parameters < 8000]
    above = [run for run in public if all(run.best >= mean for size, mean in ours if size <= run.parameters)]
    assert {(run.parameters, run.epochs, run.best) for run in above} == {(697, None, 99.03), (7704, 20, 99.62)}


def test_chance_is_what_the_seeds_of_models_5_and_6_say():
    entries = read_study("published")["models"]
    of_one_seed = [mean_over_seeds([*finals(entries[name]).values()]).sd for name in ("Model_5", "Model_6")]
    assert round(1.96 * 2**0.5 * statistics.mean(of_one_seed), 1) == CHANCE


def test_benchmark_adds_up():
    told = json.loads((ROOT / "results" / "benchmark.json").read_text())
    assert (told["code_sha256"], Recipe(**told["recipe"])) == (code_sha256(models.Model_8), QUICK), (
        "the benchmark timed another loop than today's: run python -m src.benchmark on a quiet machine"
    )
    totals = {loop: sum(told[loop]["epochs"]) for loop in ("ours", "published")}
    assert told["ratio"] == pytest.approx(totals["published"] / totals["ours"], abs=0.01)
    assert [len(told[loop]["epochs"]) for loop in ("ours", "published")] == [QUICK.epochs, PUBLISHED_EPOCHS]
    for loop, total in totals.items():
        assert told[loop]["total_seconds"] == pytest.approx(total, abs=0.06)
        assert told[loop]["total_seconds"] == statistics.median(told[loop]["runs"])
    assert len(told["ours"]["runs"]) == OUR_RUNS


@pytest.mark.parametrize("name", ["Model_8", "Model_9"])
def test_the_weights_are_those_of_the_evidence(name):
    with safe_open(reader.path_of(name), framework="pt") as content:
        facts = content.metadata()
    entry = read_step(3)["models"][name]
    run, *_ = entry["runs"]
    assert facts["seed"] == str(run["seed"]) == "0"
    assert Recipe(**json.loads(facts["recipe"])) == entry["recipe"]
    assert facts["accuracy"] == f"{percent(accuracy(run['history'][-1]))} of 10,000 images after epoch 15"
    first, *_ = [*entry.get("readmitted", []), {"from_code_sha256": entry["code_sha256"]}]
    assert facts["code_sha256"] == first["from_code_sha256"]


@pytest.mark.parametrize("name", ["Model_8", "Model_9"])
def test_the_weights_score_what_the_evidence_says(name, real_root):
    """Another kind of processor rounds differently, and may judge an image or two otherwise."""
    data, (model, recipe) = load_mnist(real_root), reader.load(name)
    correct = (predict(model, data.eval_images, recipe).argmax(1) == data.eval_labels).sum().item()
    assert correct == pytest.approx(read_step(3)["models"][name]["runs"][0]["history"][-1]["eval_correct"], abs=3)


def test_step_3_has_the_recipes_of_the_studies():
    for name, recipe in (("Model_8", RECIPE), ("Model_9", SMALL)):
        assert read_step(3)["models"][name]["recipe"] == recipe
