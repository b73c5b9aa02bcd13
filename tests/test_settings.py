"""A notebook's parameters: what is refused, with which words, and where results may go."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from matplotlib.figure import Figure
from PIL import Image

from src import ROOT
from src.demo import page
from src.demo.reader import reader_of, save_weights
from src.evidence.runs import fit
from src.evidence.schema import Evidence, path_to, read_named, write_evidence
from src.evidence.storage import RESULTS, TRIAL
from src.learn.recipe import Recipe
from src.learn.training import Job
from src.model import Model_8
from src.notebook import show
from src.notebook.settings import check_parameters, check_replaceable, results_folder
from src.report import figures
from tests.helpers import HELD, arm, evidence, history, run

DEFAULTS = {
    "seed": 0, "n_seeds": 1, "epochs": 15, "batch_size": 128, "device": "cpu", "data_dir": "", "results_dir": "",
    "train_limit": 0, "fresh": False,
}  # fmt: skip


def checked(executed=(), **changes):
    return check_parameters(executed, **(DEFAULTS | changes))


def refusal(call, *values, **named):
    """Return what a call is refused with, which must be one sentence on one line."""
    with pytest.raises(ValueError, match=r".") as raised:
        call(*values, **named)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_what_they_become():
    settings = checked(seed=3, n_seeds=2, data_dir="numbers", train_limit=500)
    assert settings.seeds == (3, 4)
    assert settings.torch_device.type == "cpu"
    assert settings.path("data_dir") == ROOT / "numbers"
    assert (settings.path("results_dir"), settings.path("digit"), settings.train_limit) == (None, None, 500)
    assert checked(device="auto").torch_device.type in ("cpu", "cuda")
    assert checked(digit="").path("digit") is None
    assert checked(results_dir="~/x").path("results_dir") == Path.home() / "x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, "epochs must .* 1, got 0"),
        ({"epochs": 20}, "epochs must .* 15, got 20"),
        ({"epochs": "five"}, "epochs must .* integer, got 'five'"),
        ({"epochs": 2.5}, "epochs must .* integer, got 2.5"),
        ({"epochs": None}, "epochs must .* integer, got None"),
        ({"n_seeds": True}, "n_seeds must .* integer, got True"),
        ({"n_seeds": 1001}, "n_seeds must .* 1000, got 1001"),
        ({"seed": -1}, "seed must .* 0, got -1"),
        ({"seed": 2**31 - 1, "n_seeds": 2}, "seed 2147483647 and n_seeds 2 .*lower one"),
        ({"batch_size": 0}, "batch_size must .* 1, got 0"),
        ({"train_limit": 70_000}, "train_limit must .* 60000, got 70000"),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
        ({"fresh": "false"}, "fresh must .* boolean, got 'false'"),
        ({"data_dir": 5}, "data_dir must .* string, got 5"),
        ({"data_dir": None}, "data_dir must .* string, got None"),
        ({"results_dir": "~no-such-user/x"}, "results_dir .* got '~no-such-user/x': write it out"),
        ({"results_dir": 300 * "x"}, "results_dir .*too long.*: name another"),
        ({"digit": None}, "digit must .* string, got None"),
        ({"digit": 7}, "digit must .* string, got 7"),
        (
            {"digit": "missing.png"},
            "missing.png cannot be read .*No such file or directory.*: correct the path or file",
        ),
    ],
)
def test_wrong_values_are_refused(change, says):
    assert re.search(says, refusal(checked, **change))


@pytest.mark.parametrize("parameter", ["data_dir", "results_dir", "digit"])
@pytest.mark.parametrize("name", [" ", " x", "x ", "x\n", "x\0y", "\ud800", "x/\ud800/y"])
def test_names_that_are_no_names_are_refused(parameter, name):
    said = refusal(checked, **{parameter: name})
    assert said.startswith(parameter)
    assert repr(name) in said
    assert said.endswith("write it anew")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there():
    assert re.fullmatch("device is cuda, .*: use auto or cpu", refusal(checked, device="cuda"))


def test_a_parameter_that_is_missing_is_named():
    assert "seed" in refusal(check_parameters, (), **{k: v for k, v in DEFAULTS.items() if k != "seed"})


def test_names_that_papermill_injects_are_checked():
    checked(["", "x = 1", "# Parameters\nepochs = 3\n"])
    said = refusal(checked, ["", "x = 1", "# Parameters\nseed = 1\nepoch = 3\n"])
    assert said.startswith("epoch is no parameter")
    assert said.endswith(f"use one of {', '.join(DEFAULTS)}")


@pytest.mark.parametrize("change", [{"epochs": 14}, {"batch_size": 64}, {"train_limit": 59_999}])
def test_trials_never_write_into_results(data, change):
    official = replace(data, official=True)
    assert results_folder(checked(), official) == RESULTS
    assert results_folder(checked(seed=7, n_seeds=3), official) == RESULTS
    assert results_folder(checked(**change), official) == TRIAL
    assert results_folder(checked(**change, results_dir="elsewhere"), official) == ROOT / "elsewhere"
    for folder in ("notebooks/../results", "results/smoke"):
        said = refusal(results_folder, checked(**change, results_dir=folder), official)
        assert re.match("results_dir is results/.* 15 epochs, batch size 128", said)


def test_results_under_another_name_are_results(data):
    assert results_folder(checked(results_dir="notebooks/../results"), replace(data, official=True)) == RESULTS


def test_other_data_never_write_into_results(data):
    assert results_folder(checked(), data) == TRIAL
    assert "all of MNIST" in refusal(results_folder, checked(results_dir=str(RESULTS)), data)


def test_the_checkout_and_what_is_above_it_are_no_results_folder(data, tmp_path):
    """By whatever name; a run that is evidence is refused, too."""
    (tmp_path / "link").symlink_to(ROOT)
    names = [".", "./", "src/..", "..", "../..", "/", str(ROOT), f"{ROOT}/", str(ROOT.parent), str(tmp_path / "link")]
    for name in names:
        for official in (False, True):
            said = refusal(results_folder, checked(results_dir=name), replace(data, official=official))
            assert said.startswith(f"results_dir is {name!r}"), name
            assert "name another folder" in said


# ---------------------------------------------------------------- what lies there already


def somebodys(folder, name):
    """Write a file of somebody's own."""
    path = folder / name
    if path.suffix == ".png":
        Image.new("L", (9, 9)).save(path)
    elif path.suffix == ".html":
        path.write_text("<!doctype html><title>My page</title>")
    elif path.suffix == ".json":
        path.write_text('{"mine": 1}')
    else:
        safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    return path


