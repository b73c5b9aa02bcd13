"""Each figure is drawn and shows the numbers that it was given."""

import io
import itertools
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from src.evidence.results import Confidence, Unwarned, UspsArm, UspsRun, pareto_front, read_published
from src.evidence.schema import read_named
from src.model import Model_8
from src.report import figures
from tests.helpers import ENVIRONMENT, HELD, LOST, evidence


def texts(figure):
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return {artist.get_text() for artist in found}


def test_png_is_saved_whole_and_the_same_each_time(tmp_path):
    for name in ("one", "two"):
        figures.save_picture(figures.png(figures.step_curves(evidence(Model_7=[HELD]))), tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2


def test_dark_figures_keep_their_hues():
    figure = Figure(facecolor="#009e73")
    figure.add_artist(Rectangle((0, 0), 0.5, 1, color="white"))
    shown = Image.open(io.BytesIO(figures.dark(figures.png(figure)))).convert("RGB")
    assert shown.getpixel((5, 5)) == figures.DARK_PAGE
    red, green, blue = shown.getpixel((shown.width - 5, 5))
    assert green > blue > red  # as before


def test_curves_show_every_epoch_and_name_each_line_at_its_end():
    figure = figures.step_curves(evidence(Model_7=[HELD], Model_8=[(9_930, 9_940)]))
    (axis,) = figure.axes
    one, two, line = axis.get_lines()
    assert one.get_ydata() == pytest.approx([count / 100 for count in HELD])
    assert two.get_ydata() == pytest.approx([99.30, 99.40])
    assert set(line.get_ydata()) == {99.4}
    assert one.get_color() == figures.COLOURS["Model_7"] != two.get_color()
    assert {"Model_7  99.51", "Model_8  99.40", "target 99.4 %"} <= texts(figure)


@pytest.mark.parametrize("epochs", [1, 2, 15])
def test_all_that_curves_say_is_in_the_picture(epochs):
    figure = figures.step_curves(evidence(Model_8=[[9_950] * epochs]))
    FigureCanvasAgg(figure).draw()  # warns where there is no room, which is an error here
    for artist in figure.axes[0].texts:
        box = artist.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, artist.get_text()


def test_labels_keep_apart_and_in_order():
    placed = figures._apart({"low": 99.50, "high": 99.51, "far": 98.0}, 0.1)
    assert placed["far"] == 98.0
    assert placed["high"] - placed["low"] == pytest.approx(0.1)


def test_usps_shows_accuracies_mistakes_and_silence():
    confusion = (10 * np.eye(10, dtype=int)).tolist()
    confusion[7][2] = 6
    confidence = Confidence(
        "Model_8", 1.0, {}, Unwarned(160, 2), [200, 100], {"distance": [4, 1], "largest probability": [4, 2]}
    )
    arm = UspsArm("a study", ENVIRONMENT, [UspsRun(0, 49, 48), UspsRun(1, 50, 47)], confusion)
    figure = figures.usps({"Model_8": [99.1, 99.3], "Model_9": [98.0, 98.4]}, arm, confidence)
    _, mistakes, silent = figure.axes
    assert {"Model_8: 99.20 %", "Model_9: 98.20 %"} <= texts(figure)
    assert [text.get_text() for text in mistakes.texts] == ["3"]  # a run
    by_distance, by_probability = silent.get_lines()
    assert by_distance.get_xydata().tolist() == [[100, 2], [50, 1]]
    assert by_probability.get_xydata().tolist() == [[100, 2], [50, 2]]
    FigureCanvasAgg(figure).draw()


def test_confusion_counts_mistakes():
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    figure = figures.confusion(labels, torch.tensor([0, 1, 1, 3, 3, 2]), "0123456789")
    assert "3 mistakes of 6" in texts(figure)
    shown = figure.axes[0].images[0].get_array()
    assert (shown[0, 1], shown[2, 3], shown.sum()) == (1, 2, 3)


def test_confusion_with_outputs_that_are_no_digits():
    figure = figures.confusion(torch.tensor([0, 1]), torch.tensor([17, 1]), "0123456789")
    assert figure.axes[0].images[0].get_array().shape == (10, 18)
    assert "1 mistakes of 2" in texts(figure)


def test_mistakes_begin_with_the_surest():
    images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    logits = torch.zeros(4, 10)
    logits[torch.arange(4), torch.tensor([1, 5, 2, 3])] = torch.tensor([3.0, 9.0, 5.0, 9.0])
    figure = figures.mistakes(images, torch.tensor([0, 4, 2, 3]), logits)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert [title.split("\n")[0] for title in titles] == ["4 read as 5", "0 read as 1"]
    assert titles[0].endswith("100 % sure")


def test_no_mistakes_draws_an_empty_gallery():
    logits = 9 * torch.eye(10)
    figure = figures.mistakes(torch.zeros(10, 1, 28, 28), torch.arange(10), logits)
    assert not any(axis.images for axis in figure.axes)


def test_samples_label_their_rows():
    figure = figures.samples({"as is": torch.zeros(3, 1, 28, 28), "draw 1": torch.zeros(3, 1, 28, 28)})
    assert sum(len(axis.images) for axis in figure.axes) == 6
    assert {axis.get_ylabel() for axis in figure.axes} == {"as is", "draw 1", ""}


def test_overview_names_every_model():
    figure = figures.overview([evidence("Step3", Model_7=[HELD])])
    assert {"Model_7\n7,974", "Step 3", "the step's target"} <= texts(figure)
    assert set(heights(figure.axes[0])) == {99.40, 99.50, 99.45, 99.51, 99.22}


def heights(axis):
    scatters = [drawn for drawn in axis.collections if isinstance(drawn, PathCollection)]
    return sorted(round(float(y), 2) for dots in scatters for _, y in dots.get_offsets())


def test_strip_shows_each_seed_its_mean_and_the_claim():
    figure = figures.strip(evidence(Model_7=[HELD, LOST]))
    (axis,) = figure.axes
    assert heights(axis) == sorted(count / 100 for seed in (HELD, LOST) for count in (*seed[-5:], seed[-1]))
    claim = "Model_7: 1 of 2 runs hold 99.4 % in each of the last 5 epochs"
    assert {claim, "target\n99.4 %", "mean\n99.410 %"} <= texts(figure)


def test_strip_sets_the_arms_side_by_side():
    figure = figures.strip(evidence(few=[HELD, LOST], many=[HELD, HELD, HELD]))
    assert {"few\nmean 99.410 %\n1 of 2 hold 99.4 %", "many\nmean 99.510 %\n3 of 3 hold 99.4 %"} <= texts(figure)
    assert len(heights(figure.axes[0])) == 5 * 6


def test_headings_of_arms_lie_apart():
    study = read_named("published_models")
    figure = figures.strip(study)
    figure.draw_without_rendering()
    headings = [text.get_window_extent() for text in figure.axes[0].texts if "mean" in text.get_text()]
    assert len(headings) == len(study.arms)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(headings, 2))


