"""A notebook's parameters: what is refused, with which words, and where results may go."""

from dataclasses import replace
from pathlib import Path

import pytest

from src import ROOT, utils
from src.evidence.schema import path_to, read_named, write_evidence
from src.evidence.storage import RESULTS, TRIAL
from src.notebook.settings import check_parameters, results_folder
from tests.helpers import HELD, evidence

DEFAULTS = {
    "seed": 0, "n_seeds": 1, "epochs": 15, "batch_size": 128, "device": "cpu", "data_dir": "", "results_dir": "",
    "train_limit": 0, "fresh": False,
}  # fmt: skip


def checked(executed=(), **changes):
    return check_parameters(executed, **(DEFAULTS | changes))


def test_what_they_become():
    settings = checked(seed=3, n_seeds=2, data_dir="numbers", train_limit=500)
    assert settings.seeds == (3, 4)
    assert settings.device.type == "cpu"
    assert settings.data_dir == ROOT / "numbers"
    assert (settings.results_dir, settings.train_limit) == (None, 500)
    assert checked(device="auto").device.type in ("cpu", "cuda")
    assert checked(digit="").digit is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1 to 15, got 0"),
        ({"epochs": 20}, "epochs must be a whole number from 1 to 15, got 20"),
        ({"epochs": "five"}, "epochs must be a whole number from 1 to 15, got 'five'"),
        ({"epochs": 2.5}, "epochs must be a whole number from 1 to 15, got 2.5"),
        ({"n_seeds": True}, "n_seeds must be a whole number from 1 to 1000, got True"),
        ({"seed": -1}, "seed must be a whole number from 0 to"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to 60000, got 0"),
        ({"train_limit": 70_000}, "train_limit must be a whole number from 0 to 60000, got 70000"),
        ({"device": "tpu"}, "device must be auto, cpu or cuda, got 'tpu'"),
        ({"fresh": "false"}, "fresh must be True or False, got 'false'"),
        ({"data_dir": 5}, "data_dir must be a folder's name or empty, got 5"),
        ({"data_dir": None}, "data_dir must be a folder's name or empty, got None"),
        ({"results_dir": "~no-such-user/x"}, "results_dir is in a home folder that is not known here, got '~no-such"),
        ({"digit": None}, "digit must be a file's name or empty, got None"),
        ({"digit": 7}, "digit must be a file's name or empty, got 7"),
        ({"digit": "missing.png"}, "missing.png cannot be read .No such file or directory."),
    ],
)
def test_wrong_values_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        checked(**change)


def test_names_that_papermill_injects_are_checked():
    checked(["", "x = 1", "# Parameters\nepochs = 3\n"])
    with pytest.raises(ValueError, match="epoch is no parameter of this notebook: use one of seed, n_seeds, epochs"):
        checked(["", "x = 1", "# Parameters\nseed = 1\nepoch = 3\n"])


@pytest.mark.parametrize("change", [{"epochs": 14}, {"batch_size": 64}, {"train_limit": 59_999}])
def test_trials_never_write_into_results(data, change):
    official = replace(data, official=True)
    assert results_folder(checked(), official) == RESULTS
    assert results_folder(checked(seed=7, n_seeds=3), official) == RESULTS
    assert results_folder(checked(**change), official) == TRIAL
    assert results_folder(checked(**change, results_dir="elsewhere"), official) == ROOT / "elsewhere"
    for folder in ("notebooks/../results", "results/smoke"):
        with pytest.raises(ValueError, match="results_dir is results/, which keeps only runs of 15 epochs"):
            results_folder(checked(**change, results_dir=folder), official)


def test_results_under_another_name_are_results(data):
    assert results_folder(checked(results_dir="notebooks/../results"), replace(data, official=True)) == RESULTS


def test_other_data_never_write_into_results(data):
    assert results_folder(checked(), data) == TRIAL
    with pytest.raises(ValueError, match="all of MNIST"):
        results_folder(checked(results_dir=str(Path("results").resolve())), data)


def test_broken_evidence_is_found_before_hours_are_spent(tmp_path, synthetic_root, monkeypatch):
    """That of the studies that the notebook shows at its end, and of no other; that of all three steps."""
    monkeypatch.setattr(utils, "read_named", lambda name: read_named(name, tmp_path))
    write_evidence(evidence("shown", Model_7=[HELD]), path_to("shown", tmp_path))
    path_to("other", tmp_path).write_text("broken")
    settings = checked(data_dir=str(synthetic_root), results_dir=str(tmp_path))
    utils.start_step(settings, ["shown"])
    with pytest.raises(ValueError, match=r"other.json is missing or not JSON: restore it, or run python -m"):
        utils.start_step(settings, ["shown", "other"])
    path_to("Step2", tmp_path).write_text('{"schema": 2,')
    with pytest.raises(ValueError, match=r"Step2.json is missing or not JSON: restore it, or run notebooks/Step2"):
        utils.start_step(settings)
