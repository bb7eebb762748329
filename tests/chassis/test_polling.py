"""Polling: pauses that grow to a limit, on a clock that tests can move."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.doubles import VirtualClock
from object_service.chassis.contracts.errors import (
    AdapterAuthenticationError,
    AdapterCircuitOpenError,
    AdapterConnectionError,
    AdapterDeadlineError,
    AdapterError,
    AdapterNotFoundError,
    AdapterOverloadedError,
    AdapterRateLimitedError,
    AdapterResponseError,
    AdapterTimeoutError,
    AdapterUnavailableError,
)
from object_service.chassis.contracts.work import Awaited, Polled, PollOutcome
from object_service.chassis.polling import Poller


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


DOWN = AdapterUnavailableError("down", adapter="a", operation="get")
SLOW = AdapterRateLimitedError("slow", adapter="a", operation="get", retry_after_s=20)
PASSING = {
    "unavailable": DOWN,
    "rate limited there": AdapterRateLimitedError("slow", adapter="a", operation="get"),
    "rate limited here": AdapterOverloadedError("slow", adapter="a", operation="get"),
    "no connection": AdapterConnectionError("gone", adapter="a", operation="get"),
    "no answer": AdapterTimeoutError("late", adapter="a", operation="get"),
    "time of the call over": AdapterDeadlineError("late", adapter="a", operation="get"),
    "breaker open": AdapterCircuitOpenError("open", adapter="a", operation="get"),
}
STAYING = {
    "no access": AdapterAuthenticationError("who", adapter="a", operation="get"),
    "not found": AdapterNotFoundError("where", adapter="a", operation="get"),
    "unreadable": AdapterResponseError("what", adapter="a", operation="get"),
}


class _Failing:
    """A job whose first reads fail, one error each; then it is finished."""

    def __init__(self, *failures: AdapterError) -> None:
        self._failures = list(failures)
        self.reads = 0

    async def read(self) -> str:
        self.reads += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
async def test_failures_that_may_pass_are_waited_for(failure: AdapterError) -> None:
    """The job goes on, whatever happens on the way to it; so does the growth of the pauses."""
    clock, job = VirtualClock(), _Failing(failure, failure)

    assert Polled(PollOutcome.FINISHED, "done") == await _poller(clock)(job.read, bool, timeout_s=60)
    assert pytest.approx([0.5, 0.8]) == clock.pauses


@pytest.mark.parametrize("failure", STAYING.values(), ids=STAYING)
async def test_failures_that_stay_end_the_wait_at_once(failure: AdapterError) -> None:
    """Nobody is asked again when the answer cannot change."""
    clock, job = VirtualClock(), _Failing(failure)

    with pytest.raises(type(failure)):
        await _poller(clock)(job.read, bool, timeout_s=60)
    assert (1, []) == (job.reads, clock.pauses)


async def test_the_provider_says_how_long_to_wait() -> None:
    """A pause is as long as it asks for, and later ones are not."""
    clock, job = VirtualClock(), _Failing(SLOW, DOWN)

    await _poller(clock)(job.read, bool, timeout_s=60)

    assert pytest.approx([20, 0.8]) == clock.pauses


async def test_what_lasts_to_the_end_of_the_time_is_the_end() -> None:
    """The last failure says why nothing is known."""
    clock, job = VirtualClock(), _Failing(*[DOWN] * 100)

    with pytest.raises(AdapterUnavailableError):
        await _poller(clock)(job.read, bool, timeout_s=2)
    assert (4, 2.0) == (job.reads, round(clock.seconds, 6))


async def test_nobody_is_asked_before_the_time_that_they_named() -> None:
    """A pause that would go beyond the limit is not begun: nothing can come of it."""
    clock, job = VirtualClock(), _Failing(SLOW)

    with pytest.raises(AdapterRateLimitedError):
        await _poller(clock)(job.read, bool, timeout_s=10)
    assert (1, []) == (job.reads, clock.pauses)


async def test_a_pause_of_just_the_time_that_is_left_is_taken() -> None:
    """The read at the very end counts."""
    clock = VirtualClock()
    assert Polled(PollOutcome.FINISHED, "done") == await _poller(clock)(_Failing(SLOW).read, bool, timeout_s=20)
    assert [20] == clock.pauses


async def test_a_provider_that_tells_may_do_so_to_the_end() -> None:
    """Where it asks not to be asked any more, its word is still waited for."""
    clock, told = VirtualClock(), asyncio.Future[str]()
    with pytest.raises(AdapterRateLimitedError):
        await _poller(clock)(_Failing(SLOW).read, bool, timeout_s=10, told=told)
    assert [10] == clock.pauses


async def test_a_word_of_the_provider_ends_the_wait() -> None:
    """What is told counts at once, even in the middle of a read; nothing goes on after it."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    reading, stopped = asyncio.Event(), asyncio.Event()

    async def read() -> str:
        reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    wait = asyncio.create_task(_poller(VirtualClock())(read, bool, timeout_s=10, told=told))
    await reading.wait()
    told.set_result("done")

    assert Polled(PollOutcome.FINISHED, "done") == await wait
    assert stopped.is_set()


async def test_a_provider_that_tells_is_asked_too() -> None:
    """Its word may reach another process: the pauses grow as always, only further, to 15 s."""
    clock, job = VirtualClock(), _Job(11)
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    polled = await _poller(clock)(job.read, job.finished, timeout_s=3600, told=told)

    assert Polled(PollOutcome.FINISHED, 11) == polled
    assert pytest.approx([0.5 * 1.6**n for n in range(8)] + [15, 15]) == clock.pauses


async def test_cancellation_stops_the_reads_of_a_provider_that_tells() -> None:
    """Nothing is left behind when the caller goes."""
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    reading, stopped = asyncio.Event(), asyncio.Event()

    async def read() -> int:
        reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return 0

    wait = asyncio.create_task(_poller(VirtualClock())(read, bool, timeout_s=10, told=told))
    await reading.wait()
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    assert stopped.is_set()


async def test_failures_of_a_provider_that_tells_pass_through() -> None:
    """A read that can never succeed ends the wait for its word too."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    job = _Failing(STAYING["not found"])

    with pytest.raises(AdapterNotFoundError):
        await _poller(VirtualClock())(job.read, bool, timeout_s=10, told=told)


async def test_awaited_jobs_are_told_once() -> None:
    """A word reaches the work that awaits its job; a second one, and one that comes later, change nothing."""
    awaited = Awaited[str]()
    with awaited.job("acme", "job-1", "dia_1") as told, awaited.job("other", "job-1", "dia_2") as untold:
        assert ["job-1"] == awaited.of("acme")
        assert ["dia_1"] * 2 == [awaited.tell("acme", "job-1", word) for word in ("done", "again")]
        assert ("done", False) == (told.result(), untold.done())
    assert [] == awaited.of("acme")
