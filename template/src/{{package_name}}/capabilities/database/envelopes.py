"""Envelopes: kept as JSON with the version of their schema, and read again whatever version wrote them."""

import asyncio
import json
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from sqlalchemy import Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ...chassis.contracts.call import CallRecord
from ...chassis.contracts.context import current
from ...chassis.contracts.envelope import Envelope, Failed, Failure, Notice, Pending, Running, Succeeded, failed
from ...chassis.contracts.errors import ServiceError, StorageUnavailableError
from ...chassis.contracts.json import Json, to_json
from .database import Database
from .packing import packed, unpacked
from .tables import EnvelopeRow
from .upcasting import UnknownVersionError, upcast

_INTERRUPTED = Failure("interrupted", "The process that worked on it ended.", retryable=True)
_UNKEPT = Notice("not_kept", "The answer could not be stored and cannot be read again.")
_ID = re.compile(r"[a-z0-9_]{1,64}")
_OPEN = ("pending", "running")
_MOST_LISTED = 100
_log = logging.getLogger(__name__)


class DatabaseStore:
    """Keeps the newest envelope of each id.

    With `lease_s`, unfinished work belongs to this process: when it shows no sign of life for so long, the work counts
    as failed. With None, something else sees to it that work goes on.
    """

    def __init__(self, database: Database, *, compress_over_bytes: int, lease_s: float | None) -> None:
        """Keep envelopes in a database."""
        self.database = database
        self._compress_over_bytes = compress_over_bytes
        self._lease_s = lease_s
        self._mine: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def save(self, envelope: Envelope[Any]) -> None:
        """Keep the envelope, replacing an older one of the same id that says less: see `save_in`."""
        unfinished = isinstance(envelope, Pending | Running)
        if not unfinished:
            self._mine.discard(envelope.id)  # also if the end cannot be kept: nobody works on it any more
        async with self.database.writing() as connection:
            await self.save_in(connection, envelope)
        if unfinished and self._lease_s is not None:
            self._hold(envelope.id, self._lease_s)

    async def save_in(self, connection: AsyncConnection, envelope: Envelope[Any]) -> None:
        """Keep the envelope as a part of a transaction, unless what is kept says more.

        A pending one replaces nothing, a running one what is still open, and an end everything but success: the retry
        of work that failed may succeed.
        """
        unfinished = isinstance(envelope, Pending | Running)
        values = self._columns(envelope, awaited=unfinished and self._lease_s is not None)
        statement = self.database.insert(_TABLE).values(values)
        replaced = {name: statement.excluded[name] for name in values if name not in ("id", "created_at")}
        if isinstance(envelope, Pending):
            statement = statement.on_conflict_do_nothing(index_elements=["id"])
        else:
            less = _TABLE.c.status.in_(_OPEN) if unfinished else _TABLE.c.status != "succeeded"
            statement = statement.on_conflict_do_update(index_elements=["id"], set_=replaced, where=less)
        await connection.execute(statement)

    async def load[T](self, id_: str, result: type[T], *, of: str) -> Envelope[T] | None:
        """Return the newest envelope `of` an object, with results of a type; None for an id not known (any more)."""
        row = await self._row(id_)
        if row is None or row.object != of:
            return None
        envelope: Envelope[T] = _reader(result).validate_python(document_of(row))
        if row.awaited_until is None or row.awaited_until > _now() or id_ in self._mine:
            return envelope
        await self._interrupt(envelope, row.awaited_until)
        return await self.load(id_, result, of=of)

    async def keep(self, envelope: Succeeded[Any]) -> tuple[Notice, ...]:
        """Keep the envelope of an answered call; a caller who was answered does not pay for our failure to keep it."""
        try:
            async with asyncio.timeout(current().remaining_s()):
                await self.save(envelope)
        except (ServiceError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
            _log.error("envelope_not_kept", extra={"envelope_id": envelope.id, "error": reason})
            return (_UNKEPT,)
        return ()

    async def document(self, id_: str) -> Mapping[str, Json] | None:
        """Return the newest envelope of an id as JSON in today's form, whatever object it is of."""
        row = await self._row(id_)
        return None if row is None else document_of(row)

    async def documents(self, fingerprint: str) -> Sequence[Mapping[str, Json]]:
        """Return the newest envelopes for what has this fingerprint, at most 100, as JSON in today's form.

        Those that cannot be read are left out.
        """
        asked = select(_TABLE).where(_TABLE.c.fingerprint == fingerprint)
        newest = asked.order_by(_TABLE.c.created_at.desc(), _TABLE.c.id.desc()).limit(_MOST_LISTED)
        async with self.database.reading() as connection:
            return list(_readable(await connection.execute(newest)))

    async def aclose(self) -> None:
        """Show no more signs of life."""
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing

    async def _interrupt(self, envelope: Envelope[Any], awaited_until: datetime) -> None:
        """Let work end that nobody does any more, unless somebody has shown a sign of life since it was read."""
        values = self._columns(failed(envelope, _INTERRUPTED, CallRecord(), at=_now()), awaited=False)
        unseen = update(_TABLE).where(_TABLE.c.id == envelope.id, _TABLE.c.awaited_until == awaited_until)
        async with self.database.writing() as connection:
            await connection.execute(unseen.values(values))

    async def _row(self, id_: str) -> Row[Any] | None:
        if _ID.fullmatch(id_) is None:
            return None  # and may hold what the database refuses
        async with self.database.reading() as connection:
            return (await connection.execute(select(_TABLE).where(_TABLE.c.id == id_))).first()

    def _columns(self, envelope: Envelope[Any], *, awaited: bool) -> dict[str, Any]:
        document = to_json(envelope)
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        long = len(text) > self._compress_over_bytes
        now = _now()
        return {
            "id": envelope.id,
            "object": envelope.provenance.object,
            "status": envelope.status,
            "fingerprint": envelope.provenance.fingerprint,
            "schema_version": envelope.schema_version,
            "document": None if long else document,
            "packed": packed(text, 0) if long else None,
            "created_at": envelope.provenance.created_at,
            "updated_at": now,
            "awaited_until": now + timedelta(seconds=self._lease_s or 0) if awaited else None,
        }

    def _hold(self, id_: str, lease_s: float) -> None:
        self._mine.add(id_)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(lease_s))

    async def _renew(self, lease_s: float) -> None:
        while self._mine:
            await asyncio.sleep(lease_s / 3)
            statement = update(_TABLE).where(_TABLE.c.id.in_(list(self._mine)), _TABLE.c.status.in_(_OPEN))
            try:
                async with self.database.writing() as connection:
                    await connection.execute(statement.values(awaited_until=_now() + timedelta(seconds=lease_s)))
            except ServiceError as error:
                _log.warning("work_not_renewed", extra={"error": str(error)})


