"""How long jobs have waited, as operators and their monitoring see it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from capabilities.jobs.workplace import Workplace
from object_service.capabilities.jobs import waiting
from object_service.capabilities.jobs.waiting import JobMetrics, keep_looking, oldest_waiting_s
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.contracts.json import Json


async def _nothing(_: str, __: Mapping[str, Json]) -> Json:
    return None


async def test_the_oldest_job_that_could_run_counts(office: Workplace) -> None:
    """Without any it is nothing; one that is delayed could not run yet."""
    now = datetime.now(UTC)
    assert 0 == await oldest_waiting_s(office.jobs, now)
    await office.begin(_nothing, delay_s=600)
    assert 0 == await oldest_waiting_s(office.jobs, now + timedelta(seconds=60))
    first = await office.begin(_nothing)
    await asyncio.sleep(0.3)
    await office.begin(_nothing)
    enqueued = (await office.management.show(first)).created_at
    assert 60 == pytest.approx(await oldest_waiting_s(office.jobs, enqueued + timedelta(seconds=60)), abs=0.01)


async def test_a_job_waits_since_it_is_due(office: Workplace) -> None:
    """One that was delayed waits from then on, whether or not anybody has noticed; it hides nobody who waits longer."""
    delayed = await office.begin(_nothing, delay_s=600)
    due = (await office.management.show(delayed)).due_at
    assert due is not None
    assert 30 == pytest.approx(await oldest_waiting_s(office.jobs, due + timedelta(seconds=30)), abs=0.01)
    later = await office.begin(_nothing)
    made = (await office.management.show(later)).created_at
    assert 620 == pytest.approx(await oldest_waiting_s(office.jobs, made + timedelta(seconds=620)), abs=0.01)


async def test_the_gauge_follows(office: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is absent before the first look and while the database is away."""
    looks: list[float | Exception] = [3.5, StorageUnavailableError("away"), 1.0]
    seen: list[list[float]] = []
    metrics = JobMetrics()

    async def look(*_: object) -> float:
        seen.append([sample.value for family in metrics.collect() for sample in family.samples])
        found = looks.pop(0) if looks else 1.0
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(waiting, "oldest_waiting_s", look)
    monkeypatch.setattr(waiting, "EVERY_S", 0.001)
    looking = asyncio.create_task(keep_looking(office.jobs, metrics))
    async with asyncio.timeout(5):
        while len(seen) < 4:  # noqa: ASYNC110 - what is waited for does not tell
            await asyncio.sleep(0.001)
    looking.cancel()
    assert [[], [3.5], [], [1.0]] == seen[:4]
