"""Database: the engine of one service, and the transactions that everything reads and writes in.

SQLite locks as a whole: a transaction that reads before it writes would fail as soon as somebody else writes between
the two, so that writers here begin as writers, one after another.
Source: https://www.sqlite.org/lang_transaction.html, section 2.2.
"""

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy import Connection, Table, event, exc, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from ...chassis.contracts.errors import StorageUnavailableError
from ...chassis.identity import SERVICE
from .failures import unavailability
from .settings import DatabaseSection

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # `migrate` configures no log: it says what is wrong, once

_RECYCLE_S = 1800
"""Connections that are older are opened anew: something on the way may have forgotten them."""

_PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON")
_RETRY_S = 0.01
_CLOSE_S = 2.0  # how long the end waits for connections that are in use
_to_json = partial(json.dumps, allow_nan=False)  # PostgreSQL takes no NaN, and no other program reads one
_MODE = "begin_mode"
"""The execution option that says how a transaction begins on SQLite."""
_UNCHECKED = "unchecked"
"""The execution option that leaves references unchecked; SQLite takes that before a transaction only."""


class DanglingError(Exception):
    """A change of tables would leave references that lead nowhere; it was undone."""


class Database:
    """Opens connections when they are first needed; safe to share between tasks of one event loop."""

    def __init__(self, section: DatabaseSection) -> None:
        """Prepare the engine; nothing is connected yet."""
        self.section = section
        self.dialect = section.dialect
        self.engine = _open_sqlite(section) if self.dialect == "sqlite" else _open_postgresql(section)
        self.long_reads = asyncio.Semaphore(max(1, min(2, section.pool_connections // 2)))
        """For those who keep a connection for as long as somebody else likes: most are left to everybody else."""
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Read in one transaction, which is given up at the end.

        Raises:
            StorageUnavailableError: if the database cannot be asked.
        """
        with _translated():
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Read and write in one transaction: all of it is kept at the end of the block, or nothing after an error.

        Raises:
            StorageUnavailableError: if the database cannot be asked, or was locked for too long.
        """
        with _translated():
            async with self._turn(), self.engine.connect() as connection:
                await connection.execution_options(**{_MODE: "IMMEDIATE"})
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def restructuring(self) -> AsyncIterator[AsyncConnection]:
        """Change tables, for as long as it takes.

        On SQLite in one transaction, like `writing`; references are checked at the end, since a change means a copy.
        On PostgreSQL the caller begins and ends transactions; what it locks for its session is free at the end.

        Raises:
            StorageUnavailableError: as `writing` does.
            DanglingError: if a reference leads nowhere afterwards.
        """
        with _translated():
            async with self._turn(), self.engine.connect() as connection:
                try:
                    if self.dialect == "sqlite":
                        await connection.execution_options(**{_MODE: "IMMEDIATE", _UNCHECKED: True})
                        async with connection.begin():
                            yield connection
                            await _check_references(connection)
                    else:
                        await connection.execute(text("SET statement_timeout = 0"))
                        await connection.commit()
                        yield connection
                        await connection.commit()
                finally:
                    await connection.invalidate()  # nobody else may have it as it is now

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an insert that may say what happens where a row is there already."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    async def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            StorageUnavailableError: if there is none.
        """
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        """Close every connection. One that comes back while that goes on would be closed twice, and never end."""
        pool, until = self.engine.pool, time.monotonic() + _CLOSE_S
        while isinstance(pool, QueuePool) and pool.checkedout() and time.monotonic() < until:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(_RETRY_S)
        await self.engine.dispose()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other task of this process writes to SQLite; those who wait take no connection."""
        if self.dialect != "sqlite":
            yield
            return
        async with asyncio.timeout(self.section.lock_wait_s):
            await self._writer.acquire()
        try:
            yield
        finally:
            self._writer.release()


async def _check_references(connection: AsyncConnection) -> None:
    dangling = (await connection.execute(text("PRAGMA foreign_key_check"))).all()
    if dangling:
        raise DanglingError(f"{len(dangling)} rows of {dangling[0][0]} refer to nothing")


def _open_sqlite(section: DatabaseSection) -> AsyncEngine:
    engine = create_async_engine(
        section.address,
        # The driver is kept from beginning transactions on its own.
        connect_args={"timeout": section.lock_wait_s, "isolation_level": None, "async_creator_fn": _connected},
        pool_size=section.pool_connections,
        max_overflow=0,
        pool_timeout=section.pool_wait_s,
        hide_parameters=True,
        json_serializer=_to_json,
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


async def _connected(*place: Any, **options: Any) -> aiosqlite.Connection:
    """Connect to SQLite. The thread of a connection that fails ends here: it would complain about an ended loop."""
    connection = aiosqlite.connect(*place, **options)
    thread = connection._thread  # noqa: SLF001 - nothing public lets a process end without it, or waits for its end
    thread.daemon = True
    try:
        await connection
        await _write_ahead(connection, options["timeout"])
    except BaseException:
        await connection.close()
        await asyncio.to_thread(thread.join)
        raise
    return connection


async def _write_ahead(connection: aiosqlite.Connection, wait_s: float) -> None:
    """Let readers and a writer work beside each other.

    While a new file is turned to that by several at once, SQLite does not wait, but calls it locked at once.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            await asyncio.sleep(_RETRY_S)
        else:
            return


def _set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    # SQLite itself knows the case of ASCII letters only.
    connection.create_function("unicode_lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin(connection: Connection) -> None:
    options: Mapping[str, Any] = connection.get_execution_options()
    if options.get(_UNCHECKED):
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql(f"BEGIN {options.get(_MODE, 'DEFERRED')}")


def _open_postgresql(section: DatabaseSection) -> AsyncEngine:
    settings = {
        "application_name": SERVICE,
        "timezone": "UTC",
        "statement_timeout": f"{section.statement_timeout_s * 1000:.0f}",
    }
    return create_async_engine(
        section.address,
        connect_args={"timeout": section.connect_timeout_s, "server_settings": settings},
        pool_size=section.pool_connections,
        max_overflow=0,
        pool_timeout=section.pool_wait_s,
        pool_recycle=_RECYCLE_S,
        pool_pre_ping=True,
        hide_parameters=True,
        json_serializer=_to_json,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what says that the database cannot be asked into an error of this service."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
        reason = unavailability(error)
        if reason is None:
            raise
        _log.warning("database_unavailable", extra={"error": reason})
        raise StorageUnavailableError(reason) from error
