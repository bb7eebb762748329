"""Rows: what is written into a resource's table, made from checked bodies."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import JSON, BigInteger, Column, Enum, Integer, SmallInteger, String, Table, TypeDecorator

from ....chassis.contracts.context import id_of_key
from ....chassis.contracts.identity import new_id
from ....chassis.web.problems import ValidationProblem, validation_problem
from ..tables import ResourceTable
from .bodies import checked, merged
from .resource import Resource

type Row = Mapping[str, Any]
type Values = dict[str, Any]


class Rows:
    """What is the same for all rows of one resource."""

    def __init__(self, resource: Resource, table: Table) -> None:
        """Hold the declaration against the table.

        Raises:
            TypeError: if a field of the body has no column, or a field of the record comes from nowhere.
        """
        body, record = set(resource.body.model_fields), set(resource.record.model_fields)
        own = set(ResourceTable.__annotations__)
        for names, reason in (
            (body - set(table.columns.keys()), "the body has fields without a column"),
            (body & own, "the body has fields that the service fills"),
            (record - body - own, "the record has fields that nothing fills"),
        ):
            if names:
                message = f"{resource.name}: {reason}: {', '.join(sorted(names))}"
                raise TypeError(message)
        self._resource = resource
        self._fields = body
        self._json = {name for name in body if isinstance(table.columns[name].type, JSON)}
        self._longest = {name: most for name in body if (most := _chars(table.columns[name]))}
        self._bits = {name: bits for name in body if (bits := _bits(table.columns[name]))}

    def new(self, body: BaseModel, at: datetime, index: int | None = None) -> Values:
        """Return the row of a new record; `index` is its place where one request makes several."""
        return {
            "id": self._new_id(index),
            "version": 1,
            "created_at": at,
            "updated_at": at,
            "deleted_at": None,
            **self.values(body),
        }

    def values(self, body: BaseModel) -> Values:
        """Return what a body states, by column.

        Raises:
            ValidationProblem: if a value does not fit its column. Not every engine looks.
        """
        values = body.model_dump()
        self._require_fitting(values)
        if not self._json:
            return values
        return values | body.model_dump(mode="json", include=self._json, exclude_none=True)

    def patched(self, row: Row, patch: Mapping[str, Any]) -> Values:
        """Return what a row's body becomes under a merge patch.

        Raises:
            ValidationProblem: if that is no valid body, or does not fit.
        """
        model = self._resource.body
        now = model.model_construct(**{name: row[name] for name in self._fields})
        document = now.model_dump(mode="json", exclude_none=True, warnings=False)
        try:
            return self.values(checked(model, merged(document, patch)))
        except ValidationError as error:
            raise validation_problem(error) from None

    def stated(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the part of a record that came from a body."""
        return {name: value for name, value in document.items() if name in self._fields}

    def same(self, row: Row, values: Mapping[str, Any]) -> bool:
        """Tell whether a row has these values already."""
        return all(
            alike(row[name], value) if name in self._json else row[name] == value for name, value in values.items()
        )

    def next_id(self, id_: str) -> str:
        """Return the id for what a key stands for now, where it stood for this one before."""
        prefix = self._resource.prefix
        return id_of_key(prefix, self._resource.name, id_) or new_id(prefix)

    def _require_fitting(self, values: Values) -> None:
        wrong = {
            name: f"Expected at most {most} characters."
            for name, most in self._longest.items()
            if isinstance(text := values[name], str) and len(text) > most
        }
        wrong |= {
            name: f"Expected a whole number of {bits} bits."
            for name, bits in self._bits.items()
            if isinstance(number := values[name], int) and not -1 << (bits - 1) <= number < 1 << (bits - 1)
        }
        if wrong:
            raise ValidationProblem(
                [
                    {"in": "body", "pointer": f"/{name}", "code": "invalid_request", "message": message}
                    for name, message in wrong.items()
                ]
            )

    def _new_id(self, index: int | None) -> str:
        """Return a new id, or under an idempotency key the one that every attempt of the request comes to."""
        resource, number = self._resource, "" if index is None else str(index)
        return id_of_key(resource.prefix, resource.name, number) or new_id(resource.prefix)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same: true is not 1, and 1.0 is, however an engine writes a number."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
        case list(), list():
            return len(one) == len(other) and all(map(alike, one, other))
        case (float() as number, int() as whole) | (int() as whole, float() as number):
            return not isinstance(whole, bool) and Decimal(repr(number)) == whole
        case _:
            return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _chars(column: Column[Any]) -> int | None:
    """Return how long a text of the column may be; None for no limit, and where it holds no texts."""
    kept = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return kept.length if isinstance(kept, String) and not isinstance(kept, Enum) else None


def _bits(column: Column[Any]) -> int | None:
    """Return the size of the column's whole numbers; None where it holds none."""
    sizes = ((SmallInteger, 16), (BigInteger, 64), (Integer, 32))
    return next((bits for type_, bits in sizes if isinstance(column.type, type_)), None)
