"""JSON as this service writes it: absent when unknown, times in UTC with six decimals."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


def timestamp(moment: datetime) -> str:
    """Format an aware time as RFC 3339 in UTC, `Z`, always six decimals."""
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:-6]}Z"


def timestamp_of(seconds: float) -> str:
    """Format seconds since 1970 like `timestamp`."""
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def to_json(value: object) -> Any:
    """Turn a contract value into plain JSON types.

    A field of a dataclass that is None is left out; None inside caller's data (mappings, sequences) stays.

    Raises:
        TypeError: for a type that has no agreed JSON form.
    """
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return value.value
        case datetime():
            return timestamp(value)
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
            return {name: to_json(item) for name, item in fields if item is not None}
        case _:
            message = f"{type(value).__name__} has no JSON form here"
            raise TypeError(message)
