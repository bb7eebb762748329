"""Running jobs: steps, failures, retries, cancellation and time limits, on both engines."""

import asyncio
from collections.abc import Mapping

import pytest

from capabilities.jobs.workplace import Workplace
from object_service.capabilities.jobs.records import JobStatus
from object_service.capabilities.jobs.running import sleep, step
from object_service.chassis.contracts.context import Context, current, entered
from object_service.chassis.contracts.errors import AdapterPermanentError, AdapterTimeoutError
from object_service.chassis.contracts.json import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


async def test_a_job_returns_what_it_was_asked_for(workplace: Workplace) -> None:
    """The payload comes as plain JSON, the result goes as plain JSON, and every time is known."""

    async def double(_: str, payload: Mapping[str, Json]) -> Json:
        return {"twice": [payload["one"], payload["one"]]}

    record = await workplace.outcome(double, {"one": "ä"})
    assert (JobStatus.SUCCEEDED, {"twice": ["ä", "ä"]}, 1) == (record.status, record.result, record.attempts)
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.created_at <= record.started_at <= record.finished_at


async def test_a_step_is_tried_again_while_that_is_useful(workplace: Workplace) -> None:
    """A failure that may pass is tried again up to the attempts of the step; the last one is what the job sees."""
    calls: list[str] = []

    async def flaky() -> Json:
        calls.append("flaky")
        if len(calls) < 3:
            raise AdapterTimeoutError("slow", adapter="a", operation="b")
        return len(calls)

    async def hopeless() -> None:
        calls.append("hopeless")
        raise AdapterPermanentError("no", adapter="a", operation="b")

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        found = await step(flaky, attempts=3, pause_s=0.01)
        try:
            await step(hopeless, attempts=3, pause_s=0.01)
        except AdapterPermanentError as error:
            return [found, error.adapter]
        return None

    record = await workplace.outcome(work)
    assert ([3, "a"], ["flaky"] * 3 + ["hopeless"]) == (record.result, calls)


async def test_what_fails_too_often_is_the_error_of_the_last_attempt(workplace: Workplace) -> None:
    """The job fails with what its step said, and what was said to nobody but the log stays there."""

    async def slow() -> None:
        raise AdapterTimeoutError("not for the caller", adapter="a", operation="b", retry_after_s=2.0)

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        await step(slow, attempts=2, pause_s=0.01)
        return None

    record = await workplace.outcome(work)
    assert record.error is not None
    assert (JobStatus.FAILED, "provider_timeout", True) == (record.status, record.error.code, record.error.retryable)
    assert "not for the caller" not in record.error.message


async def test_a_failed_job_goes_on_where_it_failed(workplace: Workplace) -> None:
    """Tried again, a job keeps its id and repeats the step that failed, and no other."""
    calls: list[str] = []

    async def first() -> Json:
        calls.append("first")
        return 1

    async def second() -> Json:
        calls.append("second")
        if calls.count("second") == 1:
            raise ValueError("a defect with a secret")
        return 2

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        return [await step(first, name="first"), await step(second, name="second")]

    record = await workplace.outcome(work)
    assert record.error is not None
    assert (JobStatus.FAILED, "internal_error", False) == (
        *(record.status, record.error.code),
        "secret" in record.error.message,
    )
    await workplace.management.retry(record.id)
    again = await workplace.ended(record.id)
    assert (JobStatus.SUCCEEDED, [1, 2], ["first", "second", "second"]) == (again.status, again.result, calls)


async def test_a_failure_between_steps_repeats_no_step(workplace: Workplace) -> None:
    """Where the code failed and not one of its steps, all of them keep what they returned."""
    calls: list[str] = []

    async def first() -> Json:
        calls.append("first")
        return 1

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        found = await step(first)
        calls.append("after")
        if calls.count("after") == 1:
            raise ValueError("a defect")
        return found

    record = await workplace.outcome(work)
    await workplace.management.retry(record.id)
    assert (1, ["first", "after", "after"]) == ((await workplace.ended(record.id)).result, calls)


async def test_what_is_not_json_fails_the_job_by_name(workplace: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    """A job that returns an object fails, and the log says what kind of object it was."""

    async def work(_: str, __: Mapping[str, Json]) -> object:
        return {1, 2}

    record = await workplace.outcome(work)
    assert JobStatus.FAILED is record.status
    (line,) = [one for one in caplog.records if one.msg == "job_failed" and vars(one)["job_id"] == record.id]
    assert "set is not plain JSON" in vars(line)["error"]


async def test_a_job_knows_the_request_that_asked_for_it(workplace: Workplace) -> None:
    """Correlation id, trace and caller of the request are those of the job, and lead from its record to the log."""

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        context = current()
        return [context.correlation_id, context.traceparent, context.idempotency_key, context.caller, context.deadline]

    with entered(Context("cor_asked", "key one", TRACEPARENT, 12.5, "caller one")):
        record = await workplace.outcome(work)
    assert ["cor_asked", TRACEPARENT, "key one", "caller one", None] == record.result
    assert ("cor_asked", TRACEPARENT) == (record.correlation_id, record.traceparent)


async def test_a_running_job_is_cancelled(workplace: Workplace) -> None:
    """Its code sees the cancellation, its record says that it has stopped, and the end stays what it is."""
    begun, seen = asyncio.Event(), []

    async def work(id_: str, _: Mapping[str, Json]) -> Json:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(id_)
            raise
        return None

    id_ = await workplace.begin(work)
    await begun.wait()
    record = await workplace.management.cancel(id_)
    assert (JobStatus.CANCELLED, "cancelled") == (record.status, record.error and record.error.code)
    await workplace.stopped(id_)
    assert [id_] == seen
    assert JobStatus.CANCELLED is (await workplace.management.cancel(id_)).status


async def test_a_cancellation_that_comes_from_elsewhere_is_seen(workplace: Workplace) -> None:
    """Another process that cancels a job reaches its code within seconds, wherever it runs."""
    begun, seen = asyncio.Event(), asyncio.Event()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            seen.set()
        return None

    id_ = await workplace.begin(work)
    await begun.wait()
    await workplace.jobs.client.cancel_workflow_async(id_)
    await asyncio.wait_for(seen.wait(), 5)


async def test_a_job_that_takes_too_long_has_timed_out(workplace: Workplace) -> None:
    """That is told apart from a cancellation, its code is stopped, and it may be tried again."""
    rounds = 0

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        nonlocal rounds
        rounds += 1
        await asyncio.sleep(60 if rounds == 1 else 0)
        return rounds

    record = await workplace.outcome(work, name="brief")
    assert record.error is not None
    assert (JobStatus.TIMED_OUT, "timed_out", True) == (record.status, record.error.code, record.error.retryable)
    await workplace.stopped(record.id)
    await workplace.management.retry(record.id)
    again = await workplace.ended(record.id)
    assert (JobStatus.SUCCEEDED, 2) == (again.status, again.result)


async def test_a_job_waits_durably(workplace: Workplace) -> None:
    """A pause is a recorded step, so that a job that is begun again waits for what is left."""

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        await sleep(0.1)
        return None

    record = await workplace.outcome(work)
    steps = await workplace.jobs.client.list_workflow_steps_async(record.id)
    assert ["DBOS.sleep"] == [one["function_name"] for one in steps]


async def test_outside_a_job_steps_are_ordinary_calls() -> None:
    """Code that is made of steps runs without any engine."""

    async def add(one: int, two: int) -> int:
        return one + two

    await sleep(0)
    assert 5 == await step(add, 2, 3, attempts=3)
