"""Schedules: each time is one job, an outage loses none, and a rollout none either."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from capabilities.database.waiting import until
from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.jobs import runs, schedules
from object_service.capabilities.jobs.declarations import Schedule
from object_service.capabilities.jobs.records import JobStatus
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.contracts.json import Json

_FIRED = "UPDATE {table} SET last_fired_at = :at WHERE schedule_name = :name"


async def _nothing(_: str, __: Mapping[str, Json]) -> Json:
    return None


def _declare(place: Workplace, *names: str, cron: str = "0 3 * * *", **options: Any) -> None:
    payload = place.payload(_nothing)
    for name in names:
        place.jobs.add_schedule(Schedule(name=name, cron=cron, job="any", payload=payload, **options))


async def _known(place: Workplace) -> dict[str, str]:
    found = await asyncio.to_thread(place.jobs.client.list_schedules)
    return {one["schedule_name"]: one["schedule"] for one in found}


async def test_a_schedule_fires_and_ends_with_its_declaration(url: str) -> None:
    """Each time is one job with that time in its payload; a release without the schedule forgets it."""
    given: list[Mapping[str, Json]] = []
    fired = asyncio.Event()

    async def work(_: str, payload: Mapping[str, Json]) -> Json:
        given.append(payload)
        fired.set()
        return None

    async with opened(url) as place:
        key = place.payload(work)
        place.jobs.add_schedule(Schedule(name="often", cron="* * * * * *", job="any", payload={**key, "more": 1}))
        await place.executor.start()
        await asyncio.wait_for(fired.wait(), 20)
        assert ["often"] == list(await _known(place))
    assert (1, True) == (given[0]["more"], str(given[0]["scheduled_at"]).startswith("20"))
    assert len(given) == len({str(one["scheduled_at"]) for one in given})

    async with opened(url) as place:
        await place.executor.start()
        assert {} == await _known(place)


async def test_an_outage_loses_no_firing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be asked for is asked for again; a firing fails no more than a job does."""
    monkeypatch.setattr(runs, "_AUDIT_TURNS", 1)
    async with opened(url) as place:
        enqueue, asked, stored = place.jobs.enqueue, list[str](), list[str]()

        async def away(name: str, *details: Any, **options: Any) -> str:
            asked.append(options["id_"])
            if len(asked) == 1:
                raise StorageUnavailableError("away")
            stored.append(await enqueue(name, *details, **options))
            return stored[-1]

        monkeypatch.setattr(place.jobs, "enqueue", away)
        _declare(place, "often", cron="* * * * * *")
        await place.executor.start()
        await until(lambda: set(asked[:1]) & set(stored))
        assert JobStatus.SUCCEEDED is (await place.ended(asked[0])).status
        found = await place.management.page(name="schedule_often", size=100)
        assert JobStatus.FAILED not in {one.status for one in found}


async def test_what_was_missed_is_made_good(url: str) -> None:
    """With `catch_up`, each time since the last one that fired is a job, and without it none is."""
    async with opened(url) as place:
        for catch_up in (True, False):
            _declare(place, f"made_good_{catch_up}", cron="0 * * * *", catch_up=catch_up)
        await place.executor.start()
        table = "workflow_schedules" if place.database.dialect == "sqlite" else "dbos.workflow_schedules"
        async with place.database.writing() as connection:
            for name in place.jobs.schedules:
                last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
                values = {"at": last.isoformat(), "name": name}
                await connection.execute(sa.text(_FIRED.format(table=table)), values)
        await place.executor.stop()
    async with opened(url) as place:
        for catch_up in (True, False):
            _declare(place, f"made_good_{catch_up}", cron="0 * * * *", catch_up=catch_up)
        await place.executor.start()
        fired: list[Any] = []
        async with asyncio.timeout(20):
            while len(fired) < 2:
                await asyncio.sleep(0.05)
                fired = await place.management.page(name="any", status=JobStatus.SUCCEEDED)
        assert [] == await place.management.page(name="schedule_made_good_False")


async def test_in_a_rollout_nobody_forgets_what_others_declare(postgresql: str) -> None:
    """An old process that begins again after a new one deletes nothing of it; the last word is that of the new one."""
    async with opened(postgresql) as new, opened(postgresql) as old:
        _declare(new, "both", "added")
        _declare(old, "both", "removed", cron="0 4 * * *")
        engine = old.executor
        heartbeat = await asyncio.to_thread(engine._take_lease)  # one process cannot have two engines that run
        assert heartbeat is not None
        await asyncio.to_thread(engine._declare)
        await new.executor.start()
        every = {"both", "added", "removed"}
        assert every == (await _known(new)).keys()
        await asyncio.to_thread(engine._declare)
        assert (every, "0 4 * * *") == (set(known := await _known(new)), known["both"])

        fired = await new.jobs.enqueue("any", {}, delay_s=600)
        table = sa.text("UPDATE dbos.workflow_status SET schedule_name = 'removed' WHERE workflow_uuid = :id")
        async with new.database.writing() as connection:
            await connection.execute(table, {"id": fired})
        await asyncio.to_thread(engine._held.close)
        await asyncio.to_thread(new.executor._declare)
        assert {"both": "0 3 * * *", "added": "0 3 * * *"} == await _known(new)
        assert JobStatus.CANCELLED is (await new.management.show(fired)).status


async def test_schedules_are_declared_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is no reason to stop with it."""
    turns: list[int] = []

    def declare() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise sa.exc.TimeoutError("away")

    monkeypatch.setattr(schedules, "EVERY_S", 0.001)
    with caplog.at_level("DEBUG"):
        declaring = asyncio.create_task(schedules.keep_declaring(declare))
        await until(lambda: len(turns) >= 3)
        declaring.cancel()
    assert ["schedules_not_declared"] == [one for one in caplog.messages if one.startswith("schedules_")]
