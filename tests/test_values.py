"""The numbers in prose: each has a name, a source and a place in some text."""

import json
import re
import statistics

import pytest
from scipy import stats

from src.evidence.schema import Target, read_named
from src.evidence.storage import RESULTS
from src.report.__main__ import texts
from src.report.values import Numbers, average_difference, difference, fisher, lowest_difference, numbers, values
from tests.helpers import HELD, LOST, arm, read, run


@pytest.fixture(scope="module")
def found():
    return values()


def test_every_value_is_text(found):
    for name, value in found.items():
        assert isinstance(value, str), name
        assert value.strip() == value != "", name
        assert not re.search(r"None|nan|inf\b|[<>|{}]", value), name


def test_every_name_is_written_in_a_text_and_every_text_names_what_there_is(found):
    named = set()
    for path in texts():
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(content)["cells"]
            content = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        named |= set(re.findall(r"<!-- = (.+?) -->", content))
    assert named - found.keys() == set(), "src/report/values.py lacks these"
    assert found.keys() - named == set(), "no text has these: leave them out of src/report/values.py"


def test_what_sentences_say_of_an_arm():
    two = Numbers(arm(run(*HELD), run(*LOST, seed=1)), Target())
    assert (two.parameters, two.mean, two.lowest) == ("7,974", "99.410", "99.31")
    assert two.holds.split() == ["1", "of", "2"]
    assert two.holds_at(99.3).split() == ["2", "of", "2"]
    assert two.holds_at(99.45).split() == ["0", "of", "2"]
    assert [two.test(), two.test(1), two.test(7)] == ["99.51", "90.00", "99.51"]
    assert two.loss(2) == "0.020"
    assert two.training == "–"  # where it was not measured


def test_an_arm_is_by_default_the_first():
    study = read_named("model_3")
    first, second = study.arms
    assert numbers("model_3").arm == study.arms[first]
    assert numbers("model_3", second).arm == study.arms[second]
    assert numbers("model_3").target == study.target


def test_fishers_p_is_of_the_runs_that_hold():
    four, none = (Numbers(arm(*(run(*which, seed=k) for k in range(4))), Target()) for which in (HELD, LOST))
    assert fisher(four, none) == "0.029"  # 2 / 70: of the ways to choose four of eight
    assert fisher(four, four) == "1"


def test_differences_are_those_of_a_paired_t_test():
    study, names = "published_models", ("Model_6, learning-rate decay", "Model_6")
    decay, constant = (numbers(study, name) for name in names)
    counted = [[[e.accuracy for e in run.history[-5:]] for run in read_named(study).arms[name].runs] for name in names]
    for measure, gap in (
        (lambda run: run[-1], difference(decay, constant)),
        (lambda run: run[0], difference(decay, constant, 11)),
        (min, lowest_difference(decay, constant)),
        (lambda run: sum(run) / 5, average_difference(decay, constant)),
    ):
        of_decay, of_constant = ([measure(run) for run in runs] for runs in counted)
        low, high = stats.ttest_rel(of_decay, of_constant).confidence_interval()
        assert gap == (f"{abs(low + high) / 2:.2f}", f"{low:.3f} to {high:.3f}")


def test_a_difference_is_paired_by_seed_and_without_a_sign():
    one = Numbers(arm(run(9_950, seed=0), run(9_960, seed=1)), Target(last_epochs=1))
    other = Numbers(arm(run(9_980, seed=1), run(9_970, seed=0), run(9_000, seed=2)), Target(last_epochs=1))
    assert difference(one, other) == ("0.20", "-0.200 to -0.200")
    assert difference(other, one) == ("0.20", "0.200 to 0.200")


# ---------------------------------------------------------------- what stands in the files, counted once more


def content(name):
    return read(RESULTS / name)


def counts(study, name):
    """Return the correct images of each epoch of each run, as the file has them."""
    runs = content(f"studies/{study}.json")["arms"][name]["runs"]
    return [[epoch["eval_correct"] for epoch in run["history"]] for run in runs]


def of(part, whole):
    return f"{part}\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}{whole}"


def test_model_8_in_prose_is_what_its_file_says(found):
    runs = counts("model_8_confirmation", "Model_8")
    assert found["model_8_holds"] == of(sum(min(run[-5:]) >= 9_940 for run in runs), len(runs))
    assert found["model_8_mean"] == f"{statistics.mean(run[-1] for run in runs) / 100:.3f}"
    assert found["model_8_lowest"] == f"{min(min(run[-5:]) for run in runs) / 100:.2f}"


def test_studies_in_prose_are_what_their_files_say(found):
    few = counts("three_epochs_confirmation", "Model_8, 2 epochs")
    assert found["two_epochs_hold"] == of(sum(run[-1] >= 9_940 for run in few), len(few))
    published = counts("published_models", "Model_6")
    assert found["model_6_holds"] == of(sum(min(run[-5:]) >= 9_900 for run in published), len(published))
    assert found["model_6_holds_99.4"] == of(sum(min(run[-5:]) >= 9_940 for run in published), len(published))
    with_average, without = (counts("ablation_training", name) for name in ("the whole recipe", "no weight averaging"))
    for name, runs in (("averaged_holds", with_average), ("unaveraged_holds", without)):
        assert found[name] == of(sum(min(run[-5:]) >= 9_940 for run in runs), len(runs))


def test_published_runs_in_prose_are_what_their_file_says(found):
    runs = [run for run in content("published.json")["runs"] if run["parameters"] < 8000 and run["accuracies"]]
    runs = [run for run in runs if len(run["accuracies"]) <= 15]
    assert found["published_runs"] == str(len(runs))
    assert found["published_runs_hold"] == str(sum(min(run["accuracies"][-5:]) >= 99.4 for run in runs))
    assert found["published_best"] == str(max(max(run["accuracies"]) for run in runs))


def test_usps_times_and_gpu_in_prose_are_what_their_files_say(found):
    usps = content("usps.json")
    runs, images = usps["arms"]["Model_8"]["runs"], sum(usps["images"].values())
    correct = statistics.mean(run["train"] + run["test"] for run in runs)
    assert found["usps_model_8"] == f"{100 * correct / images:.2f}"
    programs = content("benchmark.json")["programs"]
    ours, common = programs["Model_8, 3 epochs"], programs["the assignment's common loop"]
    assert found["times_sooner"] == f"{sum(common['epochs']) / sum(ours['epochs']):.0f}"
    gpu = content("gpu.json")["steps"]["Step1"]
    assert found["gpu_seconds_step_1"] == f"{gpu['seconds']:.0f}"
    assert found["gpu_model_3_lowest"] == f"{min(gpu['models']['Model_3']['correct'][-5:]) / 100:.2f}"
