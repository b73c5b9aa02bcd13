"""Data that says what it may be: types, ranges and contradictions stand at the fields, and a failure is one sentence.

pydantic checks. Everything is strict: "5" and True do not pass for numbers, NaN and infinity are refused, and so is a
field that nobody declared.
"""

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
LONGEST = 60  # characters of a value that a sentence repeats

Kind = TypeVar("Kind")
Item = TypeVar("Item")

Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Percent = Annotated[float, Field(ge=0, le=100)]
Several = Annotated[tuple[Item, ...], Field(strict=False)]  # a list or a range is welcome, its items are strict


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def checked(cls: type[Kind]) -> type[Kind]:
    """Make a frozen dataclass whose fields are checked when it is made: ValueError in one sentence."""
    made = dataclass(frozen=True, config=STRICT)(cls)
    build, names = made.__init__, [field.name for field in fields(made)]

    @functools.wraps(build)
    def __init__(self, *values, **named):
        try:
            build(self, *values[len(names) :], **dict(zip(names, values, strict=False)), **named)
        except ValidationError as error:
            raise ValueError(error_text(error)) from None

    made.__init__ = __init__
    return made


def parsed(kind: type[Kind], content: Any) -> Kind:
    """Return content, as `read_json` gives it, as a `kind`. Raises ValueError: field, what is right, value."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(content))
    except ValidationError as error:
        raise ValueError(error_text(error)) from None


def read_json(path: str | Path) -> Any:
    """Read a JSON file, in which no name stands twice. Raises ValueError with what is wrong."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except FileNotFoundError:
        raise ValueError("the file is missing") from None
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None
    except RecursionError:
        raise ValueError("the file is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the file is no JSON ({error})") from None


def error_text(error: ValidationError) -> str:
    """Say the first thing that pydantic found wrong: the field, what is right, and the value."""
    first = error.errors(include_url=False)[0]
    kind, value = first["type"], first["input"]
    name = ".".join(str(part) for part in first["loc"])
    if kind == "value_error":  # ours, of fields that contradict each other: it names them
        return f"{name}: {first['ctx']['error']}" if name else str(first["ctx"]["error"])
    if kind == "missing" or kind == "missing_argument":
        return f"{name} is missing"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{name} is not known here: correct the name, or leave it out"
    says = re.sub(r"^\w+ should", "must", first["msg"]).partition(" after validation")[0]
    written = repr(value)
    return f"{name} {says}, got {written if len(written) <= LONGEST else written[:LONGEST] + '…'}".lstrip()


def duplicates(values: Iterable[Item]) -> list[Item]:
    """Return the values that stand there more than once."""
    seen: set[Item] = set()
    return [value for value in values if value in seen or seen.add(value)]


def _without_duplicates(pairs):
    if again := duplicates(name for name, _ in pairs):
        raise ValueError(f"{again[0]!r} stands there twice")
    return dict(pairs)
