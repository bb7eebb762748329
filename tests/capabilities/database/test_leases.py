"""Leases: work whose process died reads as failed, and an answer is worth more than its copy."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text, update

from capabilities.database.conftest import OpenStore
from capabilities.database.samples import DIARIZED, GENERATED, PENDING, PLAIN, RUNNING
from capabilities.database.stored import TABLE, change_rows, row_of
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.envelopes import DatabaseStore
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.envelope import Envelope, Failed, Pending, Running, Succeeded
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.domain.diarization import Diarization
from object_service.domain.genai import Generation


async def test_work_of_a_process_that_died_reads_as_interrupted(open_store: OpenStore, database: Database) -> None:
    """After the lease it has failed, may be tried again, and stays so."""
    died = open_store(lease_s=0.2)
    await died.save(RUNNING)
    await died.aclose()
    store = open_store()
    assert RUNNING == await store.load(RUNNING.id, Diarization, of="diarization")
    await asyncio.sleep(0.25)
    found = await store.load(RUNNING.id, Diarization, of="diarization")
    assert isinstance(found, Failed)
    assert ("interrupted", True) == (found.error.code, found.error.retryable)
    assert found.provenance.finished_at is not None
    assert found == await store.load(RUNNING.id, Diarization, of="diarization")
    row = await row_of(database, RUNNING.id)
    assert ("failed", None) == (row["status"], row["awaited_until"])


async def test_work_of_a_process_that_lives_goes_on(open_store: OpenStore) -> None:
    """Signs of life are shown for all its work, for as long as that lasts, and begin again with the next."""
    worker, reader = open_store(lease_s=0.3), open_store()
    for round_ in ("a", "b"):
        works: list[Pending | Running] = [replace(PENDING, id=f"dia_1{round_}"), replace(RUNNING, id=f"dia_2{round_}")]
        for work in works:
            await worker.save(work)
        await asyncio.sleep(0.7)
        for work in works:
            assert work == await reader.load(work.id, Diarization, of="diarization")
            await worker.save(replace(DIARIZED, id=work.id))
            assert isinstance(await reader.load(work.id, Diarization, of="diarization"), Succeeded)
        await asyncio.sleep(0.2)
        assert worker._renewing is not None
        assert worker._renewing.done()


async def _late(
    worker: DatabaseStore,
    last: Envelope[Any],
    interrupt: Callable[[Envelope[Any], datetime], Awaitable[None]],
    *given: Any,
) -> None:
    """Have the worker say something just before it is taken for dead."""
    await worker.save(last)
    await interrupt(*given)


async def test_who_interrupts_does_not_undo(
    open_store: OpenStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that ends, or shows a sign of life, while somebody takes it for dead keeps its end."""
    worker, reader = open_store(lease_s=30), open_store()
    ends: tuple[Envelope[Diarization], ...] = (DIARIZED, RUNNING)
    for last in ends:
        await worker.save(replace(RUNNING, id=last.id))
        await change_rows(database, awaited_until=datetime.now(UTC) - timedelta(seconds=1))
        monkeypatch.setattr(reader, "_interrupt", partial(_late, worker, last, reader._interrupt))
        assert last == await reader.load(last.id, Diarization, of="diarization")
        monkeypatch.undo()


async def test_without_a_lease_nothing_is_interrupted(open_store: OpenStore, database: Database) -> None:
    """Where something else sees to it that work goes on, nobody looks at signs of life."""
    store = open_store(lease_s=None)
    await store.save(RUNNING)
    assert (None, None) == ((await row_of(database, RUNNING.id))["awaited_until"], store._renewing)
    assert RUNNING == await store.load(RUNNING.id, Diarization, of="diarization")


async def test_work_whose_end_cannot_be_kept_does_not_run_for_ever(open_store: OpenStore, database: Database) -> None:
    """When the database fails at the end of the work, the work reads as interrupted after the lease."""
    worker = open_store(lease_s=0.2)
    await worker.save(RUNNING)
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE template_envelopes RENAME TO away"))
    with pytest.raises(StorageUnavailableError):
        await worker.save(replace(DIARIZED, id=RUNNING.id))
    async with database.writing() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO template_envelopes"))
    await asyncio.sleep(0.3)
    found = await worker.load(RUNNING.id, Diarization, of="diarization")
    assert isinstance(found, Failed)
    assert "interrupted" == found.error.code


async def test_an_answer_is_worth_more_than_its_copy(empty: Database, caplog: pytest.LogCaptureFixture) -> None:
    """When the answer of a call cannot be kept the caller gets it, with a notice; the log has the error."""
    store = DatabaseStore(empty, compress_over_bytes=0, lease_s=30)
    (notice,) = await store.keep(PLAIN)
    assert ("not_kept", True) == (notice.code, "read again" in notice.message)
    with pytest.raises(StorageUnavailableError):
        await store.save(PLAIN)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ("envelope_not_kept", PLAIN.id) == (record.message, record.__dict__["envelope_id"])


async def test_what_was_kept_needs_no_notice(open_store: OpenStore) -> None:
    """The answer of a call is read by its id."""
    store = open_store()
    assert () == await store.keep(GENERATED)
    assert GENERATED == await store.load(GENERATED.id, Generation, of="genai")


async def test_keeping_ends_with_the_time_of_the_call(open_store: OpenStore, database: Database) -> None:
    """A caller whose time is running out does not wait for the copy of the answer."""
    store = open_store()
    await store.save(PLAIN)
    async with asyncio.timeout(5), database.writing() as connection:
        await connection.execute(update(TABLE).values(status="failed"))
        with entered(Context("c").shortened(0.2)):
            (notice,) = await store.keep(PLAIN)
    assert "not_kept" == notice.code
