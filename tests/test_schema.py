"""Evidence: the target, and files that are written whole, read, refused and computed with."""

import json
import math
from dataclasses import asdict, replace

import pytest

from src.evidence.schema import (
    SCHEMA,
    Arm,
    Choices,
    Evidence,
    Score,
    Search,
    Target,
    read_evidence,
    seeds_text,
    write_evidence,
)
from tests.helpers import EVERYTHING, HELD, LOST, arm, evidence, run

# ---------------------------------------------------------------- what is asked and what came of it


def test_target_asks_for_each_of_the_last_epochs():
    target = Target()
    assert target.met_by(run(*HELD), 7_999)
    assert not target.met_by(run(*HELD), 8_000)
    assert not target.met_by(run(*HELD[:3], 9_939, *HELD[4:]), 7_000)
    assert target.met_by(run(9_000, 9_939, *HELD[2:]), 7_000)  # before the last five nothing counts
    assert not target.met_by(run(9_950, 9_950, 9_950, 9_950), 7_000)  # five were never shown
    assert not target.met_by(run(*[9_950] * 16), 7_000)  # one epoch too many
    assert Target(max_parameters=None).met_by(run(*HELD), 10**9)
    assert Target(last_epochs=4).met_by(run(9_950, 9_950, 9_950, 9_950), 7_000)  # one changed line


def test_the_default_target_stays():
    """Files say only what differs from it: another default would change what every old file asked for."""
    assert asdict(Target()) == {"accuracy": 0.994, "last_epochs": 5, "max_epochs": 15, "max_parameters": 7999}


def test_what_follows_from_the_history_is_computed():
    one, target = arm(run(*HELD), run(*LOST, seed=1)), Target()
    assert (one.parameters, one.receptive_field) == (7_974, (32, 22))
    assert one.finals == {0: 99.51, 1: 99.31}
    assert one.counted(target)[1] == [99.4, 99.4, 99.5, 99.45, 99.31]
    assert (one.lowest(target), one.holding(target)) == (99.31, 1)


