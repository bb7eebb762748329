"""Kinds: what callers may hold a column against, told from the type of the column."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Date, DateTime, Enum, Float, Integer, SmallInteger, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from ....chassis.contracts.json import Json

type Value = bool | int | float | str | date

MAX_VALUE_CHARS = 1000
"""Longest text that a column is held against."""

_UNKEPT = re.compile("[\x00\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,32}(\.[0-9]{1,32})?([eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(rf"({_DATE.pattern})[Tt]([0-9:]{{8}})(\.[0-9]{{1,9}})?([Zz]|[+\- ][0-9]{{2}}:[0-9]{{2}})")
"""Source: RFC 3339, section 5.6. The `+` of an offset reads as a space where it stands unescaped in a query."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one sort of column takes; `of_json` and `of_text` raise ValueError or OverflowError for anything else.

    Columns with an `of_text` have an order, and thereby ranges; `listed` ones hold lists of texts, and are held against
    their members.
    """

    expected: str
    schema: Mapping[str, Json]
    of_json: Callable[[Json], Value]
    of_text: Callable[[str], Value] | None = None
    listed: bool = False


def kind_of(column: Column[Any]) -> Kind:
    """Return the kind of a column.

    Raises:
        TypeError: for a type that callers cannot state values of.
    """
    type_: TypeEngine[Any] = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    for base, kind in _KINDS:
        if isinstance(type_, base) and not isinstance(type_, Enum):
            return kind
    message = f"callers cannot state values of {column}: its type is {type_!r}"
    raise TypeError(message)


def is_storable(text: str) -> bool:
    """Tell whether both engines keep a text as it is: PostgreSQL has no NUL, and UTF-8 no halves of characters."""
    return _UNKEPT.search(text) is None


def _bool_of(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _text_of(value: Json) -> str:
    if isinstance(value, str) and len(value) <= MAX_VALUE_CHARS and is_storable(value):
        return value
    raise ValueError


def _whole(bits: int) -> Kind:
    end = 1 << (bits - 1)

    def of_json(value: Json) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and -end <= value < end:
            return value
        raise ValueError

    def of_text(text: str) -> int:
        return of_json(int(_matching(_WHOLE, text)[0]))

    schema: Mapping[str, Json] = {"type": "integer", "minimum": -end, "maximum": end - 1}
    return Kind(f"a whole number of {bits} bits", schema, of_json, of_text)


def _float_of(value: Json) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number):
            return number + 0.0  # -0.0 is 0.0
    raise ValueError


def _float_of_text(text: str) -> float:
    return _float_of(float(_matching(_NUMBER, text)[0]))


def _moment_of(value: Json) -> datetime:
    text = _text_of(value)
    if _DATE.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    day, time, fraction, offset = _matching(_TIME, text).groups(default="")
    whole = f"{day}T{time}{fraction}{offset.upper().replace(' ', '+')}"
    return datetime.fromisoformat(whole).astimezone(UTC)


def _date_of(value: Json) -> date:
    return date.fromisoformat(_matching(_DATE, _text_of(value))[0])


def _matching(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError
    return found


_TIMES = "a date such as 2025-01-31 (its first moment, UTC) or a time such as 2025-01-31T12:00:00Z"
_TEXT = f"a text of at most {MAX_VALUE_CHARS} characters"
_DAY: dict[str, Json] = {"type": "string", "format": "date"}
_SHORT: Mapping[str, Json] = {"type": "string", "maxLength": MAX_VALUE_CHARS}
_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (Boolean, Kind("true or false", {"type": "boolean"}, _bool_of)),
    (BigInteger, _whole(64)),
    (SmallInteger, _whole(16)),
    (Integer, _whole(32)),
    (Float, Kind("a number", {"type": "number"}, _float_of, _float_of_text)),
    (DateTime, Kind(_TIMES, {"anyOf": [_DAY, {"type": "string", "format": "date-time"}]}, _moment_of, _moment_of)),
    (Date, Kind("a date such as 2025-01-31", _DAY, _date_of, _date_of)),
    (JSON, Kind(f"{_TEXT} that the list holds", _SHORT, _text_of, listed=True)),
    (String, Kind(_TEXT, _SHORT, _text_of, _text_of)),
)
