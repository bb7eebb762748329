"""Bulk: many new records in one request."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from ....chassis.contracts.context import current
from ....chassis.web.problems import STATUS, ValidationProblem, validation_problem
from ..database import Database
from .bodies import checked
from .refusals import FAILED, refused
from .rows import Values
from .writing import Writing

MAX_ITEMS = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""Longest body: 10,000 records of 800 bytes, which are read in about 60 ms, in one piece."""

_AT_ONCE = 100
"""Items between two pauses, in which other requests get their turn. More make nothing faster."""
_MAX_ERRORS = 3
"""Errors that are named of each item."""

_MAX_CONFLICTS = 100
"""Items that are looked for once one has contradicted other records: each costs a statement of its own."""

type Mode = Literal["all", "each"]
type Errors = Sequence[Mapping[str, Any]]
type Outcome = dict[str, Any]


class BulkBody(BaseModel):
    """Items that are checked one by one, and whether all are refused where one is wrong."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    items: list[Any] = Field(min_length=1, max_length=MAX_ITEMS)
    mode: Mode = "all"


class Bulk:
    """Creates records by the thousand."""

    def __init__(self, writing: Writing) -> None:
        """Take what knows the resource."""
        self._writing = writing

    async def create(self, database: Database, body: BulkBody) -> list[Outcome]:
        """Return what became of each item, in order.

        In the mode `all` everything is one transaction. In the mode `each` it is one for every hundred items, so that
        a request full of conflicts does not keep others from writing.

        Raises:
            ValidationProblem: in the mode `all`, if items are wrong, of which every one is named, or contradict other
                records, of which a hundred are.
        """
        wrong, rows = await self._checked(body.items)
        parts = (dict(part) for part in batched(rows.items(), _AT_ONCE))
        if body.mode == "all":
            _refuse(wrong)
            async with database.writing() as connection:
                for part in parts:
                    wrong |= await self._new(connection, part, database.section.replay_hours)
                    if len(wrong) >= _MAX_CONFLICTS:
                        break
                _refuse(wrong)
        else:
            for part in parts:
                async with database.writing() as connection:
                    wrong |= await self._new(connection, part, database.section.replay_hours)
        return [
            {"status": 201, "id": rows[index]["id"]} if index not in wrong else _failed(wrong[index])
            for index in range(len(body.items))
        ]

    async def _checked(self, items: Sequence[Any]) -> tuple[dict[int, Errors], dict[int, Values]]:
        """Return what is wrong, and the rows of all other items, by the place of the item."""
        wrong, rows = dict[int, Errors](), dict[int, Values]()
        at, model = self._writing.now(), self._writing.resource.body
        for part in batched(enumerate(items), _AT_ONCE):
            for index, item in part:
                try:
                    rows[index] = self._writing.rows.new(checked(model, item), at, index)
                except ValidationError as error:
                    wrong[index] = validation_problem(error, above=f"/items/{index}").errors[:_MAX_ERRORS]
                except ValidationProblem as problem:
                    errors = [{**error, "pointer": f"/items/{index}{error['pointer']}"} for error in problem.errors]
                    wrong[index] = errors[:_MAX_ERRORS]
            await asyncio.sleep(0)
        return wrong, rows

    async def _new(
        self, connection: AsyncConnection, rows: dict[int, Values], replay_hours: float
    ) -> dict[int, Errors]:
        """Add rows that no earlier attempt under the same idempotency key has added; return what is wrong."""
        if current().idempotency_key is not None:
            await self._writing.free_ids(connection, list(rows.values()), replay_hours)
            made = await self._writing.made_earlier(connection, list(rows.values()))
            rows = {index: row for index, row in rows.items() if row["id"] not in made}
        return await self._inserted(connection, rows)

    async def _inserted(self, connection: AsyncConnection, rows: dict[int, Values]) -> dict[int, Errors]:
        """Add rows; where the tables refuse, halve them until it is known which ones they are."""
        if not rows:
            return {}
        try:
            async with connection.begin_nested():
                await self._writing.insert(connection, list(rows.values()))
        except FAILED as error:
            first = next(iter(rows))
            errors = refused(error, self._writing.table, above=f"/items/{first}")
            if not errors:
                raise
            if len(rows) == 1:
                return {first: errors}
        else:
            return {}
        places = list(rows)
        middle = len(places) // 2
        wrong = dict[int, Errors]()
        for half in (places[:middle], places[middle:]):
            wrong |= await self._inserted(connection, {index: rows[index] for index in half})
        return wrong


def _refuse(wrong: Mapping[int, Errors]) -> None:
    if wrong:
        errors = [error for index in sorted(wrong) for error in wrong[index]]
        raise ValidationProblem(errors, most=len(errors))


def _failed(errors: Errors) -> Outcome:
    first = errors[0]
    error = {"code": first["code"], "message": first["message"], "retryable": False, "errors": list(errors)}
    return {"status": STATUS[first["code"]], "error": error}
