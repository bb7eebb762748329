"""Transactions: all or nothing, one writer after another on SQLite, and no wait without an end."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, exc, insert, select, text, update

from object_service.capabilities.database import database as module
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.database.tables import Document
from object_service.chassis.contracts.errors import StorageUnavailableError

METADATA = MetaData()
COUNTS = Table("counts", METADATA, Column("name", String(20), primary_key=True), Column("value", Integer))
HELD = insert(COUNTS).values(name="held", value=1)


@pytest.fixture(autouse=True)
async def counts(empty: Database) -> None:
    """Make the table of this module, with one row."""
    async with empty.writing() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(insert(COUNTS).values(name="first", value=0))


@pytest.fixture
async def impatient(section: DatabaseSection) -> AsyncIterator[Database]:
    """Yield the same database with two connections, and little patience."""
    given = {"pool_connections": 2, "pool_wait_s": 0.2, "lock_wait_s": 0.3}
    database = Database(section.model_copy(update=given))
    yield database
    await database.aclose()


async def _values(database: Database) -> dict[str, int]:
    async with database.reading() as connection:
        return {row.name: row.value for row in await connection.execute(select(COUNTS))}


async def test_what_is_written_is_kept(empty: Database) -> None:
    """A block that ends keeps what it wrote, and sees it before that."""
    async with empty.writing() as connection:
        await connection.execute(HELD)
        assert 1 == await connection.scalar(select(COUNTS.c.value).where(COUNTS.c.name == "held"))
        assert {"first": 0} == await _values(empty)
    assert {"first": 0, "held": 1} == await _values(empty)


async def test_an_error_undoes_everything(empty: Database) -> None:
    """A block that fails keeps nothing, whatever failed; the next one works."""

    async def write(*, twice: bool) -> None:
        async with empty.writing() as connection:
            await connection.execute(HELD)
            if twice:
                await connection.execute(HELD)
            raise ZeroDivisionError

    with pytest.raises(exc.IntegrityError):
        await write(twice=True)
    with pytest.raises(ZeroDivisionError):
        await write(twice=False)
    assert {"first": 0} == await _values(empty)


async def test_what_a_reader_writes_is_not_kept(empty: Database) -> None:
    """A transaction for reading is given up at its end."""
    async with empty.reading() as connection:
        await connection.execute(HELD)
    assert {"first": 0} == await _values(empty)


@pytest.mark.parametrize("steps", range(6), ids=lambda steps: f"after {steps} turns")
async def test_a_cancelled_block_keeps_nothing(empty: Database, steps: int) -> None:
    """Cancelled at any point, a transaction is undone, and the next writer gets its turn at once."""
    before = asyncio.Event()

    async def write() -> None:
        async with empty.writing() as connection:
            before.set()
            await connection.execute(HELD)
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    if steps:
        await before.wait()
    for _ in range(steps - 1):
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5), empty.writing() as connection:
        await connection.execute(insert(COUNTS).values(name="next", value=2))
    assert {"first": 0, "next": 2} == await _values(empty)


async def test_readers_then_writers_lose_nothing(empty: Database) -> None:
    """Of 500 transactions that read before they write, all come through and none undoes another."""

    async def add() -> None:
        async with empty.writing() as connection:
            found = select(COUNTS.c.value).where(COUNTS.c.name == "first")
            found = found if empty.dialect == "sqlite" else found.with_for_update()
            value = (await connection.execute(found)).scalar_one()
            await connection.execute(update(COUNTS).where(COUNTS.c.name == "first").values(value=value + 1))

    count = 500 if empty.dialect == "sqlite" else 100  # a connection is waited for, on PostgreSQL, for 5 seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(add())
    assert {"first": count} == await _values(empty)


async def test_two_processes_take_turns(empty: Database, section: DatabaseSection) -> None:
    """Who only wants to read first has to wait as well: what it reads would be old when it writes."""
    other = Database(section)

    async def add(database: Database, pause_s: float) -> None:
        async with database.writing() as connection:
            found = select(COUNTS.c.value)
            found = found if database.dialect == "sqlite" else found.with_for_update()
            value = (await connection.execute(found)).scalar_one()
            await asyncio.sleep(pause_s)
            await connection.execute(update(COUNTS).values(value=value + 1))

    try:
        await asyncio.gather(add(empty, 0.1), add(other, 0.3))
    finally:
        await other.aclose()
    assert {"first": 2} == await _values(empty)


@pytest.mark.parametrize("kind", ["reading", "writing"])
async def test_too_many_at_once_are_told(impatient: Database, kind: str) -> None:
    """Who finds every connection taken learns soon that the data cannot be reached, and is served afterwards."""
    async with impatient.reading() as first, impatient.reading() as second:
        await first.execute(text("SELECT 1"))
        await second.execute(text("SELECT 1"))
        begun = time.monotonic()
        with pytest.raises(StorageUnavailableError) as caught:
            async with getattr(impatient, kind)():
                pass
        assert 0.2 <= time.monotonic() - begun < 2
    assert ("storage_unavailable", True) == (caught.value.code, caught.value.retryable)
    assert {"first": 0} == await _values(impatient)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_writer_does_not_wait_for_ever(impatient: Database, empty: Database) -> None:
    """Neither for another task nor for another process."""
    for holder in (impatient, empty):
        async with holder.writing() as connection:
            await connection.execute(HELD)
            begun = time.monotonic()
            with pytest.raises(StorageUnavailableError):
                async with impatient.writing():
                    pass
            assert 0.3 <= time.monotonic() - begun < 2
            await connection.rollback()
    async with impatient.writing() as connection:
        await connection.execute(HELD)
    assert {"first": 0, "held": 1} == await _values(empty)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_waiting_for_another_process_can_be_cancelled(impatient: Database, empty: Database) -> None:
    """Who gives up waiting leaves nothing locked."""
    async with empty.writing() as connection:
        await connection.execute(HELD)

        async def write() -> None:
            async with impatient.writing() as other:
                await other.execute(HELD)

        task = asyncio.create_task(write())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with impatient.writing() as connection:
        await connection.execute(insert(COUNTS).values(name="next", value=2))
    assert {"first": 0, "held": 1, "next": 2} == await _values(empty)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_new_file_is_opened_by_many_at_once(section: DatabaseSection) -> None:
    """Processes that find no file yet, and all want to write, do not get in each other's way."""
    fresh = section.model_copy(update={"url": section.url.replace("data.db", "fresh.db")})
    many = [Database(fresh) for _ in range(8)]

    async def write(database: Database, number: int) -> None:
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS numbers (number int)"))
            await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})

    await asyncio.gather(*(write(database, number) for number, database in enumerate(many)))
    async with many[0].reading() as connection:
        assert 8 == await connection.scalar(text("SELECT count(*) FROM numbers"))
        assert "wal" == await connection.scalar(text("PRAGMA journal_mode"))
    await asyncio.gather(*(database.aclose() for database in many))


