"""Trying jobs again: where they go on, with whom, and that they never run twice at once."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from capabilities.database.waiting import until
from capabilities.jobs.workplace import Workplace
from object_service.capabilities.jobs import management
from object_service.capabilities.jobs.records import JobRecord, JobStatus
from object_service.capabilities.jobs.running import step
from object_service.chassis.contracts.errors import AdapterTimeoutError, RequestError
from object_service.chassis.contracts.json import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Calls(list[str]):
    """What was called, in order; `fails` fails the first time."""

    async def fails(self) -> Json:
        """Fail the first time."""
        self.append("fails")
        if self.count("fails") == 1:
            raise AdapterTimeoutError("slow", adapter="a", operation="b")
        return "done"

    async def before(self) -> None:
        """Be called before it."""
        self.append("before")

    async def after(self) -> None:
        """Be called after it."""
        self.append("after")


async def test_the_step_that_failed_the_job_is_repeated(workplace: Workplace) -> None:
    """Even if others were completed after it; those before it are not repeated."""
    calls = Calls()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        await step(calls.before)
        try:
            return await step(calls.fails)
        except AdapterTimeoutError:
            await step(calls.after)
            raise

    record = await workplace.outcome(work)
    assert (JobStatus.FAILED, ["before", "fails", "after"]) == (record.status, calls)
    await workplace.management.retry(record.id)
    again = await workplace.ended(record.id)
    assert (JobStatus.SUCCEEDED, "done", ["before", "fails", "after", "fails"]) == (again.status, again.result, calls)


async def test_a_failure_that_the_code_took_is_not_repeated(workplace: Workplace) -> None:
    """Where the job failed with another error, after other steps, all of them keep what they did."""
    calls = Calls()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        try:
            await step(calls.fails)
        except AdapterTimeoutError:
            await step(calls.after)
        calls.append("code")
        if calls.count("code") == 1:
            raise ValueError("a defect")
        return None

    record = await workplace.outcome(work)
    await workplace.management.retry(record.id)
    assert JobStatus.SUCCEEDED is (await workplace.ended(record.id)).status
    assert ["fails", "after", "code", "code"] == calls


async def test_children_are_tried_again_with_their_parent(workplace: Workplace) -> None:
    """Those that were cancelled with it, and theirs, each in its own queue; those that had ended keep their result."""
    begun: list[str] = []

    async def child(id_: str, payload: Mapping[str, Json]) -> Json:
        begun.append(id_)
        await asyncio.sleep(60 if payload["n"] == 2 and begun.count(id_) == 1 else 0)
        return payload["n"]

    async def middle(_: str, payload: Mapping[str, Json]) -> Json:
        return await workplace.jobs.result(await workplace.begin(child, {"n": payload["n"]}, name="in-line"))

    async def parent(_: str, __: Mapping[str, Json]) -> Json:
        # one after the other: the line serves one child at a time, and the second one stays in it
        return [await workplace.jobs.result(await workplace.begin(middle, {"n": n})) for n in (1, 2)]

    id_ = await workplace.begin(parent)
    await until(lambda: f"{id_}_2_1" in begun)
    await workplace.management.cancel(id_)
    for stopped in (id_, f"{id_}_2", f"{id_}_2_1"):
        await workplace.stopped(stopped)
    await workplace.management.retry(id_)
    assert "line" == (await workplace.management.show(f"{id_}_2_1")).queue
    record = await workplace.ended(id_)
    assert (JobStatus.SUCCEEDED, [1, 2]) == (record.status, record.result)
    assert 1 == begun.count(f"{id_}_1_1")


class Stubborn:
    """Code that takes its time to end when it is cancelled, and is begun again."""

    def __init__(self) -> None:
        """Run nowhere."""
        self.begun = 0
        self.ended = 0
        self.may_end = asyncio.Event()
        self.may_succeed = asyncio.Event()

    async def work(self, _: str, __: Mapping[str, Json]) -> Json:
        """Be the code."""
        self.begun += 1
        try:
            if self.begun == 1:
                await asyncio.sleep(60)
            await self.may_succeed.wait()
        except asyncio.CancelledError:
            await self.may_end.wait()
            raise
        finally:
            self.ended += 1
        return self.begun


async def test_a_job_is_tried_again_when_its_code_has_ended(workplace: Workplace) -> None:
    """Until then that is a conflict, so that it does not run twice at once."""
    code = Stubborn()
    code.may_succeed.set()
    id_ = await workplace.begin(code.work)
    await until(lambda: code.begun == 1)
    await workplace.management.cancel(id_)
    with pytest.raises(RequestError, match="about to stop") as refused:
        await workplace.management.retry(id_)
    assert ("conflict", JobStatus.CANCELLED) == (refused.value.code, (await workplace.management.show(id_)).status)
    code.may_end.set()
    await workplace.stopped(id_)
    await workplace.management.retry(id_)
    assert 2 == (await workplace.ended(id_)).result


async def test_code_that_does_not_end_keeps_nobody_waiting(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time it is believed to be gone; when it ends nevertheless, the new run can still be cancelled."""
    monkeypatch.setattr(management, "STOP_S", -60)
    code = Stubborn()
    id_ = await workplace.begin(code.work)
    await until(lambda: code.begun == 1)
    await workplace.management.cancel(id_)
    await workplace.management.retry(id_)
    await until(lambda: code.begun == 2)
    code.may_end.set()
    await until(lambda: code.ended == 1)
    await asyncio.sleep(0.1)
    await workplace.management.cancel(id_)
    await until(lambda: code.ended == 2)


@pytest.mark.parametrize("ends", ["cancelled", "failed"])
async def test_whoever_comes_second_changes_nothing(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Two that try a job again at once have it begun again once."""
    runs: list[str] = []

    async def work(id_: str, _: Mapping[str, Json]) -> Json:
        runs.append(id_)
        await asyncio.sleep(60 if runs == [id_] and ends == "cancelled" else 0.5)
        if runs == [id_]:
            raise ValueError("a defect")
        return None

    id_ = await workplace.begin(work)
    await until(lambda: len(runs) == 1)
    if ends == "cancelled":
        await workplace.management.cancel(id_)
        await workplace.stopped(id_)
    seen = await workplace.ended(id_)
    await workplace.management.retry(id_)
    await until(lambda: len(runs) == 2)

    async def stale(_: Any, __: str) -> JobRecord:
        return seen

    monkeypatch.setattr(type(workplace.management), "show", stale)
    with pytest.raises(RequestError, match="tried again already") as refused:
        await workplace.management.retry(id_)
    monkeypatch.undo()
    assert ("conflict", JobStatus.SUCCEEDED) == (refused.value.code, (await workplace.ended(id_)).status)
    assert 2 == len(runs)
