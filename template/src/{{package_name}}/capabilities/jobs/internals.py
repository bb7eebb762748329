"""Internals: everything that is used of DBOS beyond what it promises; a test fails when any of it changes.

Relied on, in DBOS 3.4: `DBOSClient._sys_db`, its `run_migrations()` and `verify_migrations()`, and its
`reenqueue_for_recovery(job, executors, queue)`, which returns a running job to its queue if, and only if, it still
belongs to one of the executors. Whoever ran it before can then record nothing any more: each run has a token.
`put_back` writes what that writes to `_sys_db.tables`, with DELAYED and its time in place of ENQUEUED where need be.
`try_again` writes what `resume_workflows()` writes, but only to a job that still stands as it was seen. `given` reads
what a job was given within a transaction of the caller. `outcome_of` waits through outages, as `DBOS.get_result_async`
does, but not for a job that is not there. `oldest_due_ms` asks for a minimum, where the client lists pages.
`verify_migrations` and `reenqueue_for_recovery` have no public counterpart without an executor in the process. The
names of its tables come from `SystemSchema`.
"""

import time
from contextlib import nullcontext
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, error
from dbos._dbos import _get_dbos_instance
from dbos._schemas.system_database import SystemSchema

from .engine import open_client

_LOOK_S = 1.0

TABLES = frozenset({table.name for table in SystemSchema.metadata_obj.tables.values()} | {"dbos_migrations"})
"""The tables of DBOS, which on SQLite lie among those of the service."""


def migrate_engine(engine: sa.Engine) -> None:
    """Bring the tables of DBOS to what its installed version expects; safe to run by several at once."""
    _system(open_client(engine)).run_migrations()


def behind(client: DBOSClient) -> str | None:
    """Return that tables of DBOS are missing or older than its installed version, or None."""
    try:
        _system(client).verify_migrations()
    except error.DBOSInitializationError:
        return "the tables of the jobs are behind; run `migrate`"
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


def try_again(client: DBOSClient, job_id: str, status: str, queue: str) -> bool:
    """Enqueue a job that stands at a status of the engine, with its steps, and all attempts and its time ahead."""
    table = _system(client).tables.workflow_status
    values = {
        "status": "ENQUEUED",
        "queue_name": queue,
        "recovery_attempts": 0,
        "updated_at": round(time.time() * 1000),
    }
    values |= dict.fromkeys(
        ("owner_xid", "workflow_deadline_epoch_ms", "deduplication_id", "started_at_epoch_ms", "completed_at")
    )
    statement = sa.update(table).where(table.c.workflow_uuid == job_id, table.c.status == status).values(values)
    with _system(client).engine.begin() as connection:
        return bool(connection.execute(statement).rowcount)


def given(client: DBOSClient, job_id: str, connection: sa.Connection | None = None) -> Any:
    """Return the payload of a job, as it is to be seen within a transaction; None if it is not there."""
    table = _system(client).tables.workflow_input
    statement = sa.select(table.c.inputs).where(table.c.workflow_uuid == job_id)
    with nullcontext(connection) if connection is not None else _system(client).engine.connect() as within:
        stored = within.scalar(statement)
    return None if stored is None else _system(client).serializer.deserialize(stored)["args"][0]


async def outcome_of(job_id: str) -> Any:
    """Return what a job returned, when it has ended; for code that runs in this process as a job."""
    system: Any = _get_dbos_instance()._sys_db  # noqa: SLF001 - as below
    return await system.await_workflow_result_async(job_id, _LOOK_S, fail_if_missing=True)


def oldest_due_ms(client: DBOSClient, now_ms: int) -> int | None:
    """Return since when the oldest job that waits could have run, in milliseconds since 1970; None without any."""
    table = _system(client).tables.workflow_status
    due, made = sa.func.coalesce(table.c.delay_until_epoch_ms, 0), table.c.created_at
    since = sa.select(sa.func.min(sa.case((due > made, due), else_=made)))
    with _system(client).engine.connect() as connection:
        found = connection.scalar(since.where(table.c.status.in_(["ENQUEUED", "DELAYED"]), due <= now_ms))
    return None if found is None else int(found)


def _system(client: DBOSClient) -> Any:
    return client._sys_db  # noqa: SLF001 - this is the one module that may
