"""Retention: what is older than the settings allow goes, and nothing else."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Table, func, insert, select

from capabilities.database.samples import FINGERPRINT
from capabilities.database.waiting import until
from object_service.capabilities.database import retention
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.retention import Sweeper, sweep
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.database.tables import TemplateTable

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECTION = DatabaseSection(retention_days=30, replay_hours=24)
TABLES = TemplateTable.metadata.tables
ENVELOPES, REPLIES, AUDIT = (TABLES[f"template_{name}"] for name in ("envelopes", "replies", "audit"))


async def _add(database: Database, ages: Sequence[timedelta]) -> None:
    base = {"object": "genai", "status": "succeeded", "fingerprint": FINGERPRINT, "schema_version": "1"}
    audit = {"resource": "recordings", "record_id": "rec_1", "action": "create", "actor": "a", "correlation_id": "c"}
    async with database.writing() as connection:
        for number, age in enumerate(ages):
            at, id_ = NOW - age, f"id_{number}"
            envelope = {**base, "id": id_, "created_at": at - timedelta(days=100), "updated_at": at}
            await connection.execute(insert(ENVELOPES).values(envelope))
            reply = {"scope": id_, "claim": "c", "claimed_until": at, "created_at": at, "status": 200}
            await connection.execute(insert(REPLIES).values(reply))
            await connection.execute(insert(AUDIT).values(**audit, at=at))


async def _left(database: Database) -> list[int]:
    async with database.reading() as connection:
        counted = [select(func.count()).select_from(table) for table in (ENVELOPES, REPLIES, AUDIT)]
        return [int(await connection.scalar(count) or 0) for count in counted]


async def test_only_what_is_too_old_goes(database: Database) -> None:
    """Envelopes and audit entries go after days, answers to repeat after hours, each when its time is over."""
    second = timedelta(seconds=1)
    day, month = timedelta(hours=24), timedelta(days=30)
    await _add(database, [second, day - second, day + second, month - second, month + second])
    assert 5 == await sweep(database, SECTION, NOW)
    assert [4, 2, 4] == await _left(database)
    assert 0 == await sweep(database, SECTION, NOW)


async def test_what_is_worked_on_stays(database: Database) -> None:
    """Unfinished work that shows signs of life, or is a durable job, and a request that is being served."""
    old, soon, month = NOW - timedelta(days=40), NOW + timedelta(seconds=9), timedelta(days=30)
    base: dict[str, object] = {
        "object": "diarization",
        "fingerprint": FINGERPRINT,
        "schema_version": "1",
        "updated_at": old,
    }
    base["created_at"] = old
    work = {"held": ("running", soon), "durable": ("pending", None), "left": ("running", NOW - month * 1.1)}
    async with database.writing() as connection:
        for id_, (status, until_) in work.items():
            await connection.execute(
                insert(ENVELOPES).values({**base, "id": id_, "status": status, "awaited_until": until_})
            )
        for scope, until_ in (("served", soon), ("abandoned", old)):
            reply = {"scope": scope, "claim": "c", "claimed_until": until_, "created_at": old}
            await connection.execute(insert(REPLIES).values(reply))

    assert 2 == await sweep(database, SECTION, NOW)

    async with database.reading() as connection:
        left = {*await connection.scalars(select(ENVELOPES.c.id)), *await connection.scalars(select(REPLIES.c.scope))}
    assert {"held", "durable", "served"} == left


@pytest.mark.parametrize("count", [6, 7], ids=["a whole number of steps", "a rest"])
async def test_much_goes_in_steps(database: Database, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """No transaction deletes more than a step, so that others get their turn; in the end all of it is gone."""
    monkeypatch.setattr(retention, "_STEP_ROWS", 3)
    await _add(database, [timedelta(days=40)] * count)
    transactions: list[None] = []
    writing = database.writing

    def counted() -> object:
        transactions.append(None)
        return writing()

    monkeypatch.setattr(database, "writing", counted)
    assert 3 * count == await sweep(database, SECTION, NOW)
    assert [0, 0, 0] == await _left(database)
    assert 9 == len(transactions)


async def test_sweeping_goes_on_after_failures(
    empty: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be deleted now is deleted another time, whatever was in the way; the log has the reason."""
    monkeypatch.setattr(retention, "_FIRST_S", 0)
    monkeypatch.setattr(retention, "_EVERY_S", 0.05)
    errors: list[Exception] = [ValueError("a defect")]

    async def failing(*given: object) -> int:
        if errors:
            raise errors.pop()
        return await sweep(*given)  # type: ignore[arg-type] # what it was called with

    monkeypatch.setattr(retention, "sweep", failing)
    caplog.set_level("INFO")
    sweeper = Sweeper(empty, SECTION)
    await until(lambda: caplog.messages.count("old_rows_not_deleted") >= 2)
    async with empty.writing() as connection:
        await connection.run_sync(TemplateTable.metadata.create_all)
    await until(lambda: "old_rows_deleted" in caplog.messages)
    await sweeper.aclose()


async def test_a_short_run_sweeps_nothing(database: Database) -> None:
    """The first time comes after a while; ending before that is quick."""
    await _add(database, [timedelta(days=40)])
    sweeper = Sweeper(database, SECTION)
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await sweeper.aclose()
    assert [1, 1, 1] == await _left(database)


def test_columns_that_are_searched_have_an_index() -> None:
    """The sweep does not read whole tables."""
    searched: list[tuple[Table, str]] = [(ENVELOPES, "updated_at"), (REPLIES, "created_at"), (AUDIT, "at")]
    for table, column in searched:
        assert column in {next(iter(index.columns)).name for index in table.indexes}
