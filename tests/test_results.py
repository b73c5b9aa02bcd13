"""What is claimed of others is consistent in itself."""

import json

import pytest

from src import ROOT
from src.evidence.storage import RESULTS
from src.studies import public


def test_public_runs_add_up():
    runs = public.runs()
    assert len({run.url for run in runs}) > 500
    for run in runs:
        assert f"{run.url}/".startswith(f"https://github.com/{run.of}/"), run.url
        assert run.parameters < 10_000
        if run.accuracies is not None:
            assert (run.epochs, run.best, run.final) == (len(run.accuracies), max(run.accuracies), run.accuracies[-1])
            assert all(5 < accuracy < 100 for accuracy in run.accuracies)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"rebuilt": {}, "runs": [{}]}', '{"rebuilt": {"Model_1": {}}, "runs": []}']
)
def test_a_damaged_file_is_named(tmp_path, monkeypatch, content):
    (tmp_path / "published.json").write_text(content)
    monkeypatch.setattr(public, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match=r"public.json is missing or damaged: restore it from the repository"):
        public._public.__wrapped__()


def test_each_attempt_has_its_address():
    """Attempts A and B, from whose write-ups the rebuilt models' best epochs are."""
    found = json.loads((RESULTS / "published.json").read_text(encoding="utf-8"))
    named = {model["of"].split(",")[0] for model in found["rebuilt"].values()}
    assert sorted(named) == sorted(found["attempts"]) == ["attempt A", "attempt B"]
    for path in ("README.md", "src/model.py"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert all(f"({address})" in text for address in found["attempts"].values())


def test_the_pareto_front_is_beaten_by_none_that_is_smaller():
    runs = public.runs()
    found = public.pareto_front(runs)
    for record in found:
        assert all(run.best < record.best for run in runs if run.parameters < record.parameters)
        assert all(run.best <= record.best for run in runs if run.parameters == record.parameters)
    assert max(run.best for run in runs) == found[-1].best
