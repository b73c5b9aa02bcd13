"""The sentences, tables and figures that are made from evidence, on histories worked out by hand."""

import json

import pytest

from src import plots, report
from src.evidence import read_study, write_evidence
from src.files import ROOT
from src.model import Model_8
from src.studies import STUDIES, Study
from tests.helpers import HELD, LOST, run, step, study


def test_words_for_one_seed_and_for_several():
    one = step(run(*HELD))["models"]["Model_7"]
    assert report.field_text(one) == "22, then 32 by averaging"
    assert (report.final_text(one), report.met_text(one)) == ("99.51", "this run: yes")
    runs = (run(*HELD, seed=0), run(*HELD[:-1], 9_931, seed=1), run(*HELD[:-1], 9_941, seed=2))
    three = step(*runs)["models"]["Model_7"]
    assert (report.final_text(three), report.met_text(three)) == ("99.41 ± 0.10", "2 of 3 seeds")


@pytest.mark.parametrize(
    ("best", "verdict"),
    [(9_942, "within what chance explains (+0.20)"), (9_943, "outside what chance explains (+0.21)")],
)
def test_comparison_with_the_published_best_epoch(best, verdict):
    entry = step(run(9_000, best, 9_100))["models"]["Model_7"]
    assert report.published_text("Model_7", entry) == (
        f"best epoch {best / 100:.2f}, published 99.22, one run each: {verdict}"
    )
    assert report.published_text("Model_8", entry) is None


def test_card_and_tables_say_the_same():
    content = step(run(*HELD))
    card, table, printed = report.card_result(content), report.steps_table([content]), report.step_lines(content)
    for text in (card, table, "\n".join(printed)):
        assert all(part in text for part in ("Model_7", "7,974", "99.51", "99.40", "yes"))
    for text in (card, table):
        assert len({line.count("|") for line in text.splitlines()}) == 1
    assert card.endswith("| this run: yes | 99.22 |")


def test_a_study_is_told_with_its_intervals(monkeypatch):
    content = study(Model_7=[HELD, HELD, LOST, (*HELD[:-1], 9_941)], more=[HELD, HELD])
    entry = content["models"]["Model_7"]
    # 99.51 twice, 99.31 and 99.41: mean 99.435, sd 0.0957; t(3) = 3.182 times sd / 2 on both sides.
    assert report.mean_text(entry) == ("99.435", "99.283 to 99.587")
    assert (report.sd_text(entry), report.rate_text(entry)) == ("0.096", "19 to 99 %")
    monkeypatch.setitem(STUDIES, "record", Study({}, range(4), claims=("Model_7",)))
    table = report.studies_table([content])
    assert "| **3\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}4** | **99.435** |" in table
    lines = "\n".join(report.seeds_lines([content]))
    assert all(part in lines for part in ("99.435", "99.283 to 99.587", "99.31", "3 of 4 seeds"))
    assert "more" not in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_changes_are_told_as_differences_to_the_first_arm():
    whole = [HELD, (*HELD[:-1], 9_941)]
    content = study("ablation_images", whole=whole, less=[(*HELD[:-1], 9_931), (*HELD[:-1], 9_923)])
    _, first, second = report.changes_lines(content)
    assert first.startswith("whole")
    assert second.split()[:4] == ["less", "7,974", "99.270", "99.23"]
    assert "-0.190  (-0.317 to -0.063)" in second  # t(1) = 12.706 times 0.01 on both sides


def test_the_search_is_told_with_what_was_chosen(monkeypatch):
    declared = Study({}, range(2), figure="", question="Which?", chosen="this")
    monkeypatch.setitem(STUDIES, "choose", declared)
    told = report.search([study("choose", this=[HELD, (*HELD[:-1], 9_941)], that=[LOST, LOST])])
    assert told.startswith("### Which?")
    assert "| **this** | 7,974 | 0, 1 | 99.460 ± 0.050 | 99.40 | " in told
    assert "| that | 7,974 | 0, 1 | 99.310 ± 0.000 | 99.31 | " in told
    assert len({line.count("|") for line in told.splitlines()[2:]}) == 1


def test_the_lines_of_a_model():
    lines = report.layers_of(Model_8).splitlines()
    assert len(lines) == 9
    assert lines[0] == "conv_bn_hardswish(1, 8),  # 8 x 26 x 26, RF 3"


def test_between():
    text = "a\n<!-- table -->\nold\n<!-- /table -->\nb"
    assert report.between(text, "table", r"new \1") == "a\n<!-- table -->\nnew \\1\n<!-- /table -->\nb"
    with pytest.raises(ValueError, match="no <!-- result -->"):
        report.between(text, "result", "new")


def test_one_place_names_the_repository():
    bootstrap = json.dumps({"source": ['REPOSITORY = "https://github.com/old-name/old.git"']})
    text = "https://colab.research.google.com/github/old-name/old/blob/main/x https://github.com/else/cifar/blob/main/y"
    renamed = report.with_repository(text, bootstrap)
    assert renamed == text.replace("old-name/old", report.repository())
    assert "else/cifar" in renamed


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("https://github.com/some.one/my-mnist.git", "some.one/my-mnist"),
        ("git@github.com:someone/mnist", "someone/mnist"),
        ("/home/someone/mnist", "your-name/mnist-under-8000"),
        ("https://gitlab.com/someone/mnist.git", "your-name/mnist-under-8000"),
        ("", "your-name/mnist-under-8000"),
    ],
)
def test_a_clone_takes_its_name_from_github(origin, name):
    project = 'name = "x"\nrepository = "https://github.com/your-name/mnist-under-8000"\n'
    assert report.name_from(origin, project) == project.replace("your-name/mnist-under-8000", name)


def test_a_name_that_is_settled_stays():
    project = 'repository = "https://github.com/course/official"\n'
    assert report.name_from("https://github.com/contributor/fork.git", project) == project


def test_a_study_is_drawn_as_it_says(monkeypatch, tmp_path):
    """Under any name: a copy of the ablation is drawn like the ablation."""
    monkeypatch.setitem(STUDIES, "copied", STUDIES["ablation_images"])
    content = study("copied", whole=[HELD, LOST], less=[LOST, HELD])
    write_evidence(content, tmp_path)
    report.save_study_figure(content, tmp_path)
    assert (tmp_path / "study_copied.png").read_bytes() == plots.png(plots.forest(read_study("copied", tmp_path)))


def test_every_figure_is_redrawn_from_the_evidence():
    drawn = dict(report.figures())
    assert set(drawn) == set((ROOT / "results").glob("*.png"))
    for path, picture in drawn.items():
        if plots.made_with(path.read_bytes()) == plots.made_with(picture):
            assert path.read_bytes() == picture, f"{path.name} is out of date: run `python -m src.report`"


def test_what_a_cell_printed_bit_by_bit_is_one_output():
    def out(text, name="stdout"):
        return {"output_type": "stream", "name": name, "text": [text]}

    picture = {"output_type": "display_data", "data": {}}
    given = [out("1\n"), out("2\n"), picture, out("3\n"), out("4\n", "stderr")]
    joined = report.joined(given)
    assert joined == [out("1\n") | {"text": ["1\n", "2\n"]}, picture, out("3\n"), out("4\n", "stderr")]
    assert given[0] == out("1\n")
