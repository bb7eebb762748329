"""What ends the code of a job where it stands: cancellations, other owners, outages, and the code itself."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from capabilities.database.waiting import until
from capabilities.jobs.workplace import Workplace, noted
from object_service.capabilities.jobs import runs
from object_service.capabilities.jobs.declarations import Job
from object_service.capabilities.jobs.records import JobStatus
from object_service.capabilities.jobs.running import rest, sleep, step
from object_service.chassis.contracts.errors import RequestError, StorageUnavailableError
from object_service.chassis.contracts.json import Json

_MOVE = "UPDATE {table} SET owner_xid = 'other', executor_id = 'exe_other' WHERE workflow_uuid = :id"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after jobs that wait to be begun again at every turn."""
    monkeypatch.setattr(runs, "_AUDIT_TURNS", 1)


async def _nothing(_: str, payload: Mapping[str, Json]) -> Json:
    return payload.get("n")


async def test_nothing_begins_once_the_process_ends(workplace: Workplace) -> None:
    """A job that was claimed at the last moment is handed back as it is: its code never runs, and is told nothing."""
    begun: list[str] = []

    async def work(id_: str, _: Mapping[str, Json]) -> Json:
        begun.append(id_)
        return None

    ending = runs.Runs(workplace.jobs, "exe_ends")
    ending.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await ending.perform(Job(name="any", function=work), {}, {})
    assert [] == begun


@pytest.mark.parametrize("within", ["main", "group"])
async def test_a_cancellation_from_elsewhere_reaches_the_next_step(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    """The code sees what it would see at once in the same process, and its record says that it has stopped."""
    monkeypatch.setattr(workplace.jobs, "on_cancel", lambda _: None)
    monkeypatch.setattr(runs.Runs, "_end_cancelled", _never)
    seen: list[str] = []
    begun = asyncio.Event()

    async def often() -> None:
        while True:
            await step(_pause)
            begun.set()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        with noted(seen):
            if within == "main":
                await often()
            async with asyncio.TaskGroup() as group:
                group.create_task(often())
        return None

    id_ = await workplace.begin(work)
    await begun.wait()
    await workplace.management.cancel(id_)
    await workplace.stopped(id_)
    assert ["CancelledError"] == seen


async def _pause() -> None:
    await asyncio.sleep(0.05)


async def _never(_: Any) -> None:
    pass


async def test_a_job_that_runs_elsewhere_now_is_no_cancelled_one(workplace: Workplace) -> None:
    """Its code is interrupted, writes no end, and what it does is not recorded."""
    seen: list[str] = []
    begun, on = asyncio.Event(), asyncio.Event()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        begun.set()
        await on.wait()
        with noted(seen):
            await sleep(0.01)
        return None

    id_ = await workplace.begin(work)
    await begun.wait()
    async with workplace.database.writing() as connection:
        await connection.execute(sa.text(_MOVE.format(table=workplace.engine_table)), {"id": id_})
    on.set()
    await until(lambda: bool(seen))
    assert (["Interrupted"], JobStatus.RUNNING) == (seen, (await workplace.management.show(id_)).status)
    await workplace.management.cancel(id_)


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(
    workplace: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    """Code that ends so by itself fails, and says so, instead of being begun again and again."""

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        inner = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        inner.cancel()
        await inner
        return None

    record = await workplace.outcome(work)
    assert record.error is not None
    assert (JobStatus.FAILED, "internal_error") == (record.status, record.error.code)
    (line,) = [one for one in caplog.records if one.msg == "job_failed" and vars(one)["job_id"] == record.id]
    assert "cancellation that nobody had asked for" in vars(line)["error"]


@pytest.mark.parametrize("timeout_s", [None, 30], ids=["plain", "with-a-timeout"])
async def test_an_outage_is_no_outcome_of_a_step(workplace: Workplace, timeout_s: float | None) -> None:
    """The step is called again when the job is; an outage that was recorded would last for ever."""
    calls: list[str] = []

    async def read() -> Json:
        calls.append("read")
        if len(calls) == 1:
            raise StorageUnavailableError("away")
        return "read"

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        return await step(read, timeout_s=timeout_s)

    record = await workplace.outcome(work)
    assert (JobStatus.SUCCEEDED, "read", 1, 2) == (record.status, record.result, record.attempts, len(calls))


async def test_jobs_of_a_step_do_not_shift_those_of_the_code(workplace: Workplace) -> None:
    """Begun again, a job whose step is not called again asks for the same jobs as before; none is lost."""
    outages = ["once"]

    async def ask() -> list[Json]:
        async with workplace.database.writing() as connection:
            first = await workplace.jobs.enqueue_in(connection, "any", workplace.payload(_nothing, {"n": "A"}))
        return [first, await workplace.begin(_nothing, {"n": "B"})]

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        ids = await step(ask)
        if outages:
            raise StorageUnavailableError(outages.pop())
        ids.append(await workplace.begin(_nothing, {"n": "C"}))
        return [ids, [await workplace.jobs.result(str(id_)) for id_ in ids]]

    id_ = await workplace.begin(work)
    record = await workplace.ended(id_)
    assert [[f"{id_}_s1_1", f"{id_}_s1_2", f"{id_}_1"], ["A", "B", "C"]] == record.result
    assert [None, id_] == [(await workplace.management.show(f"{id_}_{one}")).parent for one in ("s1_1", "1")]


async def test_a_step_is_one_however_often_it_is_tried(workplace: Workplace) -> None:
    """Each attempt asks for the same jobs, awaits, rests, and calls other steps as ordinary code does."""
    ids: list[str] = []

    async def ask() -> Json:
        ids.append(await workplace.begin(_nothing, {"n": 5}))
        await rest(0.01)
        await sleep(0.01)
        if len(ids) < 3:
            raise ValueError("not yet")
        return [await workplace.jobs.result(ids[0]), await step(_five)]

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        return await step(ask, attempts=3, pause_s=0.01)

    record = await workplace.outcome(work)
    assert ([5, 5], [f"{record.id}_s1_1"] * 3) == (record.result, ids)


async def _five() -> Json:
    return 5


async def test_a_result_of_nobody_is_not_awaited(workplace: Workplace) -> None:
    """A job that asks for a job that is not there, or has been deleted, is told so; it can decide by itself."""

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        try:
            return await workplace.jobs.result("job_unknown")
        except RequestError as error:
            return error.code

    assert "not_found" == (await workplace.outcome(work)).result
