"""Reading: records of one resource, one by one and in parts of the collection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....chassis.contracts.errors import RequestError
from ....chassis.contracts.json import Json
from ..database import Database
from .kinds import is_storable
from .pages import Following, Numbered, cursor
from .query import Grammar, Query
from .records import Records
from .resource import Resource
from .statements import Statements, names_of


@dataclass(frozen=True, slots=True)
class Part:
    """Some records of a collection; `total` is counted for pages, `next` continues what has more to come."""

    items: Sequence[Mapping[str, Json]]
    total: int | None = None
    next: str | None = None


class Reader:
    """Reads one resource; shared by all requests."""

    def __init__(self, resource: Resource) -> None:
        """Prepare what is the same for every request.

        Raises:
            TypeError: if the resource names columns that cannot be asked for.
        """
        self.resource = resource
        self.records = Records(resource)
        self.grammar = Grammar(resource, self.records)
        self.statements = Statements(resource, self.grammar)

    async def one(self, database: Database, id_: str, *, include_deleted: bool = False) -> Mapping[str, Any]:
        """Return the row of one record with its version.

        Raises:
            RequestError: `not_found`, if there is none, or it is deleted.
        """
        statement = self.statements.one(id_, dict.fromkeys((*self.records.names, "version", "deleted_at")))
        row: Mapping[str, Any] | None = None
        if is_storable(id_):
            async with database.reading() as connection:
                row = (await connection.execute(statement)).mappings().first()
        if row is None or (row["deleted_at"] is not None and not include_deleted):
            message = "No record has this id."
            raise RequestError(message, code="not_found", location="path", pointer="/id")
        return row

    async def page(self, database: Database, query: Query, part: Numbered) -> Part:
        """Return one page by its number; one that lies behind the last is empty."""
        statement = self.statements.page(query, database.dialect, limit=part.size, offset=part.offset)
        async with database.reading() as connection:
            rows = (await connection.execute(statement)).all()
            total: int = rows[0][-1] if rows else 0
            if part.offset and not rows:
                total = (await connection.execute(self.statements.count(query, database.dialect))).scalar_one()
        return Part(self.records.documents(rows, query.fields), total=total)

    async def following(self, database: Database, query: Query, part: Following) -> Part:
        """Return the records after a position, and the cursor that leads on; None is for the end."""
        rows: list[Sequence[Any]] = []
        async with database.reading() as connection:
            for statement in self.statements.following(query, database.dialect, part.after, part.size + 1):
                rows += (await connection.execute(statement)).all()
                if len(rows) > part.size:
                    break
        shown, on = rows[: part.size], None
        if len(rows) > part.size:
            last = dict(zip(names_of(query), shown[-1], strict=True))
            on = cursor([last[key.name] for key in query.keys], query)
        return Part(self.records.documents(shown, query.fields), next=on)
