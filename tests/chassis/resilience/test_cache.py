"""Cache and fallback: answers from elsewhere, and what the record says of them."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from chassis.resilience.providers import Pauses, Scripted, down, guarded, pausing, slow, without, wrong
from object_service.chassis.contracts.call import CallRecord, recording
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import AdapterDeadlineError, AdapterError, AdapterUnavailableError
from object_service.chassis.resilience import cache as module
from object_service.chassis.resilience.assembly import Surroundings
from object_service.chassis.resilience.cache import Kept, MemoryAnswers
from object_service.chassis.resilience.fallback import Route


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


def _pair(first: Scripted, second: Scripted, **more: Any) -> Any:
    """Return the first port, which falls back to the second."""
    routes: dict[str, Route] = {}
    surroundings = Surroundings(pause=Pauses(), routes=routes)
    _, guards = guarded(second, without("retry"), surroundings, name="spare")
    routes["spare"] = Route("spare", "other_kind", second, guards.pipeline)
    front, _ = guarded(first, without("retry", fallback={"name": "spare"}, **more), surroundings)
    return front


@pytest.mark.parametrize("failure", [down(), slow()], ids=["retryable", "timeout"])
async def test_another_provider_answers(failure: AdapterError, caplog: pytest.LogCaptureFixture) -> None:
    """The record says which, so that the provenance does; one warning tells why."""
    first, second = Scripted([failure]), Scripted(["spare"])
    with recording() as record:
        assert "spare" == await _pair(first, second).ask("x")

    expected = CallRecord(attempts=2, fallback_used=True, provider="spare", kind="other_kind")
    assert expected == record
    assert [("x",)] == second.calls
    assert 1 == [line.message for line in caplog.records].count("provider_call_fell_back")


async def test_the_lines_of_a_fallback_count_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """Each call's line has its own attempts; the one of the call that fell back names who answered."""
    caplog.set_level(logging.INFO)
    with recording():
        front = _pair(Scripted([down()]), Scripted(["spare"]))
        await front.ask("x")
        await front.ask("x")

    lines = [vars(line) for line in caplog.records if line.message == "provider_call_succeeded"]
    said = [(line["provider"], line["attempts"], line.get("fallback")) for line in lines]
    assert [("spare", 1, None), ("mine", 2, "spare"), ("spare", 1, None), ("mine", 2, "spare")] == said


async def test_an_open_circuit_falls_back_at_once() -> None:
    """A local refusal is a reason as well."""
    first, second = Scripted([down()]), Scripted(["spare"])
    front = _pair(first, second)

    assert ["spare"] * 8 == [await front.ask("x") for _ in range(8)]
    assert (5, 8) == (len(first.calls), len(second.calls))


@pytest.mark.parametrize("operation", ["ask", "poll"], ids=["caller", "bound"])
async def test_what_no_other_provider_is_asked_for(operation: str) -> None:
    """A fault of the caller, and work that only the first provider knows."""
    first, second = Scripted([wrong() if operation == "ask" else down()]), Scripted()
    with recording() as record, pytest.raises(AdapterError):
        await getattr(_pair(first, second), operation)("x")

    assert ([], False) == (second.calls, record.fallback_used)


@pytest.mark.parametrize("left_s", [None, 0.02], ids=["unable", "no-time"])
async def test_a_provider_that_cannot_help_is_not_asked(left_s: float | None, caplog: pytest.LogCaptureFixture) -> None:
    """One without the operation, or one for which no time is left: the first failure goes out as it is."""

    class _Unable:
        calls: tuple[Any, ...] = ()

    first = Scripted([down() if left_s is None else lambda: asyncio.sleep(10)])
    second = Scripted()
    front = _pair(first, _Unable() if left_s is None else second)  # type: ignore[arg-type] # the point of the test
    with entered(Context("c") if left_s is None else Context("c").shortened(left_s)), pytest.raises(AdapterError):
        await front.ask("x")

    assert [] == second.calls
    assert [] == [line for line in caplog.records if line.message == "provider_call_fell_back"]


async def test_two_failures_are_the_chosen_provider_s() -> None:
    """If both fail, the caller hears of the one that was chosen."""
    first, second = Scripted([down(retry_after_s=7)]), Scripted([wrong()])
    with recording() as record, pytest.raises(AdapterUnavailableError) as caught:
        await _pair(first, second).ask("x")

    assert (7, None, False) == (caught.value.retry_after_s, record.provider, record.fallback_used)


async def test_the_other_provider_has_the_time_that_is_left() -> None:
    """One deadline for both."""
    late = Scripted([lambda: asyncio.sleep(10)])
    front = _pair(late, late, timeouts={"attempt_s": 0.03, "total_s": 0.06})
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(AdapterError):
        await front.ask("x")

    assert loop.time() - begun < 1
