"""Polling: pauses that grow to a limit, on a clock that tests can move."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.doubles import VirtualClock
from object_service.chassis.contracts.work import Polled, PollOutcome
from object_service.chassis.work import Poller


def _poller(clock: VirtualClock, *, random: float = 0.5) -> Poller:
    return Poller(clock, random=lambda: random)


class _Job:
    """A job that is finished at its last snapshot."""

    def __init__(self, reads: int) -> None:
        self._snapshots: Iterator[int] = iter(range(1, reads + 1))
        self.last = reads

    async def read(self) -> int:
        return next(self._snapshots)

    def finished(self, snapshot: int) -> bool:
        return snapshot == self.last


async def test_pauses_grow_to_eight_seconds() -> None:
    """0.5 s, each time 1.6 times as long, at most 8 s."""
    clock, job = VirtualClock(), _Job(10)

    polled = await _poller(clock)(job.read, job.finished, timeout_s=3600)

    assert Polled(PollOutcome.FINISHED, 10) == polled
    assert pytest.approx([0.5, 0.8, 1.28, 2.048, 3.2768, 5.24288, 8, 8, 8]) == clock.pauses


async def test_a_finished_job_is_not_waited_for() -> None:
    """The first read comes at once, even when no time is allowed."""
    clock = VirtualClock()

    assert PollOutcome.FINISHED is (await _poller(clock)(_Job(1).read, lambda _: True, timeout_s=0)).outcome
    assert [] == clock.pauses


async def test_the_last_pause_is_cut_to_the_time_left() -> None:
    """One read still happens at the very end; then the newest snapshot is returned."""
    clock, job = VirtualClock(), _Job(100)

    polled = await _poller(clock)(job.read, job.finished, timeout_s=2.0)

    assert pytest.approx([0.5, 0.8, 0.7]) == clock.pauses
    assert Polled(PollOutcome.TIMED_OUT, 4) == polled


async def test_without_time_one_read_is_all() -> None:
    """A time limit of zero reads once."""
    clock, job = VirtualClock(), _Job(100)

    assert Polled(PollOutcome.TIMED_OUT, 1) == await _poller(clock)(job.read, job.finished, timeout_s=0)
    assert [] == clock.pauses


@given(st.floats(0, 1, exclude_max=True))
def test_pauses_vary_by_a_tenth(random: float) -> None:
    """Many jobs do not ask in step, and the variation never adds up."""
    clock, job = VirtualClock(), _Job(6)

    asyncio.run(_run(_poller(clock, random=random), job))

    factor = 1 + 0.1 * (2 * random - 1)
    assert pytest.approx([s * factor for s in (0.5, 0.8, 1.28, 2.048, 3.2768)]) == clock.pauses


async def _run(poller: Poller, job: _Job) -> None:
    await poller(job.read, job.finished, timeout_s=3600)


def test_the_default_variation_is_random() -> None:
    """Without a source of randomness given, the machine's is used."""
    assert len({Poller(VirtualClock()).random() for _ in range(10)}) > 1


async def test_errors_of_reading_pass_through() -> None:
    """Whether to try again is decided by the pipeline, not here."""

    async def read() -> int:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await _poller(VirtualClock())(read, bool, timeout_s=10)


async def test_cancellation_ends_the_wait_at_once() -> None:
    """Nothing is read after the caller is gone."""
    reads: list[int] = []

    class _Standing(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            del seconds
            await asyncio.Event().wait()

    async def read() -> int:
        reads.append(1)
        return 0

    task = asyncio.create_task(_poller(_Standing())(read, bool, timeout_s=10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [1] == reads
