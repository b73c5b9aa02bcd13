"""Evidence: the target, and files that are written whole, read and computed with."""

import json
import math
from dataclasses import replace

import pytest

from src.evidence.schema import Arm, Evidence, Score, Target, read_evidence, seeds_text, write_evidence
from tests.helpers import EVERYTHING, HELD, LOST, arm, evidence, run


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


def test_what_is_written_comes_back(tmp_path):
    runs = [
        run(*HELD, threads=1, torch="2"),
        replace(run(*LOST, seed=1, threads=2, torch="2"), train_score=Score(0.1, 9, 10)),
    ]
    more = run(*HELD, seed=2, threads=2, torch="2")
    before = Evidence(
        "study",
        {"Model_7": replace(arm(*runs, more), fingerprint=(0.5, 2e-9)), "all": Arm("Model_8_ReLU", EVERYTHING)},
        seeds=(0, 1, 2),
        target=Target(last_epochs=3),
        question="Which?",
        chosen="all",
    )
    path = write_evidence(before, tmp_path / "study.json")
    assert read_evidence(path) == before
    written = json.loads(path.read_text())
    assert written["environment"] == {"threads": 2, "torch": "2"}
    assert [r.get("environment") for r in written["arms"]["Model_7"]["runs"]] == [{"threads": 1}, None, None]
    # Only what is not the default, so that a younger field leaves old evidence what it is.
    assert written["arms"]["Model_7"]["recipe"] == {"rotation": 5.0}
    assert sum('"epoch":' in line for line in path.read_text().splitlines()) == 21  # an epoch a line
    assert [p.name for p in tmp_path.iterdir()] == ["study.json"]


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
    assert not replace(declared, arms={}).complete


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"split": "train"}, "split must be one of test, validation, got 'train'"),
        ({"chosen": "other"}, "chosen must be one of the arms Model_7, got 'other'"),
        (
            {"arms": {"Model_7": arm(run(*HELD), run(*HELD))}},
            r"Model_7 has a seed twice in \[0, 0\]: run its cell again",
        ),
    ],
)
def test_evidence_that_contradicts_itself(change, says):
    with pytest.raises(ValueError, match=says):
        replace(evidence(Model_7=[HELD]), **change)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"schema": 3', r"Step1.json is missing or not JSON: restore it, or run notebooks/Step1.ipynb"),
        ("[]", r"Step1.json is not evidence of schema 3: restore it"),
        ('{"schema": 2}', r"Step1.json is not evidence of schema 3"),
        ('{"schema": 3}', r"Step1.json cannot be read by today's code"),
        (
            '{"schema": 3, "split": "test", "seeds": [0], "target": {}, "arms": {"a": {"network": "X", "recipe": {}}}}',
            "X is no network of src/model.py",
        ),
        (
            '{"schema": 3, "split": "test", "seeds": [], "target": {}, '
            '"arms": {"a": {"network": "Model_8", "recipe": {"fall": 0.4}}}}',
            "unexpected keyword argument 'fall'",
        ),
    ],
)
def test_files_that_are_no_evidence(tmp_path, content, says):
    (tmp_path / "Step1.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        read_evidence(tmp_path / "Step1.json")


def test_a_number_that_is_none_is_refused_and_nothing_lost(tmp_path):
    path = write_evidence(evidence(Model_7=[HELD]), tmp_path / "a.json")
    before = path.read_bytes()
    broken = run(*HELD)
    history = (*broken.history[:-1], broken.history[-1]._replace(eval_loss=math.nan))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evidence(replace(evidence(), arms={"a": arm(replace(broken, history=history))}, seeds=(0,)), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("seeds", "name"), [([3], "seed 3"), ([0, 1], "seeds 0, 1"), ([2, 0, 1], "seeds 0-2"), ([0, 2, 5], "seeds 0, 2, 5")]
)
def test_seeds_are_named(seeds, name):
    assert seeds_text(seeds) == name
