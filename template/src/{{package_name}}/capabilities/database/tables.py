"""Tables: what every table of this database has in common, and the tables that belong to the template."""

from datetime import UTC, datetime
from typing import Any, override

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Index, Integer, LargeBinary, MetaData, String, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID_CHARS = 64
"""Longest id."""

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Constraints are named the same on every engine, so that migrations can name them."""


class Utc(TypeDecorator[datetime]):
    """A moment, aware and in UTC, on engines with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A column of JSON that can be queried on both engines; None is NULL, as in every other column."""

_Number = BigInteger().with_variant(Integer(), "sqlite")
"""A counted key; SQLite counts only what is called INTEGER."""


class Table(DeclarativeBase):
    """A table of your own; migrations of your chain create it."""

    metadata = MetaData(naming_convention=_NAMES)


class ResourceTable(Table):
    """A table with what a resource needs: an id, times, a version for ETag, and a mark when it was deleted."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)
    deleted_at: Mapped[datetime | None] = mapped_column(Utc, default=None)


class TemplateTable(DeclarativeBase):
    """A table of the template; migrations of the template's chain create it."""

    metadata = MetaData(naming_convention=_NAMES)


class EnvelopeRow(TemplateTable):
    """The newest envelope of one id; the document is kept as JSON, or compressed where it is long."""

    __tablename__ = "template_envelopes"
    __table_args__ = (
        Index(None, "fingerprint", "created_at"),
        Index(None, "updated_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    object: Mapped[str] = mapped_column(String(ID_CHARS))
    status: Mapped[str] = mapped_column(String(16))
    fingerprint: Mapped[str] = mapped_column(String(80))
    schema_version: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # JSONB takes no text with a zero character
    packed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)
    awaited_until: Mapped[datetime | None] = mapped_column(Utc, index=True)


class ReplyRow(TemplateTable):
    """The answer to a request with an Idempotency-Key, or the claim of whoever works on it."""

    __tablename__ = "template_replies"

    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    claim: Mapped[str] = mapped_column(String(64))
    claimed_until: Mapped[datetime] = mapped_column(Utc)
    request: Mapped[str | None] = mapped_column(String(96))
    status: Mapped[int | None] = mapped_column()
    headers: Mapped[list[list[str]] | None] = mapped_column(Document)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Utc, index=True)


class AuditRow(TemplateTable):
    """Who changed what and when, with the record before and after."""

    __tablename__ = "template_audit"
    __table_args__ = (Index(None, "resource", "record_id", "number"),)

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    resource: Mapped[str] = mapped_column(String(ID_CHARS))
    record_id: Mapped[str] = mapped_column(String(ID_CHARS))
    action: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(ID_CHARS))
    correlation_id: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime] = mapped_column(Utc, index=True)
    before: Mapped[dict[str, Any] | None] = mapped_column(Document)
    after: Mapped[dict[str, Any] | None] = mapped_column(Document)