def test_a_study_without_runs_is_a_declaration():
    declared = evidence(Model_7=[HELD, HELD])
    assert declared.complete
    assert not replace(declared, seeds=(0, 1, 2)).complete
    assert not replace(declared, arms={"Model_7": arm()}).complete
    with pytest.raises(ValueError, match="arms"):
        replace(declared, arms={})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"split": "train"}, "split .*'test' or 'validation', got 'train'"),
        ({"chosen": "other"}, "chosen must be one of the arms Model_7, got 'other'"),
        ({"seeds": (1, 2)}, r"arms.Model_7 .*\[0\].* seeds"),
    ],
)
def test_evidence_that_contradicts_itself(change, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        replace(evidence(Model_7=[HELD]), **change)


def test_an_arm_has_a_seed_once():
    with pytest.raises(ValueError, match=r"seed 0 .*leave one out"):
        arm(run(*HELD), run(*HELD))


@pytest.mark.parametrize(
    ("seeds", "name"), [([3], "seed 3"), ([0, 1], "seeds 0, 1"), ([2, 0, 1], "seeds 0-2"), ([0, 2, 5], "seeds 0, 2, 5")]
)
def test_seeds_are_named(seeds, name):
    assert seeds_text(seeds) == name


# ---------------------------------------------------------------- files


def test_what_is_written_comes_back(tmp_path):
    runs = [
        run(*HELD, threads=1, torch="2.9.0"),
        replace(run(*LOST, seed=1, threads=2, torch="2.9.0"), train_score=Score(0.1, 9, 10)),
    ]
    more = run(*HELD, seed=2, threads=2, torch="2.9.0")
    fingerprint = (0.5, 2e-9) * 11  # three numbers for each of seven epochs, and one
    before = Evidence(
        "study",
        {"Model_7": replace(arm(*runs, more), fingerprint=fingerprint), "all": Arm("Model_8_ReLU", EVERYTHING)},
        seeds=(0, 1, 2),
        split="validation",
        target=Target(last_epochs=3),
        question="Which?",
        chosen="all",
        by="Ada",
    )
    path = write_evidence(before, tmp_path / "study.json")
    assert read_evidence(path) == before
    written = json.loads(path.read_text())
    assert (written["environment"]["threads"], written["environment"]["torch"]) == (2, "2.9.0")
    assert [r.get("environment") for r in written["arms"]["Model_7"]["runs"]] == [{"threads": 1}, None, None]
    # Only what is not the default, so that a younger field leaves old evidence what it is.
    assert written["arms"]["Model_7"]["recipe"] == {"epochs": 7, "rotation": 5.0}
    assert written["target"] == {"last_epochs": 3}
    assert sum('"epoch":' in line for line in path.read_text().splitlines()) == 21  # an epoch a line
    assert [p.name for p in tmp_path.iterdir()] == ["study.json"]


def test_a_declared_search_comes_back(tmp_path):
    space = {"lr": (0.001, 0.1, "log"), "rotation": (0.0, 15.0), "deslant": Choices((True, False))}
    search = Search("Model_8", EVERYTHING, space, trials=20, sampler_seed=3)
    before = Evidence("space", {}, (100,), split="validation", search=search)
    assert read_evidence(write_evidence(before, tmp_path / "space.json")) == before


@pytest.fixture
def written(tmp_path):
    """Return a file of good evidence, whole."""
    return write_evidence(evidence(Model_7=[HELD, LOST]), tmp_path / "Step1.json")


def refusal(path):
    """Return the one sentence with which a file is refused."""
    with pytest.raises(ValueError, match=rf"^{path.name}\b.*correct or delete it$") as error:
        read_evidence(path)
    assert "\n" not in str(error.value)
    return str(error.value)


RUN = "arms", "Model_7", "runs", 0
FIRST = *RUN, "history", 0
GONE = object()


@pytest.mark.parametrize(
    ("place", "value", "field", "shown"),
    [
        ((*FIRST, "eval_correct"), 10_500, "history.0: eval_correct", "10500"),
        ((*FIRST, "train_correct"), 70_000, "history.0: train_correct", "70000"),
        ((*FIRST, "eval_correct"), -1, "history.0.eval_correct", "-1"),
        ((*FIRST, "eval_loss"), -5, "history.0.eval_loss", "-5"),
        ((*FIRST, "eval_loss"), math.nan, "history.0.eval_loss", "nan"),
        ((*FIRST, "train_loss"), math.inf, "history.0.train_loss", "inf"),
        ((*FIRST, "seconds"), -5, "history.0.seconds", "-5"),
        ((*FIRST, "lr"), 0.01, "history.0.lr", "leave it out"),
        ((*FIRST, "eval_total"), 0, "history.0.eval_total", "0"),
        ((*FIRST, "eval_total"), 9_999, "seed 0", "eval_total"),
        ((*FIRST, "epoch"), 2, "seed 0", "1, 2, 3"),
        ((*RUN, "history"), [], "runs.0.history", "[]"),
        ((*RUN, "train_score"), {"loss": 0.1, "correct": 11, "total": 10}, "train_score: correct", "11"),
        ((*RUN, "seed"), 7, "arms.Model_7", "[7]"),
        ((*RUN, "seed"), 1, "arms.Model_7: seed", "1"),
        (("environment", "torch"), "9.9.9", "environment.torch", "'9.9.9'"),
        (("environment", "git_commit"), GONE, "environment.git_commit", "missing"),
        (("seeds",), [0, 1, -1], "seeds.2", "-1"),
        (("seeds",), [0, 1, 0.5], "seeds.2", "0.5"),
        (("seeds",), [0, 1, True], "seeds.2", "True"),
        (("seeds",), [0, 1, 2**40], "seeds.2", str(2**40)),
        (("seeds",), [0, 1, "05"], "seeds.2", "'05'"),
        (("seeds",), [0, 1, "a"], "seeds.2", "'a'"),
        (("seeds",), [0, 1, 1], "seeds", "1 twice"),
        (("seeds",), [0], "arms.Model_7", "[1]"),
        (("seeds",), [], "seeds", "[]"),
        (("seeds",), GONE, "seeds", "missing"),
        (("target",), {"accuracy": "x"}, "target.accuracy", "'x'"),
        (("split",), "train", "split", "'train'"),
        (("dataset",), "CIFAR", "dataset", "'CIFAR'"),
        (("chosen",), "other", "chosen", "'other'"),
        (("arms",), {}, "arms", "at least one"),
        (("arms",), GONE, "arms", "missing"),
        (("arms", "Model_7", "network"), "Model_99", "arms.Model_7.network", "Model_99"),
        (("arms", "Model_7", "network"), "Model_8_Widths(1, 2)", "arms.Model_7.network", "Model_8_Widths(1, 2)"),
        (("arms", "Model_7", "network"), "Model_8_Widths(0)", "arms.Model_7.network", "Model_8_Widths(0)"),
        (("arms", "Model_7", "recipe", "fall"), 0.4, "arms.Model_7.recipe.fall", "leave it out"),
        (("arms", "Model_7", "recipe", "epochs"), 8, "arms.Model_7: seed 0", "8"),
        (("arms", "Model_7", "fingerprint"), [0.5], "arms.Model_7: fingerprint", "22 numbers, got 1"),
        (("schema",), 3, "schema 4", "evidence"),
    ],
)
def test_one_wrong_thing_in_a_file_is_named(written, place, value, field, shown):
    content = json.loads(written.read_text())
    *way, last = place
    inner = content
    for step in way:
        inner = inner[step]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    written.write_text(json.dumps(content))
    said = refusal(written)
    assert field in said
    assert shown in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('"arms":', '"arms": {}, "arms":'), "'arms'"),
        (lambda text: "[" * 100_000 + "]" * 100_000, "nested"),
        (lambda text: text[:-20], "JSON"),
        (lambda text: "", "JSON"),
        (lambda text: "[]", f"schema {SCHEMA}"),
        (lambda text: f'{{"schema": {SCHEMA}}}', "missing"),
    ],
    ids=["a name twice", "nested", "half", "empty", "a list", "nothing but a schema"],
)
def test_files_that_are_no_evidence(written, change, says):
    written.write_text(change(written.read_text()))
    assert says in refusal(written)