def test_forest_shows_the_differences_in_the_studys_order_and_which_are_clear():
    lost = [(*HELD[:-1], 9_931), (*HELD[:-1], 9_929)]
    figure = figures.forest(evidence("ablation", whole=[HELD, (*HELD[:-1], 9_949)], less=lost, same=[HELD, HELD]))
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["whole", "less", "same"]
    told = {text for text in texts(figure) if " hold" in text and " of 2" in text}
    assert len(told) == 3
    assert "99.500 %, 2 of 2 hold" in told
    assert any(text.startswith("\N{MINUS SIGN}0.200 (") and text.endswith("), 0 of 2 hold") for text in told)
    colours = {line.get_ydata()[0]: line.get_color() for line in axis.get_lines() if len(set(line.get_ydata())) == 1}
    assert (colours[1], colours[2]) == (figures.CLEAR, figures.FAINT)


def test_frontier_shows_our_means_and_the_public_results():
    figure = figures.frontier(evidence("frontier", a=[HELD, LOST]))
    (axis,) = figure.axes
    assert {run.best for run in read_published().runs if run.keeps_to_the_assignment} <= set(heights(axis))
    assert "99.41" in texts(figure)
    named = {re.split(r"\s", text)[-1]: text for text in texts(figure)}
    for best in pareto_front([run for run in read_published().runs if run.parameters < 8000]):
        assert re.split(r"\s", named[f"{best.best:.2f}"])[0] == best.of.split("/")[0]


def test_a_reading_shows_what_is_given_and_ten_bars():
    figure = figures.reading({"ink": np.zeros((28, 28)), "picture": np.zeros((28, 40, 3))}, [0.0] * 9 + [1.0])
    assert {"ink", "picture", "answer: 9\n100.0 % sure"} <= texts(figure)
    assert [bar.get_height() for bar in figure.axes[-1].patches] == [0.0] * 9 + [1.0]


def test_maps_lie_in_rows_with_gaps():
    maps = np.arange(5)[:, None, None] * np.ones((5, 8, 8))
    found = figures.mosaic(maps)
    assert found.shape == (27, 27)  # three columns of 8 + 1
    assert found[0, ::9].tolist() == [0, 1, 2]
    assert found[9, :18:9].tolist() == [3, 4]
    assert np.isnan(found[8]).all()
    assert np.isnan(found[:, 8]).all()


def test_epochs_are_shown_as_mean_and_range_of_the_runs():
    study = evidence("a", one=[HELD, LOST], other=[LOST, LOST])
    figure = figures.epoch_by_epoch(study, {"one": "with", "other": "without"})
    lines = [line for line in figure.axes[0].lines if len(line.get_ydata()) == len(HELD)]
    assert [line.get_ydata()[-1] for line in lines] == [pytest.approx(99.41), pytest.approx(99.31)]
    assert "with: 1 of 2 runs hold 99.4 %" in {text.get_text() for text in figure.axes[0].get_legend().texts}


def test_network_shows_each_layer_and_what_it_sees():
    figure = figures.architecture(Model_8(), torch.zeros(1, 28, 28))
    assert {"Model_8: 7,996 parameters", "conv\n26\N{MULTIPLICATION SIGN}26\n3", "6", "32"} <= texts(figure)
    squares = [patch.get_width() for patch in figure.axes[1].patches]
    assert squares == [28, 3, 5, 6, 10, 14, 16, 24, 32, 44]  # the image and the fields
