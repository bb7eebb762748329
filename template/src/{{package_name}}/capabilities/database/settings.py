"""Settings of the database."""

import re
from typing import Literal

from pydantic import Field, field_validator

from ...chassis.config.section import Section
from ...chassis.identity import SERVICE

_SQLITE = re.compile(r"sqlite(\+aiosqlite)?:///(?!:memory:|file:)[^?#]+")
_POSTGRESQL = re.compile(
    r"postgres(ql)?(\+asyncpg)?://"
    r"([^:/?#@]*(:[^@]*)?@)?([^:/?#@\[\]]+|\[[0-9A-Fa-f:.]+\]|(?=/[^?]*\?host=))(:(?P<port>\d{1,5}))?"
    r"(/[^?#]*(\?(host|port|sslmode|ssl)=[^&]*(&(host|port|sslmode|ssl)=[^&]*)*)?)?"
)
_PORTS = 2**16


class DatabaseSection(Section):
    """Where the data lie, and how long they stay."""

    url: str = Field(
        default=f"sqlite:///{SERVICE}.db",
        repr=False,
        description="Where the data lie: sqlite:///file.db, or postgresql://user:password@host:5432/name.",
    )
    pool_connections: int = Field(default=10, ge=1, description="Connections that one process opens at most.")
    pool_wait_s: float = Field(default=5, gt=0, description="How long a request waits for a connection, in seconds.")
    connect_timeout_s: float = Field(default=5, gt=0, description="How long connecting may take, in seconds.")
    statement_timeout_s: float = Field(
        default=30, gt=0, description="How long one statement may take (PostgreSQL), in seconds."
    )
    lock_wait_s: float = Field(
        default=30, gt=0, description="How long a writer waits for others (SQLite), and `migrate` for another one."
    )
    lease_s: float = Field(
        default=30, gt=0, description="How long work counts as being done after the last sign of life of its process."
    )
    keep_answers: bool = Field(default=True, description="Keep the envelopes of answered calls, not only of long work.")
    retention_days: float = Field(
        default=30, gt=0, description="Envelopes and audit entries that are older are deleted, in days."
    )
    replay_hours: float = Field(
        default=24, gt=0, description="How long a repeated Idempotency-Key gets the first answer again, in hours."
    )
    compress_over_bytes: int = Field(default=16384, ge=0, description="Documents of more bytes are compressed.")

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        found = _POSTGRESQL.fullmatch(url)
        if _SQLITE.fullmatch(url) or (found is not None and int(found["port"] or 0) < _PORTS):
            return url
        message = (
            "sqlite:///file.db or postgresql://user:password@host:5432/name, with nothing but host, port and sslmode"
            " after a question mark, and %40 for an @ in the password"
        )
        raise ValueError(message)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Return the engine behind the URL."""
        return "sqlite" if self.url.startswith("sqlite") else "postgresql"

    @property
    def address(self) -> str:
        """Return the URL with the driver that is used here."""
        driver = "sqlite+aiosqlite" if self.dialect == "sqlite" else "postgresql+asyncpg"
        place, mark, query = self.url.partition(":")[2].partition("?")
        return f"{driver}:{place}{mark}{query.replace('sslmode=', 'ssl=')}"
