"""Leases: which workers are alive, as the database sees it.

A worker takes a lease before it runs anything and renews it. Only the clock of the database counts. Taking over begins
with deleting a lease that has lapsed: that is one statement, so that a worker whose lease is gone knows that its jobs
have gone too, and one whose lease is there, however late, may go on.

Others look dead, too, when the database was away, or hung. Whoever could renew its own lease all the while knows that
it was not: nobody else ends a lease, and nobody does within `grace_s` of a gap, since the others have to find back.
"""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

METADATA = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"})

LEASES = sa.Table(
    "template_job_leases",
    METADATA,
    sa.Column("executor_id", sa.String(64), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("schedules", sa.JSON, nullable=False),
    sa.Column("steady_since", sa.Double, nullable=False),
    sa.Column("renewed_at", sa.Double, nullable=False),
)
"""Times are seconds since 1970 on the clock of the database; `schedules` are the names of those that are declared."""

_NOW = sa.extract("epoch", sa.func.clock_timestamp())
_ASKED = sa.extract("epoch", sa.func.statement_timestamp())
"""When the server got the statement: however long it hangs in the midst of it, nobody grows older for it."""


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of all workers (blocking; PostgreSQL)."""

    engine: sa.Engine
    lease_s: float
    grace_s: float

    def take(self, executor_id: str, schedules: Collection[str] = ()) -> None:
        """Take a new lease; one that a failed start left behind is taken again."""
        values: dict[str, Any] = {"host": socket.gethostname()[:255], "schedules": sorted(schedules)}
        values |= {"steady_since": _NOW, "renewed_at": _NOW}
        taken = insert(LEASES).values(executor_id=executor_id, **values)
        self._changed(taken.on_conflict_do_update(index_elements=[LEASES.c.executor_id], set_=values))

    def renew(self, executor_id: str) -> bool:
        """Renew a lease; return False if it is gone."""
        gap = LEASES.c.renewed_at < _NOW - self.lease_s / 2
        steady = sa.case((gap, _NOW), else_=LEASES.c.steady_since)
        return self._changed(self._of(executor_id, sa.update(LEASES).values(renewed_at=_NOW, steady_since=steady)))

    def release(self, executor_id: str) -> None:
        """Give a lease back."""
        self._changed(self._of(executor_id, sa.delete(LEASES)))

    def end_lapsed(self, executor_id: str) -> None:
        """Delete the leases of others that have lapsed, if that of an executor, who asks, was renewed all the while."""
        own = LEASES.alias("own")
        steady = own.c.renewed_at >= _ASKED - self.lease_s / 2, own.c.steady_since <= _ASKED - self.grace_s
        sees = sa.exists().where(own.c.executor_id == executor_id, *steady)
        lapsed = LEASES.c.renewed_at < _ASKED - self.lease_s
        self._changed(sa.delete(LEASES).where(lapsed, LEASES.c.executor_id != executor_id, sees))

    def holders(self) -> set[str]:
        """Return the executors that have a lease."""
        with self.engine.connect() as connection:
            return set(connection.scalars(sa.select(LEASES.c.executor_id)))

    def schedules(self) -> set[str]:
        """Return the schedules that any of them declares."""
        with self.engine.connect() as connection:
            return {name for names in connection.scalars(sa.select(LEASES.c.schedules)) for name in names}

    def _of[S: (sa.Update, sa.Delete)](self, executor_id: str, statement: S) -> S:
        return statement.where(LEASES.c.executor_id == executor_id)

    def _changed(self, statement: sa.Executable) -> bool:
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount > 0
