"""Leases: which workers are alive, as the database sees it.

A worker takes a lease before it runs anything and renews it. Only the clock of the database counts. Taking over begins
with deleting a lease that has lapsed: that is one statement, so that a worker whose lease is gone knows that its jobs
have gone too, and one whose lease is there, however late, may go on.
"""

import socket
from dataclasses import dataclass

import sqlalchemy as sa

METADATA = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"})

LEASES = sa.Table(
    "template_job_leases",
    METADATA,
    sa.Column("executor_id", sa.String(64), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("taken_at", sa.Double, nullable=False),
    sa.Column("renewed_at", sa.Double, nullable=False),
)
"""Times are seconds since 1970 on the clock of the database."""

_NOW = sa.extract("epoch", sa.func.clock_timestamp())


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of all workers (blocking; PostgreSQL)."""

    engine: sa.Engine
    lease_s: float

    def take(self, executor_id: str) -> None:
        """Take a new lease."""
        values = {"executor_id": executor_id, "host": socket.gethostname()[:255], "taken_at": _NOW, "renewed_at": _NOW}
        self._changed(sa.insert(LEASES).values(values))

    def renew(self, executor_id: str) -> bool:
        """Renew a lease; return False if it is gone."""
        return self._changed(self._of(executor_id, sa.update(LEASES).values(renewed_at=_NOW)))

    def release(self, executor_id: str) -> None:
        """Give a lease back."""
        self._changed(self._of(executor_id, sa.delete(LEASES)))

    def end_lapsed(self, executor_id: str) -> None:
        """Delete every lease that has lapsed but that of an executor: whoever asks is alive, however slow."""
        lapsed = LEASES.c.renewed_at < _NOW - self.lease_s
        self._changed(sa.delete(LEASES).where(lapsed, LEASES.c.executor_id != executor_id))

    def holders(self) -> set[str]:
        """Return the executors that have a lease."""
        with self.engine.connect() as connection:
            return set(connection.scalars(sa.select(LEASES.c.executor_id)))

    def _of[S: (sa.Update, sa.Delete)](self, executor_id: str, statement: S) -> S:
        return statement.where(LEASES.c.executor_id == executor_id)

    def _changed(self, statement: sa.Executable) -> bool:
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount > 0
