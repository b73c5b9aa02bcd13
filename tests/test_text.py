"""The sentences and tables that are made from evidence, on histories worked out by hand."""

from dataclasses import replace

import pytest

from src.evidence.schema import Target
from src.report import __main__ as report
from src.report import text
from src.report.__main__ import filled
from tests.helpers import HELD, LOST, arm, evidence, run


def test_words_for_one_run_and_for_several():
    one, target = arm(run(*HELD)), Target()
    assert text.field_text(one.receptive_field) == "22, then 32 by averaging"
    assert text.field_text((None, None)) == "–"
    assert text.accuracy_text(one.finals.values()) == "99.51"
    three = arm(run(*HELD), run(*HELD[:-1], 9_931, seed=1), run(*HELD[:-1], 9_941, seed=2))
    assert text.accuracy_text(three.finals.values()) == "99.41 ± 0.10"
    assert text.held_text(three, target).split() == ["2", "of", "3"]


def test_card_and_tables_say_the_same():
    step = evidence("Step3", Model_7=[HELD])
    for made in (text.card_table(step), text.steps_table([step])):
        assert all(part in made for part in ("Model_7", "7,974", "99.51", "99.40"))
        assert len({line.count("|") for line in made.splitlines()}) == 1


def test_a_study_is_shown_with_its_mean_and_its_rate():
    study = evidence("model_8", Model_7=[HELD, HELD, LOST, (*HELD[:-1], 9_941)])
    *_, line = text.claims_table([("A label", study, "Model_7")]).splitlines()
    held = "**3\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}4** (19 to 99 %)"
    accuracies = "**99.435** | 99.377 | 99.31"  # mean final, mean lowest, lowest of all
    assert line == f"| [A label](results/studies/model_8.json) | 7,974 | {held} | {accuracies} | 0-3 |"


def test_changes_are_differences_to_the_first_arm():
    study = evidence("a", whole=[HELD, (*HELD[:-1], 9_941)], less=[(*HELD[:-1], 9_931), (*HELD[:-1], 9_923)])
    *_, line = text.changes_table(study).splitlines()
    final = "**-0.190 (-0.317 to -0.063)**"  # t(1) = 12.706 times 0.01 on both sides; p 0.033
    lowest = "-0.130 (-0.638 to 0.378)"  # 0.09 and 0.17
    assert line.startswith(f"| less | {final} | {lowest} | 0")
    more = evidence("b", whole=[HELD, LOST], same=[HELD, LOST])
    *_, line = text.changes_table(study, more, only=[("a", "less")]).splitlines()
    assert line.startswith(f"| less | {final.strip('*')} | {lowest} | 0")  # two comparisons: p is twice as high


def test_the_search_is_shown_with_what_was_chosen():
    study = evidence("choice", this=[HELD, (*HELD[:-1], 9_941)], that=[LOST, LOST])
    made = text.search_table(replace(study, question="Which?", chosen="this"))
    assert made.startswith("### Which?")
    assert "| **this** | 7,974 | 0, 1 | 99.460 ± 0.050 | 99.40 | " in made
    assert "| that | 7,974 | 0, 1 | 99.310 ± 0.000 | 99.31 | " in made


def test_tables_and_numbers_are_filled_in():
    before = "a\n<!-- table: t -->\nold\n<!-- /table -->\nb <!-- = x -->old<!-- / --> c <!-- = y_9.4 --><!-- / -->"
    after = (
        "a\n<!-- table: t -->\nnew \\1\n<!-- /table -->\nb <!-- = x -->\\2 of 3<!-- / --> c <!-- = y_9.4 -->2<!-- / -->"
    )
    numbers = {"x": r"\2 of 3", "y_9.4": "2"}
    assert filled(before, {"t": r"new \1"}, numbers) == after
    assert filled(after, {"t": r"new \1"}, numbers) == after


@pytest.mark.parametrize("name", ["z", "x + 1", "x.y", "x()", "'1'"])
def test_a_number_that_is_not_there_is_named(name):
    """Names only: nothing is computed in a text."""
    with pytest.raises(ValueError, match="is no number: correct the name") as raised:
        filled(f"It is <!-- = {name} -->1<!-- / -->", {}, {"x": "2"})
    assert str(raised.value).startswith(f"<!-- = {name} -->")


def test_a_number_at_the_beginning_of_a_line_is_refused():
    with pytest.raises(ValueError, match=r"<!-- = x --> begins a line"):
        filled("It is\n  <!-- = x -->1<!-- / -->", {}, {"x": "1"})


def test_a_table_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="<!-- table: other --> is no table: use one of t"):
        filled("<!-- table: other -->\n\n<!-- /table -->", {"t": ""}, {})


@pytest.mark.parametrize("error", [ValueError("wrong"), OSError("wrong")])
def test_the_report_ends_in_a_sentence_and_writes_nothing(monkeypatch, error):
    def texts():
        raise error

    monkeypatch.setattr(report, "texts", texts)
    monkeypatch.setattr(report, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(SystemExit, match=r"^wrong$"):
        report.main()
