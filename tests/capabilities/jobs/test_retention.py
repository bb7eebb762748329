"""Retention: finished jobs go after their time with everything of theirs, and unfinished ones never."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from capabilities.jobs.workplace import Workplace
from object_service.capabilities.jobs import retention
from object_service.capabilities.jobs.retention import delete_finished, keep_deleting
from object_service.capabilities.jobs.running import step
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.contracts.json import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _stepped(_: str, payload: Mapping[str, Json]) -> Json:
    async def one() -> Json:
        return 1

    await step(one)
    if payload.get("fails"):
        raise ValueError("a defect")
    return None


async def test_finished_jobs_go_after_their_time(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they ended, page by page, with their steps; what waits or was finished later stays."""
    monkeypatch.setattr(retention, "_PAGE", 2)
    ended = [(await workplace.outcome(_stepped, {"fails": n % 2})).id for n in range(5)]
    stopped = await workplace.begin(_stepped, delay_s=600)
    await workplace.management.cancel(stopped)
    waiting, now = await workplace.begin(_stepped, delay_s=600), datetime.now(UTC)
    day = timedelta(days=1)

    assert 0 == await delete_finished(workplace.jobs, older_than=day, now=now)
    assert 6 == await delete_finished(workplace.jobs, older_than=day, now=now + day + timedelta(seconds=1))
    assert [waiting] == [one.id for one in await workplace.management.page()]
    assert [] == await workplace.jobs.client.list_workflow_steps_async(ended[0])


async def test_a_result_stays_as_long_as_somebody_may_ask(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child goes with its parent, not before, however many of them there are on a page."""
    monkeypatch.setattr(retention, "_PAGE", 2)
    begun, on = asyncio.Event(), asyncio.Event()

    async def parent(_: str, __: Mapping[str, Json]) -> Json:
        ids = [await workplace.begin(_child, {"n": n}) for n in range(3)]
        begun.set()
        await on.wait()
        return [await workplace.jobs.result(id_) for id_ in ids]

    day, ids = timedelta(days=1), [await workplace.begin(parent)]
    await begun.wait()
    ids += [f"{ids[0]}_{n}" for n in (1, 2, 3)]
    for id_ in ids[1:]:
        await workplace.ended(id_)
    other = (await workplace.outcome(_child, {"n": 7})).id
    now = datetime.now(UTC) + day + timedelta(seconds=1)
    assert 1 == await delete_finished(workplace.jobs, older_than=day, now=now)
    assert await workplace.management.find(other) is None
    on.set()
    assert [0, 1, 2] == (await workplace.ended(ids[0])).result
    assert 4 == await delete_finished(workplace.jobs, older_than=day, now=now + timedelta(seconds=60))


async def _child(_: str, payload: Mapping[str, Json]) -> Json:
    return payload["n"]


async def test_deleting_goes_on_after_trouble(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unreachable database is told, and the next round deletes again."""
    rounds, again = [], asyncio.Event()

    async def delete(*_: object, **__: object) -> int:
        rounds.append(1)
        if len(rounds) == 1:
            raise StorageUnavailableError("away")
        again.set()
        return 3

    monkeypatch.setattr(retention, "delete_finished", delete)
    monkeypatch.setattr(retention, "EVERY_S", 0.01)
    with caplog.at_level("INFO"):
        deleting = asyncio.create_task(keep_deleting(workplace.jobs, 30))
        await asyncio.wait_for(again.wait(), 5)
        await asyncio.sleep(0)
        deleting.cancel()
    assert {"old_jobs_not_deleted", "old_jobs_deleted"} <= {one.msg for one in caplog.records}
