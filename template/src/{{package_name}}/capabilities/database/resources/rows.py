"""Rows: what is written into a resource's table, made from checked bodies."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import JSON, Table

from ....chassis.contracts.context import id_of_key
from ....chassis.contracts.identity import new_id
from ....chassis.web.problems import validation_problem
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
        """Return what a body states, by column."""
        values = body.model_dump()
        if not self._json:
            return values
        return values | body.model_dump(mode="json", include=self._json, exclude_none=True)

    def patched(self, row: Row, patch: Mapping[str, Any]) -> Values:
        """Return what a row's body becomes under a merge patch.

        Raises:
            ValidationProblem: if that is no valid body.
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

    def _new_id(self, index: int | None) -> str:
        """Return a new id, or under an idempotency key the one that every attempt of the request comes to."""
        resource, number = self._resource, "" if index is None else str(index)
        return id_of_key(resource.prefix, resource.name, number) or new_id(resource.prefix)
