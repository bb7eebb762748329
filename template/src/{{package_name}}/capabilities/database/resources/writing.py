"""Writing: creates, changes, deletes and restores the records of a resource, each with its audit entry.

A deleted record stays in its table, hidden, until it is restored or purged. What a purge leaves is the audit.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy import Table, bindparam, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ....chassis.clock import SystemClock
from ....chassis.contracts.clock import Clock
from ....chassis.contracts.context import current
from ....chassis.contracts.errors import RequestError
from ..database import Database
from . import audit
from .audit import Action, Change, Document
from .etags import Tags, require_match
from .kinds import is_storable
from .records import Records
from .refusals import not_found, refusals
from .resource import Resource
from .rows import Row, Rows, Values, alike


class Written(NamedTuple):
    """A record after a change."""

    document: Document
    etag: str


class Writing:
    """The changes of one resource; each is one transaction."""

    def __init__(self, resource: Resource, clock: Clock | None = None) -> None:
        """Prepare the statements.

        Raises:
            TypeError: if the declaration and the table do not fit.
        """
        self.resource = resource
        self.table: Table = resource.table.metadata.tables[resource.table.__tablename__]
        self.records = Records(resource)
        self.rows = Rows(resource, self.table)
        self._clock = clock or SystemClock()
        known = (self.table.c.id.in_(bindparam("ids", expanding=True)), self.table.c.created_at < bindparam("limit"))
        self._select_expired = select(self.table.c.id).where(*known)
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
        row = self.rows.new(body, self.now())
        first_id = row["id"]
        with refusals(self.table):
            try:
                return await self._created(database, row)
            except exc.IntegrityError:
                if current().idempotency_key is None:
                    raise
                async with database.reading() as connection:
                    await self.free_ids(connection, [row], database.section.replay_hours)
                    earlier = await self.made_earlier(connection, [row])
                if row["id"] in earlier:
                    return Written(earlier[row["id"]], self.records.etag(row))
                if row["id"] == first_id:
                    raise
            return await self._created(database, row)

    async def _created(self, database: Database, row: Values) -> Written:
        async with database.writing() as connection:
            (document,) = await self.insert(connection, [row])
        return Written(document, self.records.etag(row))

    async def replace(self, database: Database, id_: str, body: BaseModel, asked: Tags) -> Written:
        """Put a whole body in the place of a record's; one that changes nothing leaves the version as it is.

        Raises:
            RequestError: `not_found` or `precondition_failed`.
            ValidationProblem: `conflict`.
        """
        values = self.rows.values(body)
        return await self._change(database, id_, asked, Action.REPLACE, lambda *_: values)

    async def merge(self, database: Database, id_: str, patch: Document, asked: Tags) -> Written:
        """Change the fields that a merge patch names; what comes of it has to be a valid body.

        Raises:
            RequestError: `not_found` or `precondition_failed`.
            ValidationProblem: `conflict`, or what is wrong with the result.
        """
        return await self._change(database, id_, asked, Action.UPDATE, lambda row, _: self.rows.patched(row, patch))

    async def delete(self, database: Database, id_: str, asked: Tags) -> Written:
        """Hide a record.

        Raises:
            RequestError: `not_found`, also for one that is deleted already, or `precondition_failed`.
        """
        return await self._change(database, id_, asked, Action.DELETE, lambda _, at: {"deleted_at": at})

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
                row = await self._found(connection, id_, asked, deleted=True)
                while not (await connection.execute(self._delete, _this(row))).rowcount:
                    row = await self._found(connection, id_, asked, deleted=True)
                change = Change(id_, self.records.document(row), None)
                await audit.write(connection, self.resource.name, Action.PURGE, [change], self.now())

    def now(self) -> datetime:
        """Return the time of a change."""
        return self._clock.now()

    async def insert(self, connection: AsyncConnection, rows: Sequence[Values]) -> Sequence[Document]:
        """Add new rows and their audit entries; return the records."""
        names = self.records.names
        documents: Sequence[Document] = self.records.documents(([row[name] for name in names] for row in rows), names)
        await connection.execute(self._insert, rows)
        changes = [Change(row["id"], None, document) for row, document in zip(rows, documents, strict=True)]
        await audit.write(connection, self.resource.name, Action.CREATE, changes, rows[0]["created_at"])
        return documents

    async def free_ids(self, connection: AsyncConnection, rows: Sequence[Values], replay_hours: float) -> None:
        """Give other ids to new rows whose idempotency key has made a record before, and has expired since.

        Those ids follow from the key too, so that further attempts come to them as well.
        """
        limit, left = self.now() - timedelta(hours=replay_hours), list(rows)
        while left:
            asked = {"ids": [row["id"] for row in left], "limit": limit}
            expired = set((await connection.execute(self._select_expired, asked)).scalars())
            left = [row for row in left if row["id"] in expired]
            for row in left:
                row["id"] = self.rows.next_id(row["id"])

    async def made_earlier(self, connection: AsyncConnection, rows: Sequence[Values]) -> dict[str, Document]:
        """Return, by id, the records that an earlier attempt made from the same bodies, as they were then."""
        created = await audit.created(connection, self.resource.name, [row["id"] for row in rows])
        found = ((row, created.get(row["id"])) for row in rows)
        return {
            row["id"]: then
            for row, then in found
            if then is not None and alike(self.rows.stated(then), self.rows.stated(self.records.document(row)))
        }

    async def _change(
        self, database: Database, id_: str, asked: Tags, action: Action, revise: Callable[[Row, datetime], Values]
    ) -> Written:
        with refusals(self.table):
            async with database.writing() as connection:
                written = None
                while written is None:
                    row = await self._found(connection, id_, asked, deleted=action is Action.RESTORE)
                    at = self.now()
                    written = await self._written(connection, action, row, revise(row, at), at)
        return written

    async def _found(self, connection: AsyncConnection, id_: str, asked: Tags, *, deleted: bool) -> Row:
        if not is_storable(id_):
            raise not_found()
        found = (await connection.execute(self._select, {"this_id": id_})).mappings().one_or_none()
        if found is None or (found["deleted_at"] is not None and not deleted):
            raise not_found()
        row: Row = {column.name: found[column] for column in self.table.columns}
        require_match(asked, self.records.etag(row))
        return row

    async def _written(
        self, connection: AsyncConnection, action: Action, row: Row, values: Values, at: datetime
    ) -> Written | None:
        """Write values over a row; return None if it is no longer the current one."""
        before = self.records.document(row)
        if self.rows.same(row, values):
            return Written(before, self.records.etag(row))
        values = {**values, "version": row["version"] + 1, "updated_at": at}
        if not (await connection.execute(self._update, {**values, **_this(row)})).rowcount:
            return None
        after = {**row, **values}
        change = Change(row["id"], before, self.records.document(after))
        await audit.write(connection, self.resource.name, action, [change], at)
        return Written(self.records.document(after), self.records.etag(after))


def _this(row: Row) -> Values:
    return {"this_id": row["id"], "this_version": row["version"]}


def _restored(row: Row, _: datetime) -> Values:
    if row["deleted_at"] is None:
        message = "The record is not deleted."
        raise RequestError(message, code="conflict", location="path")
    return {"deleted_at": None}
