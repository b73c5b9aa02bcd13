"""The target, and the evidence files: gathered, written whole, read and asked."""

import json
import math
from dataclasses import replace

import pytest

from src.evidence import (
    Target,
    accuracy,
    counted,
    finals,
    lowest,
    named,
    percent,
    read_step,
    read_study,
    seeds_met,
    write_evidence,
)
from src.recipe import Recipe
from tests.helpers import HELD, LOST, history, run, step, study


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
    content = step(*runs, threads=2, torch="2")
    assert content["target"] == Target()
    entry = content["models"]["Model_7"]
    assert entry["parameters"] == 7_974
    assert (entry["receptive_field"], entry["receptive_field_before_average"]) == (32, 22)
    assert entry["recipe"] == Recipe(rotation=5.0)
    assert [(r["seed"], r["met"], r.get("environment")) for r in entry["runs"]] == [
        (0, True, {"threads": 1}),  # only what differs
        (1, False, None),
    ]
    path = write_evidence(content, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["Step3.json"]
    assert read_step(3, tmp_path) == content
    assert sum('"epoch":' in line for line in path.read_text().splitlines()) == 14  # an epoch a line


def test_a_write_that_fails_loses_nothing(tmp_path):
    content = step(run(*HELD))
    path = write_evidence(content, tmp_path)
    before = path.read_text()
    with pytest.raises(TypeError, match="should be called on dataclass instances"):
        write_evidence(content | {"environment": {1, 2}}, tmp_path)
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
        step(run(*HELD), other)


def test_files_that_are_no_evidence(tmp_path):
    (tmp_path / "Step1.json").write_text('{"schema": 1, "step"')
    with pytest.raises(ValueError, match=r"Step1.json is missing or not JSON: restore or delete it, or run note"):
        read_step(1, tmp_path)
    (tmp_path / "Step2.json").write_text(json.dumps({"schema": 2, "step": 1}))
    (tmp_path / "Step3.json").write_text("[]")
    for number in (2, 3):
        with pytest.raises(ValueError, match=rf"Step{number}.json is not the evidence of step {number}, schema 2"):
            read_step(number, tmp_path)


def test_a_number_that_is_none_is_refused(tmp_path):
    broken = run(*HELD)
    broken.history[-1]["eval_loss"] = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evidence(step(broken), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_recipe_with_fields_that_are_younger_than_the_evidence(tmp_path):
    path = write_evidence(study(Model_7=[HELD]), tmp_path)
    written = json.loads(path.read_text())
    del written["models"]["Model_7"]["recipe"]["ema"]
    path.write_text(json.dumps(written))
    assert read_study("record", tmp_path)["models"]["Model_7"]["recipe"] == Recipe(rotation=5.0)


@pytest.mark.parametrize(
    ("seeds", "name"), [([3], "seed 3"), ([0, 1], "seeds 0, 1"), ([2, 0, 1], "seeds 0-2"), ([0, 2, 5], "seeds 0, 2, 5")]
)
def test_seeds_are_named(seeds, name):
    assert named(seeds) == name


def test_numbers_of_an_entry():
    content = study(Model_7=[HELD, LOST])
    entry, target = content["models"]["Model_7"], content["target"]
    assert finals(entry) == {0: 99.51, 1: 99.31}
    assert counted(entry, target)[1] == [99.4, 99.4, 99.5, 99.45, 99.31]
    assert lowest(entry, target) == 99.31
    assert seeds_met(entry) == 1


def test_accuracy_and_percent():
    epoch = {"train_correct": 1, "train_total": 3, "eval_correct": 199, "eval_total": 200}
    assert accuracy(epoch) == 99.5
    assert accuracy(epoch, "train") == pytest.approx(100 / 3)
    assert percent(99.4) == "99.40 %"
