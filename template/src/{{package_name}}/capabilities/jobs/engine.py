"""Engine: how DBOS reaches the database of the service, and what it is told about itself.

Jobs lie in the same database as everything else. DBOS works with drivers that block, so that it has connections of its
own, in threads of its own.
"""

import logging
import sqlite3
import time
from typing import Any, override

import psycopg
import sqlalchemy as sa
from dbos import DBOSClient, DBOSConfig
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, make_url

from ...chassis.identity import SERVICE
from ..database.settings import DatabaseSection
from .serializer import JsonSerializer

APPLICATION = f"{SERVICE}-jobs"
"""Whose jobs they are, for DBOS; its names have at least three characters."""

APPLICATION_VERSION = "1"
"""The same for every release: DBOS leaves jobs alone that another version began."""

SCHEMA = "dbos"
"""Where DBOS keeps its tables on PostgreSQL."""

_READ_ONLY = "25006"
"""SQLSTATE of a write on a server that has become a replica. Source: PostgreSQL, appendix A."""

_PRAGMAS = ("synchronous=NORMAL", "foreign_keys=ON")
_TOLD_ELSEWHERE = (
    "Exception encountered in asynchronous workflow:",
    "Exception encountered in background workflow:",
    "Asyncio task cancelled for workflow or step",
)
_REPEATED = ("Exception ", "Database connection", "Asyncio task cancelled", "Notification ")
_REPEAT_S, _KIND_CHARS = 60.0, 24
_SPARE_THREADS = 16
_IDLE_MS = 10_000
_RECYCLE_S = 1800


def sync_url(section: DatabaseSection) -> sa.URL:
    """Return the URL of the database for the drivers that DBOS works with."""
    url = make_url(section.url)
    if section.dialect == "sqlite":
        return url.set(drivername="sqlite")
    query = {("sslmode" if name == "ssl" else name): value for name, value in url.query.items()}
    return url.set(drivername="postgresql+psycopg", query=query)


def open_engine(section: DatabaseSection, *, connections: int | None = None, tested: bool = True) -> sa.Engine:
    """Return an engine for DBOS; nothing is connected yet. With `tested`, a connection is tried before each use."""
    pool: dict[str, Any] = {
        "pool_size": connections or section.pool_connections,
        "max_overflow": 0,
        "pool_timeout": section.pool_wait_s,
        "hide_parameters": True,
    }
    if section.dialect == "sqlite":
        # Transactions that write begin as writers; DBOS relies on reads that take no lock.
        given = {"factory": _Connection, "timeout": section.lock_wait_s, "isolation_level": "IMMEDIATE"}
        engine = sa.create_engine(sync_url(section), connect_args=given, **pool)
        event.listen(engine, "connect", _set_up)
        return engine
    given = {
        "application_name": APPLICATION,
        "connect_timeout": max(1, round(section.connect_timeout_s)),
        # A server that vanished without a word is noticed; a client that did loses its locks.
        "tcp_user_timeout": 15_000,
        # A process that is frozen within a transaction loses its locks before its lease: others need them to go on.
        "options": f"-c idle_in_transaction_session_timeout={_IDLE_MS} -c timezone=UTC",
    }
    engine = sa.create_engine(
        sync_url(section), connect_args=given, pool_pre_ping=tested, pool_recycle=_RECYCLE_S, **pool
    )
    event.listen(engine, "handle_error", tell_disconnect)
    return engine


class _Connection(sqlite3.Connection):
    """A connection whose SQL knows the time with fractions of a second, as SQLite does from 3.42 on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        teach_time(self)


def teach_time(connection: Any) -> None:
    """Add `unixepoch('subsec')` to a connection where SQLite is too old for it."""
    if sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", -1, _unixepoch)


def _unixepoch(*asked: str) -> float:
    if asked != ("subsec",):
        message = f"unixepoch{asked}: only unixepoch('subsec') is known here"
        raise ValueError(message)
    return round(time.time(), 3)


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def tell_disconnect(context: ExceptionContext) -> None:
    """Have a lost or refused connection count as such, so that DBOS waits for the database instead of failing a job.

    What the driver reports by itself carries no SQLSTATE: "connection is bad", "failed to resolve host", and whatever
    else may come between. Such an error is never the answer of a server.
    """
    error = context.original_exception
    if (isinstance(error, psycopg.OperationalError) and error.sqlstate is None) or (
        isinstance(error, psycopg.Error) and error.sqlstate == _READ_ONLY
    ):
        context.is_disconnect = True


def open_client(engine: sa.Engine) -> DBOSClient:
    """Return what enqueues, reads and manages jobs without running any; it fails where the database is away."""
    quiet()
    return DBOSClient(
        system_database_engine=engine,
        dbos_system_schema=SCHEMA,
        serializer=JsonSerializer(),
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,
    )


def configuration(engine: sa.Engine, executor_id: str, concurrency: int) -> DBOSConfig:
    """Return how DBOS runs jobs in this process: it changes no schema, calls nobody, and logs through us."""
    quiet()
    return DBOSConfig(
        name=APPLICATION,
        system_database_engine=engine,
        dbos_system_schema=SCHEMA,
        serializer=JsonSerializer(),
        executor_id=executor_id,
        application_version=APPLICATION_VERSION,
        run_migrations=False,
        # Its notifications cost a thread that wakes a hundred times a second.
        use_listen_notify=False,
        enable_otlp=False,
        log_level="WARNING",
        max_executor_threads=concurrency + _SPARE_THREADS,
    )


class _OneVoice(logging.Filter):
    """Passes each kind of trouble once a minute: during an outage, every thread of DBOS tells of it every second.

    How a job failed is dropped, being logged here with its outcome, and so is what DBOS adds to every line.
    """

    _ADDED = ("applicationID", "applicationVersion", "executorID", "operationUUID")

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        for name in self._ADDED:
            vars(record).pop(name, None)
        text, now = str(record.msg), time.monotonic()
        if not text.startswith(_REPEATED):
            return True
        if text.startswith(_TOLD_ELSEWHERE) or now - self._passed.get(text[:_KIND_CHARS], -_REPEAT_S) < _REPEAT_S:
            return False
        self._passed[text[:_KIND_CHARS]] = now
        return True


_ONE_VOICE = _OneVoice()


def quiet() -> None:
    """Keep DBOS from writing to the console by itself; its warnings go the way of all others. Call it again after DBOS.

    It adds a handler to a logger without any, and a filter, which ours has to follow.
    """
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.removeFilter(_ONE_VOICE)
    logger.addFilter(_ONE_VOICE)
    logger.setLevel(max(logging.WARNING, logging.getLogger().level))