_TABLE: Table = EnvelopeRow.metadata.tables[EnvelopeRow.__tablename__]


def document_of(row: Row[Any]) -> Any:
    """Return the document of a row in today's form.

    Raises:
        StorageUnavailableError: if newer code has written it: while a release rolls out, another process reads it.
        ServiceError: if it is damaged.
    """
    try:
        return upcast(json.loads(unpacked(row.packed)) if row.packed is not None else row.document)
    except UnknownVersionError as error:
        text = "Another version of the service has written this envelope; this one cannot read it."
        raise StorageUnavailableError(f"{row.id}: {error}", user_message=text, retry_after_s=10) from error
    except (zlib.error, ValueError) as error:
        text = "The stored envelope is damaged and cannot be read."
        raise ServiceError(f"{row.id}: {type(error).__name__}: {error}", user_message=text) from error


def _readable(rows: Iterable[Row[Any]]) -> Iterator[Any]:
    for row in rows:
        try:
            yield document_of(row)
        except ServiceError as error:
            _log.error("envelope_unreadable", extra={"envelope_id": row.id, "error": str(error)})


def _reader(result: type[Any]) -> TypeAdapter[Any]:
    if result not in _READERS:
        union = Pending | Running | Succeeded[result] | Failed  # type: ignore[valid-type] # known at run time only
        _READERS[result] = TypeAdapter(Annotated[union, Field(discriminator="status")])
    return _READERS[result]


_READERS: dict[type[Any], TypeAdapter[Any]] = {}
"""What reads envelopes with results of a type; making one takes milliseconds."""


def _now() -> datetime:
    return datetime.now(UTC)
