"""Queues: order, priority, rate and delay, on both engines."""

import asyncio
import time
from collections.abc import Mapping
from itertools import pairwise

import pytest

from capabilities.jobs.workplace import Workplace
from object_service.capabilities.jobs.records import JobStatus
from object_service.chassis.contracts.json import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_queue_of_one_keeps_the_order(workplace: Workplace) -> None:
    """With a concurrency of 1 a job begins when the one before it has ended."""
    spans: list[tuple[Json, float, float]] = []

    async def work(_: str, payload: Mapping[str, Json]) -> Json:
        begun = time.monotonic()
        await asyncio.sleep(0.02)
        spans.append((payload["n"], begun, time.monotonic()))
        return None

    ids = [await workplace.begin(work, {"n": n}, name="in-line") for n in range(4)]
    for id_ in ids:
        await workplace.ended(id_)
    assert [0, 1, 2, 3] == [n for n, _, _ in spans]
    assert all(end <= begun for (_, _, end), (_, begun, _) in pairwise(spans))


async def test_lower_numbers_go_first(workplace: Workplace) -> None:
    """Of those that wait, the lowest priority begins first; one that states none has 100."""
    order: list[Json] = []

    async def work(_: str, payload: Mapping[str, Json]) -> Json:
        order.append(payload["n"])
        return None

    free = asyncio.Event()

    async def first(_: str, __: Mapping[str, Json]) -> Json:
        await free.wait()
        return None

    gate = await workplace.begin(first, name="in-line")
    await workplace.stands(gate, JobStatus.RUNNING)
    later = await workplace.begin(work, {"n": "usual"}, name="in-line")
    ids = [await workplace.begin(work, {"n": n}, name="in-line", priority=n) for n in (101, 99, 1)]
    free.set()
    for id_ in (later, *ids):
        await workplace.ended(id_)
    assert [1, 99, "usual", 101] == order


async def test_a_rate_holds(workplace: Workplace) -> None:
    """Of a queue with a rate of 3 in a second, no four begin within one."""
    begun: list[float] = []

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        begun.append(time.monotonic())
        return None

    for id_ in [await workplace.begin(work, name="rated") for _ in range(5)]:
        await workplace.ended(id_)
    begun.sort()
    assert all(fourth - first > 0.8 for first, fourth in zip(begun, begun[3:], strict=False))


async def test_a_delayed_job_waits_for_its_time(workplace: Workplace) -> None:
    """Until then it is delayed, and says when it is due."""

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        return None

    id_ = await workplace.begin(work, delay_s=0.5)
    record = await workplace.management.show(id_)
    assert JobStatus.DELAYED is record.status
    assert record.due_at is not None
    assert 0.4 <= (record.due_at - record.created_at).total_seconds() <= 0.6
    ended = await workplace.ended(id_)
    assert ended.started_at is not None
    assert (JobStatus.SUCCEEDED, None) == (ended.status, ended.due_at)
    assert ended.started_at >= record.due_at
