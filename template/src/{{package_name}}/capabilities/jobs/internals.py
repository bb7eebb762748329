"""Internals: everything that is used of DBOS beyond what it promises; a test fails when any of it changes.

Relied on, in DBOS 3.4: `DBOSClient._sys_db`, its `run_migrations()` and `verify_migrations()`, and its
`reenqueue_for_recovery(job, executors, queue)`, which returns a running job to its queue if, and only if, it still
belongs to one of the executors. Whoever ran it before can then record nothing any more: each run has a token.
`put_back` writes what that writes to `_sys_db.tables`, with DELAYED and its time in place of ENQUEUED where need be.
`verify_migrations` and `reenqueue_for_recovery` have no public counterpart without an executor in the process. The
names of its tables come from `SystemSchema`.
"""

import time
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, error
from dbos._schemas.system_database import SystemSchema

from .engine import open_client

TABLES = frozenset({table.name for table in SystemSchema.metadata_obj.tables.values()} | {"dbos_migrations"})
"""The tables of DBOS, which on SQLite lie among those of the service."""


def migrate_engine(engine: sa.Engine) -> None:
    """Bring the tables of DBOS to what its installed version expects; safe to run by several at once."""
    _system(open_client(engine)).run_migrations()


def behind(client: DBOSClient) -> str | None:
    """Return what is missing from the tables of DBOS, or None."""
    try:
        _system(client).verify_migrations()
    except error.DBOSInitializationError as missing:
        return str(missing)
    return None


def hand_over(client: DBOSClient, job_id: str, executor_id: str, queue: str) -> bool:
    """Return a running job of an executor to its queue, to `queue` if it has none; tell whether it was still its."""
    return bool(_system(client).reenqueue_for_recovery(job_id, [executor_id], queue))


def put_back(client: DBOSClient, job_id: str, executor_id: str, until: float | None = None) -> bool:
    """Return a running job of an executor to its queue, not to be begun before a time; tell whether it was still its.

    It was no fault of the job: its next beginning does not count as another attempt.
    """
    table = _system(client).tables.workflow_status
    own = table.c.workflow_uuid == job_id, table.c.status == "PENDING", table.c.executor_id == executor_id
    statement = sa.update(table).where(*own)
    if until is not None:
        statement = statement.values(delay_until_epoch_ms=round(until * 1000))
    statement = statement.values(
        status="ENQUEUED" if until is None else "DELAYED",
        owner_xid=None,
        started_at_epoch_ms=None,
        updated_at=round(time.time() * 1000),
        recovery_attempts=table.c.recovery_attempts - 1,
    )
    with _system(client).engine.begin() as connection:
        return bool(connection.execute(statement).rowcount)


def _system(client: DBOSClient) -> Any:
    return client._sys_db  # noqa: SLF001 - this is the one module that may
