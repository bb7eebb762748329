"""Audit: who changed which record and when, with the record before and after.

Entries are written in the transaction of the change, and only ever read afterwards. They hold what callers may read of
a record, so nothing that the service keeps from them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ....chassis.contracts.context import current
from ....chassis.contracts.json import Json, timestamp
from ..database import Database
from ..tables import AuditRow

type Document = Mapping[str, Json]


class Action(StrEnum):
    """What can be done to a record."""

    CREATE = "create"
    REPLACE = "replace"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


class Change(NamedTuple):
    """One record before and after; None where there was none, or is none any more."""

    record_id: str
    before: Document | None
    after: Document | None


def actor() -> str:
    """Return who acts: the id of the principal, or a digest of credentials that nobody checked."""
    return current().caller or "anonymous"


async def write(
    connection: AsyncConnection, resource: str, action: Action, changes: Sequence[Change], at: datetime
) -> None:
    """Write one entry for each change."""
    common = {
        "resource": resource,
        "action": action.value,
        "actor": actor(),
        "correlation_id": current().correlation_id,
        "at": at,
    }
    await connection.execute(_INSERT, [{**common, **change._asdict()} for change in changes])


_TABLE = AuditRow.metadata.tables[AuditRow.__tablename__]
_INSERT = insert(_TABLE).inline()
"""Without asking for the number that an entry gets."""

_SHOWN = [column for column in _TABLE.columns if column.name != "number"]


async def read(
    database: Database, resource: str, record_id: str | None, *, before: int | None, size: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return up to `size` entries, newest first, and the number before which the next page begins, if there is one.

    Only entries numbered below `before` are considered, and where `record_id` is given only those of that record.
    """
    row = _TABLE.c
    statement = select(row.number, *_SHOWN).where(row.resource == resource).order_by(row.number.desc()).limit(size + 1)
    if record_id is not None:
        statement = statement.where(row.record_id == record_id)
    if before is not None:
        statement = statement.where(row.number < before)
    async with database.reading() as connection:
        rows = (await connection.execute(statement)).mappings().all()
    page = rows[:size]
    following: int | None = page[-1]["number"] if len(rows) > size else None
    return [_entry(found) for found in page], following


def _entry(row: Mapping[Any, Any]) -> dict[str, Any]:
    names = (column.name for column in _SHOWN)
    entry = {name: row[name] for name in names if row[name] is not None}
    return {**entry, "at": timestamp(entry["at"])}


async def created(connection: AsyncConnection, resource: str, ids: Sequence[str]) -> dict[str, Document]:
    """Return the records with these ids as they were when they were created, as far as that is still known."""
    row = _TABLE.c
    statement = select(row.record_id, row.after).where(
        row.resource == resource, row.record_id.in_(ids), row.action == Action.CREATE.value
    )
    return {found.record_id: found.after for found in await connection.execute(statement)}
