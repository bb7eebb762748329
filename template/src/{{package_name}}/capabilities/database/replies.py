"""Replies: the first answer to an Idempotency-Key, given again to whoever repeats the request.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, and_, delete, or_, select, update

from ...chassis.contracts.identity import new_id
from .database import Database
from .packing import packed, unpacked
from .tables import ReplyRow


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and the digest of the request that it was given to."""

    request: str
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def scope_of(*parts: str) -> str:
    """Return what a key is unique in: its caller, its route and itself, as one digest."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Replies:
    """Keeps answers in the database; of several who claim the same scope at once, one gets it."""

    def __init__(self, database: Database, *, kept: timedelta, compress_over_bytes: int, lease_s: float) -> None:
        """Keep answers for a time; after `lease_s` without a sign of life nobody works on one any more."""
        self._database = database
        self._lease = timedelta(seconds=lease_s)
        self._kept = kept
        self._compress_over_bytes = compress_over_bytes

    async def claim(self, scope: str) -> "Claim | Reply | None":
        """Return a claim to answer, the answer that was given already, or None while somebody else works on it."""
        now, mark = datetime.now(UTC), new_id("claim")
        values = {"scope": scope, "claim": mark, "claimed_until": now + self._lease, "created_at": now}
        statement = self._database.insert(_TABLE).values(values)
        emptied: dict[str, Any] = dict.fromkeys(("request", "status", "headers", "body"))
        abandoned = and_(_TABLE.c.status.is_(None), _TABLE.c.claimed_until < now)
        free = or_(abandoned, and_(_TABLE.c.status.is_not(None), _TABLE.c.created_at < now - self._kept))
        statement = statement.on_conflict_do_update(index_elements=["scope"], set_=values | emptied, where=free)
        async with self._database.writing() as connection:
            await connection.execute(statement)
            row = (await connection.execute(select(_TABLE).where(_TABLE.c.scope == scope))).one()
        if row.claim == mark:
            return Claim(self._database, scope, mark, self._compress_over_bytes, self._lease)
        if row.status is None:
            return None
        return Reply(row.request, row.status, [(name, value) for name, value in row.headers], unpacked(row.body))


class Claim:
    """The right to answer; held by signs of life until the answer is kept or the claim is given up."""

    def __init__(self, database: Database, scope: str, mark: str, compress_over_bytes: int, lease: timedelta) -> None:
        """Begin to show signs of life."""
        self._database = database
        self._lease = lease
        self._mine = and_(_TABLE.c.scope == scope, _TABLE.c.claim == mark)
        self._compress_over_bytes = compress_over_bytes
        self._alive = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            until = datetime.now(UTC) + self._lease
            with suppress(Exception):  # the next sign may come through
                async with self._database.writing() as connection:
                    await connection.execute(update(_TABLE).where(self._mine).values(claimed_until=until))

    async def keep(self, reply: Reply) -> None:
        """Keep the answer; the claim ends.

        Raises:
            StorageUnavailableError: if that was not possible; a repeated request will then be served again.
        """
        values = {
            "request": reply.request,
            "status": reply.status,
            "headers": [list(pair) for pair in reply.headers],
            "body": packed(reply.body, self._compress_over_bytes),
        }
        await self._end()
        async with self._database.writing() as connection:
            await connection.execute(update(_TABLE).where(self._mine).values(values))

    async def give_up(self) -> None:
        """Leave the scope to the next one; what does not reach the database ends by itself when its time is over."""
        await self._end()
        with suppress(Exception):
            async with self._database.writing() as connection:
                await connection.execute(delete(_TABLE).where(self._mine))

    async def _end(self) -> None:
        self._alive.cancel()
        await asyncio.wait([self._alive])


_TABLE: Table = ReplyRow.metadata.tables[ReplyRow.__tablename__]