def accepted(settings, data):
    """Return where results go, as a notebook finds it out before any training."""
    folder = results_folder(settings, data)
    check_replaceable(folder, settings, data)
    return folder


NAMES = (
    "try.html", "overview.png", "overview_dark.png", "photograph.png", "reading.png", "reading_dark.png", "Step1.png",
    "Step1.json", "model_8.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_somebodys_own_is_refused_and_untouched(data, tmp_path, name):
    path = somebodys(tmp_path, name)
    before = path.read_bytes()
    said = refusal(accepted, checked(results_dir=str(tmp_path)), data)
    assert name in said
    assert "correct or delete it" in said or "name another folder" in said
    assert path.read_bytes() == before
    path.write_bytes(b"")
    assert name in refusal(accepted, checked(results_dir=str(tmp_path)), data)
    path.unlink()
    path.mkdir()
    assert name in refusal(accepted, checked(results_dir=str(tmp_path)), data)


def test_a_figure_of_another_program_with_matplotlib_is_somebodys_own(data, tmp_path):
    Figure().savefig(tmp_path / "overview.png")
    assert "overview.png" in refusal(accepted, checked(results_dir=str(tmp_path)), data)


def test_files_that_no_notebook_writes_do_no_harm(data, tmp_path):
    for name in ("my.png", "bert.safetensors", "index.html", "notes.json"):
        somebodys(tmp_path, name)
    assert accepted(checked(results_dir=str(tmp_path)), data) == tmp_path
    assert accepted(checked(results_dir=str(tmp_path / "new")), data) == tmp_path / "new"


def test_what_our_own_code_wrote_is_accepted(data, tmp_path):
    recipe = Recipe(epochs=1, lr=0.05)
    trained = fit(Job(Model_8, data, recipe, 0), folder=tmp_path / "runs")
    reader = reader_of(trained, data.train_images, data.train_labels)
    settings = checked(epochs=1, results_dir=str(tmp_path / "out"))
    for _ in range(2):  # what the first execution wrote, the second may replace
        save_weights(trained, reader, tmp_path / "out")
        (tmp_path / "out" / "try.html").write_text(page.page_html({"Model_8": reader}), encoding="utf-8")
        step = Evidence("Step1", {"Model_8": replace(arm(trained.run), network="Model_8", recipe=recipe)}, (0,))
        write_evidence(step, path_to("Step1", tmp_path / "out"))
        picture = figures.png(figures.step_curves(step))
        for name in ("overview", "reading", "photograph", "Step1"):
            figures.save_picture(picture, tmp_path / "out" / f"{name}.png")
        assert {path.name for path in (tmp_path / "out").iterdir()} == set(NAMES)
        assert accepted(settings, data) == tmp_path / "out"


def test_the_committed_files_are_our_own(data, tmp_path):
    """Those of results/, copied: the check knows what earlier versions wrote."""
    for path in RESULTS.iterdir():
        if path.name in NAMES and path.suffix != ".json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(list(tmp_path.iterdir())) == len(NAMES) - 1
    assert accepted(checked(results_dir=str(tmp_path)), data) == tmp_path


def step_of(folder, epochs=2, images=600, seeds=1):
    """Write a Step3.json of so many epochs, training images and seeds."""

    def of(seed):
        epochs_of = (replace(e, train_total=images, train_correct=0) for e in history(*[9_000] * epochs))
        return replace(run(9_000, seed=seed), history=tuple(epochs_of))

    runs = [of(seed) for seed in range(seeds)]
    return write_evidence(Evidence("Step3", {"Model_7": arm(*runs)}, range(seeds)), path_to("Step3", folder))


@pytest.mark.parametrize(
    ("there", "refused"),
    [
        ({}, False),
        ({"epochs": 1}, False),
        ({"images": 599}, False),
        ({"epochs": 1, "images": 100, "seeds": 1}, False),
        ({"epochs": 3}, True),
        ({"epochs": 15}, True),
        ({"images": 601}, True),
        ({"images": 60_000}, True),
        ({"seeds": 3}, True),
        ({"epochs": 1, "images": 100, "seeds": 3}, True),  # less in two ways, more in the third
    ],
)
def test_fuller_runs_are_not_replaced(data, tmp_path, there, refused):
    """The run to come has two epochs, 600 images and two seeds."""
    path = step_of(tmp_path, **there)
    before, settings = path.read_bytes(), checked(epochs=2, n_seeds=2, results_dir=str(tmp_path))
    assert len(data.train_images) == 600
    if refused:
        said = refusal(accepted, settings, data)
        assert "Step3.json" in said
        assert "name another folder" in said
    else:
        assert accepted(settings, data) == tmp_path
    assert path.read_bytes() == before


def test_a_step_without_runs_is_replaced(data, tmp_path):
    write_evidence(Evidence("Step3", {"Model_7": arm()}, (0,)), path_to("Step3", tmp_path))
    assert accepted(checked(results_dir=str(tmp_path)), data) == tmp_path


def test_all_is_refused_before_anything_is_written(synthetic_root, tmp_path):
    path = somebodys(tmp_path, "reading.png")
    settings = checked(data_dir=str(synthetic_root), results_dir=str(tmp_path))
    assert "reading.png" in refusal(show.start_step, settings)
    assert list(tmp_path.iterdir()) == [path]


def test_broken_evidence_is_found_before_hours_are_spent(tmp_path, synthetic_root, monkeypatch):
    """That of the studies that the notebook shows at its end, and of no other; that of all three steps."""
    monkeypatch.setattr(show, "read_named", lambda name: read_named(name, tmp_path))
    write_evidence(evidence("shown", Model_7=[HELD]), path_to("shown", tmp_path))
    path_to("other", tmp_path).write_text("broken")
    settings = checked(data_dir=str(synthetic_root), results_dir=str(tmp_path))
    show.start_step(settings, ["shown"])
    assert re.search(
        "other.json: the file is no JSON .*; correct", refusal(show.start_step, settings, ["shown", "other"])
    )
    assert re.search("none.json: the file is missing; ", refusal(show.start_step, settings, ["none"]))
    path_to("Step2", tmp_path).write_text('{"schema": 2,')
    assert re.search("Step2.json: the file is no JSON .*; correct", refusal(show.start_step, settings))
