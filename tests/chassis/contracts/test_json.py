"""JSON as the contract asks for it: absent when unknown, times in UTC with six decimals."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest

from object_service.chassis.contracts.json import timestamp, timestamp_of, to_json


class _Colour(StrEnum):
    RED = "red"


class _Size(IntEnum):
    BIG = 3


class _Shape(Enum):
    ROUND = "round"


@dataclass(frozen=True)
class _Inner:
    known: int | None = None


@dataclass(frozen=True)
class _Outer:
    name: str
    unknown: str | None = None
    inner: _Inner = field(default_factory=_Inner)
    data: dict[str, Any] = field(default_factory=dict)


def test_an_unknown_field_is_absent() -> None:
    """A field that is None is left out, at every depth."""
    assert {"name": "a", "inner": {}, "data": {}} == to_json(_Outer("a"))


def test_none_inside_data_of_the_caller_stays() -> None:
    """Mappings and sequences are data: their None means null and is kept."""
    value = _Outer("a", data={"x": None, "y": [None, {"z": None}]}, inner=_Inner(1))

    assert {"name": "a", "inner": {"known": 1}, "data": {"x": None, "y": [None, {"z": None}]}} == to_json(value)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        ("red", _Colour.RED),
        (3, _Size.BIG),
        ("round", _Shape.ROUND),
        ([1, "a", None, True, 0.5], (1, "a", None, True, 0.5)),
        ({"1": "red"}, {1: _Colour.RED}),
    ],
    ids=["str-enum", "int-enum", "enum", "tuple", "keys"],
)
def test_values_become_plain_types(expected: object, value: object) -> None:
    """Enums give their value, tuples become lists, keys become text."""
    found = to_json(value)

    assert (expected, type(expected)) == (found, type(found))


@pytest.mark.parametrize(
    ("expected", "moment"),
    [
        ("2026-11-21T01:02:03.000000Z", datetime(2026, 11, 21, 1, 2, 3, tzinfo=UTC)),
        ("2026-11-21T01:02:03.000100Z", datetime(2026, 11, 21, 1, 2, 3, 100, tzinfo=UTC)),
        ("0999-01-02T03:04:05.000000Z", datetime(999, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-11-20T23:02:03.000000Z", datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))),
    ],
    ids=["whole-seconds", "microseconds", "early-year", "other-zone"],
)
def test_times_have_six_decimals_and_a_z(expected: str, moment: datetime) -> None:
    """Times are written in UTC, whatever zone they came in."""
    assert expected == timestamp(moment)
    assert [expected] == to_json([moment])


def test_seconds_are_written_like_moments() -> None:
    """Seconds since 1970 have the same form."""
    assert "1970-01-01T00:00:01.500000Z" == timestamp_of(1.5)


@pytest.mark.parametrize("value", [object(), b"a", {1}, 1j], ids=lambda value: type(value).__name__)
def test_types_without_an_agreed_form_are_refused(value: object) -> None:
    """Nothing is written by accident."""
    with pytest.raises(TypeError, match=type(value).__name__):
        to_json({"a": [value]})


def test_a_dataclass_itself_has_no_form() -> None:
    """The class of a value is no value."""
    with pytest.raises(TypeError, match="type has no JSON form"):
        to_json(_Inner)
