"""Checked dataclasses: what they take, what they refuse, and that they say so in one sentence."""

import json
import math
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Annotated

import pytest
from pydantic import Field, model_validator

from src.checked import LONGEST, Positive, Several, checked, duplicates
from src.evidence.storage import read_checked


@checked
class Part:
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


@checked
class Whole:
    count: Positive
    ready: bool = False
    parts: Several[Part] = ()
    numbers: Several[int] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self):
        if self.ready and not self.parts:
            raise ValueError("ready is True without parts")
        return self


def test_values_stay_and_whole_numbers_become_floats():
    whole = Whole(3, parts=[Part(1)], numbers=range(3))
    assert asdict(whole) == {"count": 3, "ready": False, "parts": ({"share": 1.0},), "numbers": (0, 1, 2)}
    assert type(whole.parts[0].share) is float
    assert whole == Whole(3, parts=(Part(1.0),), numbers=(0, 1, 2))
    assert hash(whole) == hash(replace(whole, count=3))


def test_nothing_changes_afterwards():
    with pytest.raises(FrozenInstanceError):
        Whole(3).count = 4
    with pytest.raises(ValueError, match=r"count .*got 0"):
        replace(Whole(3), count=0)


WRONG = [
    ({}, "count", "missing"),
    ({"count": 0}, "count", "0"),
    ({"count": 2.0}, "count", "2.0"),
    ({"count": "5"}, "count", "'5'"),
    ({"count": True}, "count", "True"),
    ({"count": None}, "count", "None"),
    ({"count": 1, "ready": 1}, "ready", "1"),
    ({"count": 1, "ready": True}, "ready", "parts"),
    ({"count": 1, "weight": 3}, "weight", "correct the name"),
    ({"count": 1, "parts": 3}, "parts", "3"),
    ({"count": 1, "parts": [3]}, "parts.0", "3"),
    ({"count": 1, "numbers": "12"}, "numbers", "'12'"),
    ({"count": 1, "numbers": [1, "2"]}, "numbers.1", "'2'"),
]
INSIDE = [
    ({"share": "1"}, "share", "'1'"),
    ({"share": 1.5}, "share", "1.5"),
    ({"share": math.nan}, "share", "nan"),
    ({"share": math.inf}, "share", "inf"),
    ({"shares": 1}, "shares", "correct the name"),
]


@pytest.mark.parametrize(("values", "field", "value"), WRONG)
def test_a_wrong_value_is_named_in_one_sentence(values, field, value):
    with pytest.raises(ValueError, match=f"^{field}.*{value}.*$"):
        Whole(**values)


@pytest.mark.parametrize(("values", "field", "value"), INSIDE)
def test_a_number_that_is_none_is_refused(values, field, value):
    with pytest.raises(ValueError, match=f"^{field}.*{value}.*$"):
        Part(**values)


@pytest.mark.parametrize(
    ("values", "field", "value"),
    [*WRONG, *(({"count": 1, "parts": [{}, part]}, f"parts.1.{field}", value) for part, field, value in INSIDE)],
)
def test_a_file_is_refused_with_its_name_and_the_cure(tmp_path, values, field, value):
    path = tmp_path / "whole.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"^whole.json: {field}.*{value}.*; correct or delete it$"):
        read_checked(Whole, path)


def test_a_value_without_a_name_is_named_too():
    for values, says in (((3, 1), "ready .*got 1"), ((3, True, [], [0.5]), r"numbers.0 .*got 0.5")):
        with pytest.raises(ValueError, match=f"^{says}"):
            Whole(*values)
    with pytest.raises(TypeError, match="'count'"):
        Whole(3, count=3)


def test_a_long_value_is_cut():
    with pytest.raises(ValueError, match=r"count .*12") as error:
        Whole("12" * 5000)
    assert len(str(error.value)) < LONGEST + 100


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ""),
        (b'{"count": 3', ""),
        (b"\xff\xfe", ""),
        (b'{"count": 3, "parts": [{"share": 0, "share": 1}]}', "'share'"),
        (b"[" * 100_000 + b"]" * 100_000, ""),
        (b'{"count": ' + b"9" * 5000 + b"}", ""),
    ],
    ids=["empty", "half", "no text", "a name twice", "nested", "a number without end"],
)
def test_what_is_no_json_is_named_with_its_cure(tmp_path, content, says):
    path = tmp_path / "whole.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^whole.json: .*{says}.*; correct or delete it$"):
        read_checked(Whole, path)


def test_a_file_that_is_missing_or_none_is_named_with_its_cure(tmp_path):
    for name in ("missing.json", "."):
        with pytest.raises(ValueError, match=rf"^{(tmp_path / name).name}: .*; correct"):
            read_checked(Whole, tmp_path / name)


def test_content_nested_deeper_than_is_read_is_refused(tmp_path):
    """Python reads deeper than pydantic does."""
    path = tmp_path / "whole.json"
    path.write_text('{"count": ' + "[" * 500 + "]" * 500 + "}")
    with pytest.raises(ValueError, match=r"^whole.json: \S.*; correct or delete it$"):
        read_checked(Whole, path)


def test_twins():
    assert duplicates([3, 1, 3, 2, 1, 3]) == [3, 1, 3]
    assert duplicates("abc") == []
