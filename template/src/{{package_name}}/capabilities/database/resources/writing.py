"""Writing: creates, changes, deletes and restores the records of a resource, each with its audit entry.

A deleted record stays in its table, hidden, until it is restored or purged. What a purge leaves is its audit.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel
from sqlalchemy import JSON, Table, bindparam, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ....chassis.clock import SystemClock
from ....chassis.contracts.clock import Clock
from ....chassis.contracts.context import current
from ....chassis.contracts.json import Json
from ..database import Database
from . import audit
from .audit import Action, Change
from .etags import Tags, require_match
from .records import Records
from .refusals import not_found, refusals
from .resource import Resource

type Row = Mapping[str, Any]
type Values = dict[str, Any]


class Written(NamedTuple):
    """A record after a change."""

    document: dict[str, Json]
    etag: str


class Writing:
    """The changes of one resource; each is one transaction."""

    def __init__(self, resource: Resource, clock: Clock | None = None) -> None:
        """Prepare the statements.

        Raises:
            TypeError: if a field of the body has no column, or a field of the record comes from nowhere.
        """
        self.resource = resource
        self.table: Table = resource.table.metadata.tables[resource.table.__tablename__]
        self.records = Records(resource)
        self._clock = clock or SystemClock()
        self._fields = frozenset(resource.body.model_fields)
        _check(resource, self.table)
        self._json = {name for name in self._fields if isinstance(self.table.columns[name].type, JSON)}
        this = (self.table.c.id == bindparam("this_id"), self.table.c.version == bindparam("this_version"))
        self._select = select(self.table).where(this[0])
        self._insert = insert(self.table).inline()
        self._update = update(self.table).where(*this)
        self._delete = delete(self.table).where(*this)

    async def create(self, database: Database, body: BaseModel) -> Written:
        """Add a record; a repeat under the same idempotency key gets what the first attempt made.

        Raises:
            ValidationProblem: `conflict`, if the record contradicts others, or the key was used for another one.
        """
        row = self.new_row(body, self.now())
        with refusals(self.table):
            try:
                async with database.writing() as connection:
                    return Written((await self.insert(connection, [row]))[0], self.records.etag(row))
            except exc.IntegrityError:
                if current().idempotency_key is None:
                    raise
                async with database.reading() as connection:
                    earlier = await self.made_earlier(connection, [row])
                document = earlier.get(row["id"])
                if document is None:
                    raise
                return Written(document, self.records.etag(row))

    async def replace(self, database: Database, id_: str, body: BaseModel, asked: Tags) -> Written:
        """Put a whole body in the place of a record's; one that changes nothing leaves the version as it is.

        Raises:
            RequestError: `not_found` or `precondition_failed`.
            ValidationProblem: `conflict`.
        """
        values = self._values(body)
        return await self._change(database, id_, asked, Action.REPLACE, lambda _: values)

    async def merge(self, database: Database, id_: str, patch: Mapping[str, Any], asked: Tags) -> Written:
        """Change the fields that a merge patch names; what comes of it has to be a valid body.

        Raises:
            RequestError: `not_found` or `precondition_failed`.
            ValidationProblem: `conflict`, or what is wrong with the result.
        """
        return await self._change(database, id_, asked, Action.UPDATE, lambda row: self._patched(row, patch))

    async def delete(self, database: Database, id_: str, asked: Tags) -> Written:
        """Hide a record.

        Raises:
            RequestError: `not_found`, also for one that is deleted already, or `precondition_failed`.
        """
        return await self._change(database, id_, asked, Action.DELETE, lambda _: {"deleted_at": self.now()})

    async def restore(self, database: Database, id_: str, asked: Tags) -> Written:
        """Show a deleted record again.

        Raises:
            RequestError: `not_found`, `conflict` for one that is not deleted, or `precondition_failed`.
        """
        return await self._change(database, id_, asked, Action.RESTORE, _restored)

    async def purge(self, database: Database, id_: str, asked: Tags) -> None:
        """Remove a record for good, deleted or not.

        Raises:
            RequestError: `not_found` or `precondition_failed`.
            ValidationProblem: `conflict`, if others refer to it.
        """
        with refusals(self.table):
            async with database.writing() as connection:
                gone = 0
                while not gone:
                    row = await self._found(connection, id_, asked)
                    gone = (await connection.execute(self._delete, _this(row))).rowcount
                await self._audit(connection, Action.PURGE, Change(id_, self.records.document(row), None), self.now())

    def now(self) -> datetime:
        """Return the time of a change."""
        return self._clock.now()

    def new_row(self, body: BaseModel, at: datetime, index: int | None = None) -> Values:
        """Return the row of a new record; `index` is its place where several are made by one request."""
        id_ = self._new_id(index)
        return {
            "id": id_,
            "version": 1,
            "created_at": at,
            "updated_at": at,
            "deleted_at": None,
            **self._values(body),
        }

    async def insert(self, connection: AsyncConnection, rows: Sequence[Values]) -> list[dict[str, Json]]:
        """Add new rows, with their audit, and return the records."""
        names = self.records.names
        documents = self.records.documents(([row[name] for name in names] for row in rows), names)
        await connection.execute(self._insert, rows)
        changes = [Change(row["id"], None, document) for row, document in zip(rows, documents, strict=True)]
        await audit.write(connection, self.resource.name, Action.CREATE, changes, rows[0]["created_at"])
        return documents

    async def made_earlier(self, connection: AsyncConnection, rows: Sequence[Values]) -> dict[str, dict[str, Json]]:
        """Return, by id, the records that an earlier attempt made from the same bodies.

        They are returned as they were then: what has become of them since is not this request's concern.
        """
        created = await audit.created(connection, self.resource.name, [row["id"] for row in rows])
        return {
            row["id"]: dict(then)
            for row in rows
            if (then := created.get(row["id"])) is not None and self._content(then) == self._content(self._shown(row))
        }

    def _shown(self, row: Row) -> Mapping[str, Json]:
        return self.records.document(row)

    def _content(self, document: Mapping[str, Json]) -> Mapping[str, Json]:
        return {name: value for name, value in document.items() if name in self._fields}

    async def _change(
        self, database: Database, id_: str, asked: Tags, action: Action, revise: Callable[[Row], Values]
    ) -> Written:
        with refusals(self.table):
            async with database.writing() as connection:
                written = None
                while written is None:
                    row = await self._found(connection, id_, asked)
                    if row["deleted_at"] is not None and action is not Action.RESTORE:
                        raise not_found()
                    written = await self._written(connection, action, row, revise(row))
        return written

    async def _found(self, connection: AsyncConnection, id_: str, asked: Tags) -> Row:
        row: Row | None = (await connection.execute(self._select, {"this_id": id_})).mappings().one_or_none()
        if row is None:
            raise not_found()
        require_match(asked, self.records.etag(row))
        return row

    async def _written(self, connection: AsyncConnection, action: Action, row: Row, values: Values) -> Written | None:
        """Write new values over a row; return None if somebody else was faster."""
        if all(row[name] == value for name, value in values.items()):
            return Written(self.records.document(row), self.records.etag(row))
        at = self.now()
        values = {**values, "version": row["version"] + 1, "updated_at": at}
        if not (await connection.execute(self._update, {**values, **_this(row)})).rowcount:
            return None
        after = {**row, **values}
        document = self.records.document(after)
        await self._audit(connection, action, Change(row["id"], self.records.document(row), document), at)
        return Written(document, self.records.etag(after))
