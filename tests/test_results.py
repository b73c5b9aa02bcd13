"""The target, the evidence files and the sentences made from them, on histories worked out by hand."""

import json
from dataclasses import asdict, replace

import pytest

from src import results
from src.model import Model_7
from src.results import (
    Target,
    accuracy_interval,
    against_published,
    between,
    card_result,
    mean_over_seeds,
    paired_difference,
    pass_rate_interval,
    percent,
    readme_table,
    summary,
)  # fmt: skip
from src.runs import Run
from src.training import Recipe


def history(*correct):
    return [
        {
            "epoch": epoch, "lr": 0.01, "train_loss": 0.1, "train_correct": 59_000, "train_total": 60_000,
            "test_loss": 0.02, "test_correct": count, "test_total": 10_000, "seconds": 1.0,
        }
        for epoch, count in enumerate(correct, 1)
    ]  # fmt: skip


def run(*correct, seed=0, **environment):
    return Run(Model_7(), Recipe(rotation=5.0), seed, history(*correct), "c0de", environment, kept=False)


HELD = (9_000, 9_950, 9_940, 9_940, 9_950, 9_945, 9_951)


def test_target_asks_for_each_of_the_last_epochs():
    target = Target()
    assert target.met(history(*HELD), 7_999)
    assert not target.met(history(*HELD), 8_000)
    assert not target.met(history(*HELD[:3], 9_939, *HELD[4:]), 7_000)
    assert target.met(history(9_000, 9_939, *HELD[2:]), 7_000)  # before the last five nothing counts
    assert not target.met(history(9_950, 9_950, 9_950, 9_950), 7_000)  # five were never shown
    assert not target.met(history(*[9_950] * 16), 7_000)  # one epoch too many
    assert Target(max_parameters=None).met(history(*HELD), 10**9)


def test_evidence_keeps_the_schema(tmp_path):
    runs = [run(*HELD, threads=1, torch="2"), run(*HELD[:-1], 9_939, seed=1, threads=2, torch="2")]
    content = results.evidence({"step": 3}, Target(), {"Model_7": runs}, {"threads": 2, "torch": "2"})
    assert content["target"] == {"accuracy": 0.994, "last_epochs": 5, "max_epochs": 15, "max_parameters": 7999}
    entry = content["models"]["Model_7"]
    assert entry["parameters"] == 7_974
    assert (entry["receptive_field"], entry["receptive_field_before_average"]) == (32, 22)
    assert entry["recipe"] == asdict(Recipe(rotation=5.0))
    assert [(r["seed"], r["met"], r.get("environment")) for r in entry["runs"]] == [
        (0, True, {"threads": 1}),  # only what differs
        (1, False, None),
    ]
    path = results.write_evidence(content, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["Step3.json"]
    assert results.read_evidence(3, tmp_path) == content
    assert sum('"epoch":' in line for line in path.read_text().splitlines()) == 14  # an epoch a line


def test_a_write_that_fails_loses_nothing(tmp_path):
    content = results.evidence({"step": 3}, Target(), {"Model_7": [run(*HELD)]}, {})
    path = results.write_evidence(content, tmp_path)
    before = path.read_text()
    with pytest.raises(TypeError, match="not JSON serializable"):
        results.write_evidence(content | {"environment": {1, 2}}, tmp_path)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (run(*HELD), "Model_7 has seed 0 twice: run its cell again"),
        (replace(run(*HELD, seed=1), recipe=Recipe(lr=0.5)), "the runs of Model_7 differ in recipe or code"),
        (replace(run(*HELD, seed=1), code_sha256="other"), "the runs of Model_7 differ in recipe or code"),
    ],
)
def test_runs_that_do_not_belong_together(other, says):
    with pytest.raises(ValueError, match=says):
        results.evidence({"step": 3}, Target(), {"Model_7": [run(*HELD), other]}, {})


def test_files_that_are_no_evidence(tmp_path):
    (tmp_path / "Step1.json").write_text('{"schema": 1, "step"')
    with pytest.raises(ValueError, match=r"Step1.json is missing or not JSON: .* run notebooks/Step1.ipynb"):
        results.read_evidence(1, tmp_path)
    (tmp_path / "Step2.json").write_text(json.dumps({"schema": 1, "step": 1}))
    (tmp_path / "Step3.json").write_text("[]")
    for step in (2, 3):
        with pytest.raises(ValueError, match=rf"Step{step}.json is not the evidence of step {step}"):
            results.read_evidence(step, tmp_path)


def test_summary_of_one_and_of_several_seeds():
    target = asdict(Target())
    one = results.evidence({"step": 3}, Target(), {"Model_7": [run(*HELD)]}, {})["models"]["Model_7"]
    assert summary(one, target) == {
        "parameters": "7,974", "field": "22, then 32 by averaging", "final": "99.51 %", "lowest": "99.40 %",
        "met": "yes", "seeds": "seed 0",
    }  # fmt: skip
    runs = [run(*HELD, seed=0), run(*HELD[:-1], 9_931, seed=1), run(*HELD[:-1], 9_941, seed=2)]
    told = summary(results.evidence({"step": 3}, Target(), {"Model_7": runs}, {})["models"]["Model_7"], target)
    assert (told["final"], told["lowest"], told["met"]) == ("99.41 % ± 0.10", "99.31 %", "2 of 3 seeds")


