"""Cache and fallback: answers from elsewhere, and what the record says of them."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from chassis.resilience.providers import Pauses, Scripted, down, guarded, pausing, slow, without, wrong
from object_service.chassis.contracts.call import CallRecord, recording
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import AdapterDeadlineError, AdapterError, AdapterUnavailableError
from object_service.chassis.resilience import cache as module
from object_service.chassis.resilience.cache import Kept, MemoryAnswers


@dataclass
class WallClock:
    """Seconds since 1970 that only move by hand."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        """Return them."""
        return self.seconds


def _cached(port: Scripted, **cache: Any) -> tuple[Any, WallClock]:
    """Return a port behind a cache, and the clock of the cache."""
    clock = WallClock()
    front, guards = guarded(port, without("retry", "breaker", cache=cache), pausing(Pauses()))
    assert guards.cache is not None
    guards.cache.now = clock
    assert isinstance(guards.cache.answers, MemoryAnswers)
    guards.cache.answers._now = clock
    return front, clock


async def test_an_answer_is_used_until_its_time_is_over() -> None:
    """The same question is asked once in that time; another question is another call."""
    port = Scripted(["a", "b", "c"])
    front, clock = _cached(port, ttl_s=10)

    assert ["a", "a", "b"] == [await front.ask("x"), await front.ask("x"), await front.ask("y")]
    clock.seconds += 10
    assert ("c", 3) == (await front.ask("x"), len(port.calls))


async def test_a_kept_answer_took_no_attempt() -> None:
    """The record of the caller says what was done for it."""
    front, _ = _cached(Scripted(), ttl_s=10)
    attempts = []
    for _ in range(2):
        with recording() as record:
            await front.ask("x")
        attempts.append(record.attempts)

    assert [1, 0] == attempts


async def test_failures_are_not_kept() -> None:
    """Only an answer that passed every check is."""
    front, _ = _cached(Scripted([down(), "fine"]), ttl_s=10)
    with pytest.raises(AdapterUnavailableError):
        await front.ask("x")

    assert "fine" == await front.ask("x")


@pytest.mark.parametrize("arguments", [(object(),), (float("nan"),)], ids=["object", "nan"])
async def test_a_question_without_a_key_is_asked_every_time(arguments: tuple[Any, ...]) -> None:
    """What has no JSON form cannot be compared."""
    port = Scripted()
    front, _ = _cached(port, ttl_s=10)
    await front.ask(*arguments)
    await front.ask(*arguments)

    assert 2 == len(port.calls)


async def test_steering_is_never_cached() -> None:
    """A poll has to see what has changed."""
    port = Scripted()
    front, _ = _cached(port, ttl_s=10)
    await front.poll("job")
    await front.poll("job")

    assert 2 == len(port.calls)


async def test_one_call_serves_all_who_ask_at_once() -> None:
    """The first leaves, the others have their answer, and each record says what the call took."""
    gate = asyncio.Event()

    async def answer() -> str:
        await gate.wait()
        return "fine"

    port = Scripted([answer])
    front, _ = _cached(port, ttl_s=10)
    records = [CallRecord() for _ in range(100)]

    async def ask(record: CallRecord) -> Any:
        with recording(record):
            return await front.ask("x")

    tasks = [asyncio.create_task(ask(record)) for record in records]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    await asyncio.sleep(0)
    gate.set()

    assert ["fine"] * 99 == await asyncio.gather(*tasks[1:])
    assert (1, {1}) == (len(port.calls), {record.attempts for record in records[1:]})


async def test_nobody_waits_longer_than_its_own_deadline() -> None:
    """The common call goes on for those who have time, whoever began it."""
    port = Scripted([lambda: asyncio.sleep(0.05, "fine")])
    front, _ = _cached(port, ttl_s=10)

    async def hurry() -> None:
        with entered(Context("c").shortened(0.01)):
            await front.ask("x")

    first = asyncio.create_task(hurry())
    await asyncio.sleep(0)

    assert "fine" == await front.ask("x")
    assert isinstance(first.exception(), AdapterDeadlineError)
    assert 1 == len(port.calls)


async def test_a_call_that_nobody_waits_for_ends() -> None:
    """It costs, and its answer would be nobody's."""
    ended: list[str] = []

    async def answer() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    front, _ = _cached(Scripted([answer]), ttl_s=10)
    task = asyncio.create_task(front.ask("x"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.01)

    assert ["ended"] == ended


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer used longest ago goes first, and what is too old goes when it is met."""
    monkeypatch.setattr(module, "MAX_ANSWERS", 2)
    clock = WallClock()
    answers, call = MemoryAnswers(10, clock), None
    for key in ("a", "b"):
        await answers.store(key, Kept(key, clock()), call)  # type: ignore[arg-type] # not looked at
    await answers.load("a", call)  # type: ignore[arg-type] # as above
    await answers.store("c", Kept("c", clock()), call)  # type: ignore[arg-type] # as above
    found = {key: await answers.load(key, call) is not None for key in "abc"}  # type: ignore[arg-type] # as above
    clock.seconds += 10

    assert {"a": True, "b": False, "c": True} == found
    assert await answers.load("a", call) is None  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"cache": {"ttl_s": 1, "stale_if_error_s": 9}}, id="time"),
        pytest.param({"fallback": {"type": "stale"}, "cache": {"ttl_s": 1}}, id="type"),
        pytest.param({"fallback": {"type": "stale"}}, id="type-alone"),
    ],
)
async def test_an_old_answer_stands_in_for_a_failure(settings: dict[str, Any]) -> None:
    """Until its second time is over; the record says so, and a fault of the caller is not covered up."""
    port, clock = Scripted(["fine", down(), slow(), wrong()]), WallClock()
    front, guards = guarded(port, without("retry", "breaker", **settings))
    assert guards.cache is not None
    guards.cache.now = clock
    assert isinstance(guards.cache.answers, MemoryAnswers)
    guards.cache.answers._now = clock
    await front.ask("x")
    clock.seconds += guards.cache.ttl_s + 1
    with recording() as record:
        assert ["fine", "fine"] == [await front.ask("x"), await front.ask("x")]
    assert (True, None) == (record.fallback_used, record.provider)
    with pytest.raises(AdapterError, match="400"):
        await front.ask("x")
    port.script = [down()]
    clock.seconds += 10 * guards.cache.ttl_s
    with pytest.raises(AdapterUnavailableError):
        await front.ask("x")
