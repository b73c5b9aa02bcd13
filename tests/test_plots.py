"""Each figure is drawn and shows the numbers that it was given."""

import pytest
import torch
from matplotlib.collections import PathCollection

from src import plots, published
from src.evidence import Target
from tests.helpers import HELD, LOST, history, run, step, study


def texts(figure):
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return {artist.get_text() for artist in found}


def test_png_is_saved_whole(tmp_path):
    figure = plots.curves({"Model_7": history(*HELD)}, Target())
    plots.save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == plots.png(figure)
    assert plots.png(figure).startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


def test_curves_show_every_epoch_the_target_and_the_gap():
    figure = plots.curves({"one": history(*HELD), "two": history(9_100, 9_200)}, Target())
    accuracy, gap = figure.axes
    one, two, line = accuracy.get_lines()
    assert one.get_ydata() == pytest.approx([count / 100 for count in HELD])
    assert two.get_ydata() == pytest.approx([91, 92])
    assert set(line.get_ydata()) == {99.4}
    assert gap.get_lines()[0].get_ydata()[-1] == pytest.approx(100 * 59 / 60 - 99.51)
    assert {"one", "two", "target 99.4 %"} <= texts(figure)


def test_confusion_counts_mistakes():
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    figure = plots.confusion(labels, torch.tensor([0, 1, 1, 3, 3, 2]))
    assert "3 mistakes of 6" in texts(figure)
    shown = figure.axes[0].images[0].get_array()
    assert (shown[0, 1], shown[2, 3], shown.sum()) == (1, 2, 3)


def test_confusion_with_outputs_that_are_no_digits():
    figure = plots.confusion(torch.tensor([0, 1]), torch.tensor([17, 1]))
    assert figure.axes[0].images[0].get_array().shape == (10, 18)
    assert "1 mistakes of 2" in texts(figure)


def test_mistakes_begin_with_the_surest():
    images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    logits = torch.zeros(4, 10)
    logits[torch.arange(4), torch.tensor([1, 5, 2, 3])] = torch.tensor([3.0, 9.0, 5.0, 9.0])
    figure = plots.mistakes(images, torch.tensor([0, 4, 2, 3]), logits)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert [title.split("\n")[0] for title in titles] == ["4 read as 5", "0 read as 1"]
    assert titles[0].endswith("100 % sure")


def test_no_mistakes_draws_an_empty_gallery():
    logits = 9 * torch.eye(10)
    figure = plots.mistakes(torch.zeros(10, 1, 28, 28), torch.arange(10), logits)
    assert not any(axis.images for axis in figure.axes)


def test_samples_label_their_rows():
    figure = plots.samples({"as is": torch.zeros(3, 1, 28, 28), "draw 1": torch.zeros(3, 1, 28, 28)})
    assert sum(len(axis.images) for axis in figure.axes) == 6
    assert {axis.get_ylabel() for axis in figure.axes} == {"as is", "draw 1", ""}


def test_overview_names_every_model():
    figure = plots.overview([step(run(*HELD))])
    assert {"Model_7\n7,974", "Step 3", "the step's target"} <= texts(figure)
    assert set(heights(figure.axes[0])) == {99.40, 99.50, 99.45, 99.51, 99.22}


def heights(axis):
    scatters = [drawn for drawn in axis.collections if isinstance(drawn, PathCollection)]
    return sorted(round(float(y), 2) for dots in scatters for _, y in dots.get_offsets())


def test_strip_shows_each_seed_in_order():
    figure = plots.strip(study(Model_7=[HELD, LOST]))
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "0"]  # the worse one first
    assert heights(axis) == sorted(count / 100 for seed in (HELD, LOST) for count in (*seed[-5:], seed[-1]))
    assert {"Model_7: 1 of 2 seeds", "target 99.4 %"} <= texts(figure)


def test_strip_sets_the_arms_side_by_side():
    (axis,) = plots.strip(study(few=[HELD, LOST], many=[HELD, HELD, HELD])).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "0", "0", "1", "2"]
    assert list(axis.get_xticks()) == [0, 1, 3, 4, 5]


def test_forest_shows_the_differences_and_which_are_clear():
    lost = [(*HELD[:-1], 9_931), (*HELD[:-1], 9_929)]
    figure = plots.forest(study("ablation", whole=[HELD, (*HELD[:-1], 9_949)], less=lost, same=[HELD, HELD]))
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["same", "less"]
    assert {"+0.01", "\N{MINUS SIGN}0.20"} <= texts(figure)
    colours = {line.get_ydata()[0]: line.get_color() for line in axis.get_lines() if len(set(line.get_ydata())) == 1}
    assert colours[0] == plots.FAINT  # its interval holds 0
    assert colours[1] == plots.COLOURS[1]


def test_frontier_shows_every_seed_and_the_public_results():
    figure = plots.frontier(study("frontier", a=[HELD, LOST]))
    (axis,) = figure.axes
    assert {99.51, 99.31} <= set(heights(axis))
    assert {accuracy for _, accuracy in published.runs()} <= set(heights(axis))
    assert axis.get_lines()[0].get_ydata() == pytest.approx([99.41])
