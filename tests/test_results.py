"""The files of results/ beside evidence: consistent in themselves, and refused where they are not."""

import json

import pytest

from src import ROOT
from src.evidence.results import (
    Published,
    Timed,
    pareto_front,
    read_benchmark,
    read_gpu,
    read_published,
    read_usps,
)
from src.evidence.storage import RESULTS, read_checked


def test_published_runs_add_up():
    runs = read_published().runs
    assert len({run.url for run in runs}) > 500
    for run in runs:
        assert f"{run.url}/".startswith(f"https://github.com/{run.of}/"), run.url
        assert run.parameters < 10_000
        if run.accuracies is not None:
            assert (run.epochs, run.best, run.final) == (len(run.accuracies), max(run.accuracies), run.accuracies[-1])
            assert all(5 < accuracy < 100 for accuracy in run.accuracies)


def test_each_attempt_has_its_address():
    """Attempts A and B, from whose write-ups the rebuilt models' best epochs are."""
    found = read_published()
    named = {model.of.split(",")[0] for model in found.rebuilt.values()}
    assert sorted(named) == sorted(found.attempts) == ["attempt A", "attempt B"]
    for path in ("README.md", "src/model.py"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert all(f"({address})" in text for address in found.attempts.values())


def test_the_pareto_front_is_beaten_by_none_that_is_smaller():
    runs = read_published().runs
    found = pareto_front(runs)
    for record in found:
        assert all(run.best < record.best for run in runs if run.parameters < record.parameters)
        assert all(run.best <= record.best for run in runs if run.parameters == record.parameters)
    assert max(run.best for run in runs) == found[-1].best


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "JSON"),
        ("{}", "attempts is missing"),
        ('{"attempts": {}, "rebuilt": {}, "runs": [{}]}', "runs.0.of is missing"),
        ('{"attempts": {}, "rebuilt": {"Model_1": {"of": "A", "best": 101}}, "runs": []}', "Model_1.best .*101"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, says):
    (tmp_path / "published.json").write_text(content)
    with pytest.raises(ValueError, match=f"^published.json.*{says}.*correct or delete it$"):
        read_checked(Published, tmp_path / "published.json")


@pytest.mark.parametrize(
    ("name", "read", "place", "value", "says"),
    [
        ("usps.json", read_usps, ("images", "test"), 0, "images.test .*got 0"),
        ("usps.json", read_usps, ("arms", "Model_8", "runs", 0, "test"), 2008, "arms.Model_8 .*9298"),
        ("usps.json", read_usps, ("arms", "Model_8", "runs", 0, "seed"), 61, "arms.Model_8 .*seed 61 twice"),
        ("usps.json", read_usps, ("arms", "Model_8", "confusion", 3, 5), 0, "arms.Model_8.confusion"),
        ("usps.json", read_usps, ("arms", "Model_8", "confusion", 9), [1], "arms.Model_8.confusion"),
        ("usps.json", read_usps, ("confidence", "temperature"), 0, "confidence.temperature .*got 0"),
        ("benchmark.json", read_benchmark, ("environment", "torch"), "x", "environment.torch .*'x'"),
        ("gpu.json", read_gpu, ("steps", "Step1", "seconds"), -1, "steps.Step1.seconds .*-1"),
    ],
)
def test_one_wrong_number_is_named(tmp_path, name, read, place, value, says):
    content = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    *way, last = place
    inner = content
    for step in way:
        inner = inner[step]
    inner[last] = value
    (tmp_path / name).write_text(json.dumps(content))
    kind = type(read())  # as it is committed it is right
    with pytest.raises(ValueError, match=f"^{name}: {says}"):
        read_checked(kind, tmp_path / name)


def test_a_timed_program_has_a_count_for_each_epoch():
    with pytest.raises(ValueError, match=r"correct has 1 .*epochs has 2"):
        Timed(7_996, 300, epochs=[2.0, 2.5], correct=[9_900])
    with pytest.raises(ValueError, match=r"correct.0 .*got 10001"):
        Timed(7_996, 300, epochs=[2.0], correct=[10_001])
