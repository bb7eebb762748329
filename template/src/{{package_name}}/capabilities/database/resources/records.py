"""Records: rows of a resource's table in the form in which callers read them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Column, TypeDecorator, inspect

from ....chassis.contracts.json import Json, timestamp
from .resource import Resource

type Convert = Callable[[Any], Json]


class Records:
    """What is the same for all records of one resource; made once, and used for every row."""

    def __init__(self, resource: Resource) -> None:
        """Find the column behind every field of the record.

        Raises:
            TypeError: if a field has no column, or its type no form in JSON.
        """
        columns: Mapping[str, Column[Any]] = dict(inspect(resource.table).columns.items())
        self.converts: Mapping[str, Convert | None] = {
            name: _convert(resource, name, columns.get(name)) for name in resource.record.model_fields
        }
        """The fields of a record, in order, with what turns a value into JSON; None where it is JSON already."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields of a record, in order."""
        return tuple(self.converts)

    def document(self, row: Mapping[str, Any], fields: Iterable[str] | None = None) -> dict[str, Json]:
        """Return one record; what is None is left out.

        `row` maps the names of columns to values: `Row._mapping`, or what is about to be written.
        """
        names = self.names if fields is None else fields
        return self.documents([[row[name] for name in names]], names)[0]

    def documents(self, rows: Iterable[Sequence[Any]], names: Iterable[str]) -> list[dict[str, Json]]:
        """Return many records; every row begins with the values of the named fields, in their order."""
        pairs = [(name, self.converts[name]) for name in names]
        return [
            {
                name: value if convert is None else convert(value)
                for (name, convert), value in zip(pairs, row, strict=False)
                if value is not None
            }
            for row in rows
        ]

    @staticmethod
    def etag(row: Mapping[str, Any]) -> str:
        """Return the strong validator of a row, quotes included (RFC 9110, section 8.8.3)."""
        return f'"{row["id"]}.{row["version"]}"'


def json_of(value: Any) -> Json:
    """Return the JSON form of a value that can be sorted by."""
    if isinstance(value, datetime):
        return timestamp(value)
    return value.isoformat() if isinstance(value, date) else value


def _convert(resource: Resource, name: str, column: Column[Any] | None) -> Convert | None:
    if column is None:
        message = f"{resource.name}: {resource.table.__name__} has no column for the field {name!r} of the record"
        raise TypeError(message)
    type_ = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    kind = type_.python_type
    if isinstance(type_, JSON) or kind in (bool, int, float, str):
        return None
    for base, convert in _CONVERTS:
        if issubclass(kind, base):
            return convert
    message = f"{resource.name}: the type {kind.__name__} of the column {name!r} has no form in JSON"
    raise TypeError(message)


_CONVERTS: Sequence[tuple[type, Convert]] = (
    (datetime, timestamp),
    (date, date.isoformat),
    (Decimal, str),
    (UUID, str),
    (Enum, lambda value: value.value),
)
