"""Records: which arm leads a category, and what a new one needs."""

import subprocess
from dataclasses import replace

import pytest

from src import ROOT
from src.evidence.schema import read_named, write_evidence
from src.learn.recipe import Recipe
from src.studies import leaderboard
from tests.helpers import HELD, arm, changed, evidence, run


def entry(finals):
    """An arm of two epochs whose runs end with so many images of 10,000."""
    runs = (run(9_900, correct, seed=seed) for seed, correct in enumerate(finals))
    return leaderboard.Entry("study", "arm", "Ada", arm(*runs, network="Model_8_Widths(8, 8, 10, 10, 9)"))


def test_the_best_mean_leads_where_seeds_are_enough():
    few, many = entry([9_960] * 4 + [9_961]), entry([9_950] * 9 + [9_951])
    assert leaderboard.best([few, many], 4000, 15) is many
    assert leaderboard.best([few], 4000, 15) is few
    assert leaderboard.best([few, many], 2000, 15) is None
    assert leaderboard.best([few, many], 4000, 1) is None


def test_a_record_must_be_clearly_higher():
    old = entry([9_950, 9_952] * 5)
    (clearly, *_), (hardly, *_) = (
        [line for line in leaderboard.verdicts(entry(finals), [old]) if line.startswith("4,000")]
        for finals in ([9_956, 9_958] * 5, [9_950, 9_952] * 4 + [9_952] * 2)
    )
    assert ": a record," in clearly
    assert ": no record," in hardly


def test_few_seeds_make_no_record_and_an_empty_category_takes_the_first():
    assert all("no record, 3 seeds" in line for line in leaderboard.verdicts(entry([9_999] * 3), []))
    assert all("the first record" in line for line in leaderboard.verdicts(entry([9_950, 9_951] * 5), []))


CONFIRMED = ("model_8_confirmation", "model_9_confirmation", "three_epochs_confirmation", "one_epoch")


@pytest.mark.parametrize("name", CONFIRMED)
def test_what_is_claimed_was_declared_before_it_ran(name):
    """The commit at which each run was trained holds the study, with these seeds and without runs."""
    if changed("results/studies"):
        pytest.skip("a study was repeated here: its runs are not those that were declared")
    study = read_named(name)
    commit = next(iter(study.arms.values())).runs[0].environment.git_commit
    if subprocess.run(["git", "cat-file", "-e", commit], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("the history is not here")
    assert leaderboard.refused(study) is None
    assert "was trained at commit" in leaderboard.refused(replace(study, seeds=(*study.seeds, 90)))


def test_studies_that_break_a_rule_are_refused():
    study = read_named("one_epoch")
    (name, arm), *_ = study.arms.items()
    large = replace(study, arms={name: replace(arm, network="Model_8_Widths(20, 20, 20, 20, 20)")})
    assert "parameters, 1 epochs: too many" in leaderboard.refused(large)
    few = replace(study, seeds=(0, 1, 2), arms={name: replace(arm, runs=arm.runs[:0])})
    assert "3 seeds are fewer than 10" in leaderboard.refused(few)
    other = replace(arm, recipe=replace(arm.recipe, ema_decay=0.99))
    if subprocess.run(["git", "cat-file", "-e", arm.runs[0].environment.git_commit], cwd=ROOT).returncode == 0:
        assert "does not declare" in leaderboard.refused(replace(study, arms={name: other}))


def test_a_declared_study_is_judged_before_it_runs():
    study = read_named("one_epoch")
    (name, arm), *_ = study.arms.items()
    assert leaderboard.refused(replace(study, arms={name: replace(arm, runs=())})) is None


def said(path, monkeypatch):
    """Return the sentence that the program ends with for a file."""
    monkeypatch.setattr("sys.argv", ["leaderboard", str(path)])
    with pytest.raises(SystemExit) as raised:
        leaderboard.main()
    assert len(str(raised.value.code).splitlines()) == 1
    return raised.value.code


def test_what_cannot_be_checked_is_said(tmp_path, data, monkeypatch):
    monkeypatch.setattr(leaderboard, "load_dataset", lambda: data)
    path = tmp_path / "yours.json"
    assert "yours.json: the file is missing" in said(path, monkeypatch)
    whole = evidence("yours", one=[HELD, HELD])
    write_evidence(replace(whole, split="validation"), path)
    assert "validation split" in said(path, monkeypatch)
    write_evidence(replace(whole, seeds=(0, 1, 2)), path)
    assert "yours lacks runs: run python -m src.studies.run" in said(path, monkeypatch)
    write_evidence(replace(whole, by="Ada"), path)
    assert "yours cannot be a record: 2 seeds are fewer than 10" in said(path, monkeypatch)


def test_a_study_of_other_code_is_refused(tmp_path, data, monkeypatch):
    monkeypatch.setattr(leaderboard, "load_dataset", lambda: data)
    whole = evidence("yours", one=[[9_950], [9_951]])
    other = replace(whole.arms["one"], fingerprint=(2.0, 2.0, 0.01, 0.0))
    path = write_evidence(replace(whole, arms={"one": other}), tmp_path / "yours.json")
    assert "one was not made by this code: " in said(path, monkeypatch)


def test_a_study_that_can_never_be_trained_ends_in_a_sentence(tmp_path, data, monkeypatch):
    monkeypatch.setattr(leaderboard, "load_dataset", lambda: data)
    whole = evidence("yours", one=[HELD, HELD])
    hopeless = replace(whole.arms["one"], network="Model_4", recipe=Recipe(epochs=7, lr=1e30))
    path = write_evidence(replace(whole, arms={"one": hopeless}), tmp_path / "yours.json")
    assert "lower lr" in said(path, monkeypatch)