@pytest.mark.parametrize(
    ("best", "verdict"),
    [(9_936, "within what chance explains (+0.14)"), (9_937, "outside what chance explains (+0.15)")],
)
def test_comparison_with_the_published_best_epoch(best, verdict):
    entry = results.evidence({"step": 3}, Target(), {"Model_7": [run(9_000, best, 9_100)]}, {})["models"]["Model_7"]
    assert against_published("Model_7", entry) == (
        f"best epoch {best / 100:.2f} % against 99.22 %, one run each: {verdict}"
    )
    assert against_published("Model_8", entry) is None


def test_card_and_table_say_the_same():
    content = results.evidence({"step": 3}, Target(), {"Model_7": [run(*HELD)]}, {})
    card, table = card_result(content), readme_table([content])
    assert card.startswith("- **Model_7**, 7,974 parameters")
    for text in ("7,974", "22, then 32 by averaging", "99.51 %", "99.40 %"):
        assert text in card
        assert text in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def study(name="record", **arms):
    runs = {arm: [run(*correct, seed=seed) for seed, correct in enumerate(seeds)] for arm, seeds in arms.items()}
    return results.evidence({"study": name}, Target(), runs, {})


LOST = (*HELD[:-1], 9_931)


def test_a_study_is_told_with_its_intervals(tmp_path):
    content = study(Model_7=[HELD, HELD, LOST, (*HELD[:-1], 9_941)])
    assert results.read_study("record", results.write_evidence(content, tmp_path).parent) == content
    told = results.over_seeds(content["models"]["Model_7"], content["target"])
    assert (told["epochs"], told["seeds"], told["lowest"]) == ("7", "seeds 0-3", "99.31 %")
    # 99.51 twice, 99.31 and 99.41: mean 99.435, sd 0.0957; t(3) = 3.182 times sd / 2 on both sides.
    assert (told["mean"], told["sd"], told["interval"]) == ("99.435 %", "0.096", "99.283 to 99.587 %")
    assert (told["met"], told["rate"]) == ("3 of 4 seeds", "19 to 99 %")
    for text in (results.claim(content), results.card_studies([content]), results.studies_table([content])):
        for part in ("99.435 %", "99.283 to 99.587 %", "99.31 %", "3 of 4 seeds"):
            assert part in text
        assert "99.4 % in each of the last 5 epochs" in text
    assert len({line.count("|") for line in results.studies_table([content]).splitlines()}) == 1


def test_differences_are_paired_by_seed():
    whole = [HELD, (*HELD[:-1], 9_941)]
    content = study("ablation", whole=whole, less=[(*HELD[:-1], 9_931), (*HELD[:-1], 9_923)])
    ((arm, difference),) = results.differences(content).items()
    assert arm == "less"
    assert difference.mean == pytest.approx(-0.19)  # 0.20 and 0.18 points fewer
    assert difference.sd == pytest.approx(0.02 / 2**0.5)


@pytest.mark.parametrize(
    ("seeds", "name"), [([3], "seed 3"), ([0, 1], "seeds 0, 1"), ([2, 0, 1], "seeds 0-2"), ([0, 2, 5], "seeds 0, 2, 5")]
)
def test_seeds_are_named(seeds, name):
    assert results.named(seeds) == name


def test_percent():
    assert percent(9_940) == "99.40 %"
    assert percent(199, 200) == "99.50 %"


def test_between():
    text = "a\n<!-- table -->\nold\n<!-- /table -->\nb"
    assert between(text, "table", r"new \1") == "a\n<!-- table -->\nnew \\1\n<!-- /table -->\nb"
    with pytest.raises(ValueError, match="no <!-- result -->"):
        between(text, "result", "new")


def test_one_place_names_the_repository():
    bootstrap = json.dumps({"source": ['REPOSITORY = "https://github.com/old-name/old.git"']})
    text = "https://colab.research.google.com/github/old-name/old/blob/main/x https://github.com/else/cifar/blob/main/y"
    renamed = results.with_repository(text, bootstrap)
    assert renamed == text.replace("old-name/old", results.repository())
    assert "else/cifar" in renamed


# ---------------------------------------------------------------- statistics


def test_accuracy_interval_against_wilsons_formula():
    """Worked out from Wilson (1927) with z = 1.96: 99.40 % of 10,000 images lies between 99.23 % and 99.53 %."""
    assert accuracy_interval(9_940, 10_000) == pytest.approx((0.99229, 0.99533), abs=1e-5)
    low, high = accuracy_interval(10, 10)
    assert (low, high) == (pytest.approx(10 / (10 + 1.959964**2), abs=1e-6), 1.0)


def test_pass_rate_interval_in_the_cases_that_have_a_closed_form():
    """When all or none of n pass, Clopper and Pearson's bound is the rate r with r^n (or (1 - r)^n) = 0.025."""
    assert pass_rate_interval(30, 30) == (pytest.approx(0.025 ** (1 / 30)), 1.0)
    assert pass_rate_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_paired_difference_on_students_own_data():
    """Student (1908), hours of extra sleep under two drugs, ten patients: 1.58, 95 % interval 0.7001 to 2.4599."""
    first = dict(enumerate((0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)))
    second = dict(enumerate((1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)))
    difference = paired_difference(second, first)
    assert difference.mean == pytest.approx(1.58)
    assert difference.sd == pytest.approx(1.229995, abs=1e-6)
    assert (difference.low, difference.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert paired_difference(second | {99: 100.0}, first) == difference  # a seed that only one of them has


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="an interval needs at least 2 seeds, got 1"):
        mean_over_seeds([99.5])
