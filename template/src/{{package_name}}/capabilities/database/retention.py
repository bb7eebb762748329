"""Retention: deletes what is older than the settings allow, in small steps that nobody has to wait for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Table, delete, or_, select

from ...chassis.contracts.errors import ServiceError
from .database import Database
from .settings import DatabaseSection
from .tables import AuditRow, EnvelopeRow, ReplyRow

_EVERY_S = 3600.0
_FIRST_S = 60.0
_STEP_ROWS = 500
_log = logging.getLogger(__name__)


async def sweep(database: Database, section: DatabaseSection, now: datetime) -> int:
    """Delete what is too old at `now`, unless somebody is still at work on it; return the number of rows."""
    before, replayed = now - timedelta(days=section.retention_days), now - timedelta(hours=section.replay_hours)
    envelope, audit, reply = (row.metadata.tables[row.__tablename__] for row in (EnvelopeRow, AuditRow, ReplyRow))
    ended = or_(envelope.c.status.in_(("succeeded", "failed")), envelope.c.awaited_until < before)
    answered = or_(reply.c.status.is_not(None), reply.c.claimed_until < now)
    return (
        await _delete(database, envelope, envelope.c.updated_at < before, ended)
        + await _delete(database, audit, audit.c.at < before)
        + await _delete(database, reply, reply.c.created_at < replayed, answered)
    )


async def _delete(database: Database, table: Table, *old: ColumnElement[bool]) -> int:
    key = next(iter(table.primary_key))
    some = delete(table).where(key.in_(select(key).where(*old).limit(_STEP_ROWS)))
    deleted = step = _STEP_ROWS
    while step == _STEP_ROWS:
        async with database.writing() as connection:
            step = (await connection.execute(some)).rowcount
        deleted += step
    return deleted - _STEP_ROWS


class Sweeper:
    """Deletes what is too old every hour, for as long as the service runs."""

    def __init__(self, database: Database, section: DatabaseSection) -> None:
        """Begin; the first time comes after a minute, so that short commands do not wait for it."""
        self._database, self._section = database, section
        self._task = asyncio.create_task(self._run(asyncio.sleep))

    async def _run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        await sleep(_FIRST_S)
        while True:
            try:
                deleted = await sweep(self._database, self._section, datetime.now(UTC))
                _log.info("old_rows_deleted", extra={"rows": deleted})
            except ServiceError as error:
                _log.warning("old_rows_not_deleted", extra={"error": str(error)})
            except Exception:  # noqa: BLE001 - the next time may do better
                _log.exception("old_rows_not_deleted")
            await sleep(_EVERY_S)

    async def aclose(self) -> None:
        """Stop."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
