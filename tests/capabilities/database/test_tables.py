"""Types of columns: what is stored is the same on both engines."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.tables import Document, Utc

TABLE = Table("kept", MetaData(), Column("id", Integer, primary_key=True), Column("at", Utc), Column("more", Document))
NOON = datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def kept(empty: Database) -> None:
    """Make the table of this module."""
    async with empty.writing() as connection:
        await connection.run_sync(TABLE.create)


@pytest.mark.parametrize("hours", [0, 2, -11.5], ids=["UTC", "east", "west"])
async def test_a_moment_is_stored_in_utc(empty: Database, hours: float) -> None:
    """Whatever zone it was given in, it is compared and read as the same moment, to the microsecond."""
    given = NOON.astimezone(timezone(timedelta(hours=hours)))
    async with empty.writing() as connection:
        await connection.execute(insert(TABLE).values(id=1, at=given))
        await connection.execute(insert(TABLE).values(id=2, at=given + timedelta(microseconds=1)))
        found = (await connection.execute(select(TABLE.c.id, TABLE.c.at).where(TABLE.c.at <= NOON))).all()
    assert [(1, NOON, UTC)] == [(id_, at, at.tzinfo) for id_, at in found]


@pytest.mark.parametrize(
    "document",
    [None, {}, [], {"a": [1, 0.5, True, None, "Zoë"]}, ["x"]],
    ids=["none", "empty", "list", "nested", "text"],
)
async def test_a_document_is_read_as_it_was(empty: Database, document: Any) -> None:
    """None is NULL, everything else JSON."""
    async with empty.writing() as connection:
        await connection.execute(insert(TABLE).values(id=1, more=document))
        assert document == (await connection.execute(select(TABLE.c.more))).scalar_one()
        nulls = await connection.execute(select(TABLE.c.id).where(TABLE.c.more.is_(None)))
    assert (document is None) == (nulls.first() is not None)