async def test_references_are_checked(empty: Database) -> None:
    """A row that refers to nothing is refused on both engines."""
    async with empty.writing() as connection:
        await connection.execute(text("CREATE TABLE children (parent varchar(20) REFERENCES counts (name))"))
    with pytest.raises(exc.IntegrityError):
        async with empty.writing() as connection:
            await connection.execute(text("INSERT INTO children VALUES ('nobody')"))


async def test_the_end_waits_for_connections_that_come_back(section: DatabaseSection) -> None:
    """What was cut off still gives its connection back; nothing is closed under its hands."""
    database = Database(section)
    inside, back = asyncio.Event(), list[str]()

    async def read() -> None:
        async with database.reading() as connection:
            inside.set()
            await asyncio.sleep(0.2)
            back.append(str(await connection.scalar(text("SELECT 1"))))

    task = asyncio.create_task(read())
    await inside.wait()
    await database.aclose()
    assert ["1"] == back
    await task


async def test_the_end_does_not_wait_for_ever(section: DatabaseSection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that stays in use is left to whoever has it."""
    monkeypatch.setattr(module, "_CLOSE_S", 0.05)
    database = Database(section)
    async with database.reading() as connection:
        await connection.scalar(text("SELECT 1"))
        async with asyncio.timeout(2):
            await database.aclose()
        await connection.invalidate()


@pytest.mark.parametrize(("connections", "places"), [(1, 1), (2, 1), (3, 1), (4, 2), (10, 2)])
def test_long_reads_leave_connections_to_others(connections: int, places: int) -> None:
    """At most two of them at once, and half of the connections, but always one."""
    database = Database(DatabaseSection(url="sqlite:///x.db", pool_connections=connections))
    assert places == database.long_reads._value


async def test_a_document_holds_what_json_knows(empty: Database) -> None:
    """NaN is refused on either engine."""
    table = Table("documents", MetaData(), Column("content", Document))
    async with empty.writing() as connection:
        await connection.run_sync(table.metadata.create_all)
        with pytest.raises(exc.StatementError, match="not JSON compliant"):
            await connection.execute(insert(table).values(content={"a": float("nan")}))
