"""Guards: who is let through to a provider, when, and what the breaker learns from it."""

import asyncio
import threading
from typing import Any

import pytest

from chassis.resilience.providers import Scripted, down, guarded, hang, slow, throttled, unclear, without, wrong
from object_service.chassis.concurrency import BlockingBridge
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import (
    AdapterCircuitOpenError,
    AdapterDeadlineError,
    AdapterError,
    AdapterOverloadedError,
    AdapterResponseError,
    ServiceError,
)
from object_service.chassis.resilience.assembly import Guards
from object_service.chassis.resilience.breaker import Breaker, BreakerState, Permit
from object_service.chassis.resilience.settings import Resilience


async def _code(awaitable: Any) -> str:
    try:
        await awaitable
    except ServiceError as error:
        return error.code
    return "fine"


async def _codes(front: Any, count: int) -> list[str]:
    return [await _code(front.ask("x")) for _ in range(count)]


@pytest.mark.parametrize(
    ("opens", "failure"),
    [
        pytest.param(True, down(), id="unavailable"),
        pytest.param(True, unclear(), id="connection"),
        pytest.param(True, slow(), id="timeout"),
        pytest.param(True, AdapterResponseError("garbage", adapter="mine", operation="ask"), id="unreadable"),
        pytest.param(True, RuntimeError("defect"), id="defect-of-the-adapter"),
        pytest.param(False, throttled(), id="throttled"),
        pytest.param(False, wrong(), id="caller"),
    ],
)
async def test_what_opens_the_breaker(opens: bool, failure: Exception) -> None:  # noqa: FBT001 - a case
    """What says that the provider fails; limits of its rate and faults of the caller do not."""
    port = Scripted([failure])
    front, guards = guarded(port, without("retry"))
    codes = await _codes(front, 10)

    assert (5 if opens else 10) == len(port.calls)
    assert ("circuit_open" if opens else codes[0]) == codes[-1]
    assert (BreakerState.OPEN if opens else BreakerState.CLOSED) is guards.breakers["ask"].state


async def test_a_refusal_says_when_to_come_back() -> None:
    """The circuit that is open answers with the seconds after which it tries again."""
    front, _ = guarded(Scripted([down()]), without("retry"))
    await _codes(front, 5)
    with pytest.raises(AdapterCircuitOpenError) as caught:
        await front.ask("x")

    assert caught.value.retry_after_s is not None
    assert 4.5 < caught.value.retry_after_s <= 5


async def test_each_operation_has_a_breaker_of_its_own() -> None:
    """One that fails does not stop the others."""
    port = Scripted([*[down()] * 5, "fine"])
    front, _ = guarded(port, without("retry"))
    await _codes(front, 5)

    assert ("circuit_open", "fine") == (await _code(front.ask("x")), await front.read("x"))


async def test_callers_that_leave_prove_nothing() -> None:
    """Twenty cancelled calls neither open the breaker nor keep a place."""
    port = Scripted([hang])
    front, guards = guarded(port)
    tasks = [asyncio.create_task(front.ask("x")) for _ in range(20)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert guards.bulkhead is not None
    assert (0, BreakerState.CLOSED) == (guards.bulkhead.in_use, guards.breakers["ask"].state)


async def test_a_deadline_of_the_caller_proves_nothing() -> None:
    """A caller in a hurry says nothing about the provider; its own limit does."""
    front, guards = guarded(Scripted([hang]), without("retry", timeouts={"attempt_s": 0.01}))
    for _ in range(10):
        with entered(Context("c").shortened(0.001)), pytest.raises(AdapterDeadlineError):
            await front.ask("x")

    assert BreakerState.CLOSED is guards.breakers["ask"].state
    assert ["provider_timeout"] * 5 + ["circuit_open"] == await _codes(front, 6)


async def test_half_open_lets_one_through() -> None:
    """Of a thousand callers one finds out; a probe that is cancelled makes room for another."""
    port = Scripted([*[down()] * 5, hang, "fine"])
    front, _ = guarded(port, without("retry", breaker={"open_s": 0.01}))
    await _codes(front, 5)
    await asyncio.sleep(0.02)
    tasks = [asyncio.create_task(_code(front.ask("x"))) for _ in range(1000)]
    await asyncio.sleep(0.05)

    assert (6, 999) == (len(port.calls), sum(task.done() for task in tasks))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert ["fine"] * 3 == await _codes(front, 3)


async def test_the_queue_is_left_when_the_circuit_opens() -> None:
    """Callers that waited for a place ask the breaker again: a dead provider is hit by those in flight only."""
    port = Scripted([down()])
    front, _ = guarded(port, without("retry", bulkhead={"max_concurrent": 10, "max_queue": 1000}))
    codes = await asyncio.gather(*(_code(front.ask("x")) for _ in range(1000)))

    assert 10 <= len(port.calls) <= 20
    assert {"provider_unavailable", "circuit_open"} == set(codes)


async def test_the_bulkhead_bounds_calls_and_queue() -> None:
    """Never more than its places; what the queue does not hold is refused at once."""
    port = Scripted([lambda: asyncio.sleep(0.01)])
    front, guards = guarded(port, without(bulkhead={"max_concurrent": 5, "max_queue": 5}))
    codes = await asyncio.gather(*(_code(front.ask("x")) for _ in range(20)))

    assert (10, 10, 5) == (codes.count("fine"), codes.count("overloaded"), port.most)
    assert guards.bulkhead is not None
    assert (0, 0) == (guards.bulkhead.in_use, guards.bulkhead.queued)


async def test_waiting_for_a_place_ends_with_the_deadline() -> None:
    """The caller's time counts in the queue as well, and the queue forgets who has left."""
    front, guards = guarded(Scripted([hang]), without("retry", bulkhead={"max_concurrent": 1}))
    busy = asyncio.create_task(front.ask("x"))
    await asyncio.sleep(0.01)
    with entered(Context("c").shortened(0.01)), pytest.raises(AdapterDeadlineError):
        await front.ask("x")

    assert guards.bulkhead is not None
    assert (1, 0) == (guards.bulkhead.in_use, guards.bulkhead.queued)
    busy.cancel()
    await asyncio.wait([busy])


async def test_a_thread_keeps_its_place_until_it_ends() -> None:
    """A call that was cut off in a thread still loads the provider, so its place is still taken."""
    bridge, gate = BlockingBridge(2), threading.Event()
    front, guards = guarded(Scripted([lambda: bridge.run(gate.wait)]), without("retry", timeouts={"attempt_s": 0.01}))
    assert guards.bulkhead is not None
    assert "provider_timeout" == await _code(front.ask("x"))
    assert 1 == guards.bulkhead.in_use
    gate.set()
    await bridge.aclose()
    await asyncio.sleep(0)

    assert 0 == guards.bulkhead.in_use


async def test_the_rate_is_kept_by_waiting() -> None:
    """Attempts begin in their turn."""
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    async def note() -> None:
        begun.append(loop.time())

    front, _ = guarded(Scripted([note]), without(rate_limit={"rate_per_s": 100, "burst": 2}))
    await asyncio.gather(*(front.ask("x") for _ in range(6)))

    assert begun[-1] - begun[0] >= 0.039
    assert begun[1] - begun[0] < 0.009


@pytest.mark.parametrize("left_s", [None, 0.05], ids=["limit", "deadline"])
async def test_a_turn_that_comes_too_late_is_refused(left_s: float | None) -> None:
    """The refusal says when to come back; nothing was sent, and the provider is not blamed."""
    port = Scripted()
    front, guards = guarded(port, without(rate_limit={"rate_per_s": 1, "burst": 1, "max_wait_s": 0.1}))
    context = Context("c") if left_s is None else Context("c").shortened(left_s)
    with entered(context):
        await front.ask("x")
        with pytest.raises(AdapterOverloadedError) as caught:
            await front.ask("x")

    assert caught.value.retry_after_s is not None
    assert 0.8 < caught.value.retry_after_s <= 1
    assert (1, BreakerState.CLOSED) == (len(port.calls), guards.breakers["ask"].state)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param({"rate_per_s": 20}, (20, 20), id="burst-follows"),
        pytest.param({"rate_per_s": 0.5}, (0.5, 1), id="at-least-one"),
        pytest.param({"burst": 7}, (7, 7), id="rate-follows"),
        pytest.param({"rate_per_s": 3, "burst": 9}, (3, 9), id="both"),
    ],
)
def test_rate_and_burst_follow_each_other(limit: dict[str, float], expected: tuple[float, int]) -> None:
    """What is unset follows from what is set."""
    rate_limit = without(rate_limit=limit).rate_limit

    assert ("gcra", expected) == (rate_limit.type, rate_limit.per_second())


async def test_an_open_breaker_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning when it opens, one line when it closes."""
    caplog.set_level("INFO")
    port = Scripted([*[down()] * 5, "fine"])
    front, _ = guarded(port, without("retry", breaker={"open_s": 0.01}))
    await asyncio.gather(*(_code(front.ask("x")) for _ in range(20)))
    await asyncio.sleep(0.02)
    port.script = ["fine"]
    await front.ask("x")

    told = [(r.levelname, r.message) for r in caplog.records if r.message.startswith("breaker")]
    assert [("WARNING", "breaker_opened"), ("INFO", "breaker_closed")] == told


@pytest.mark.parametrize("every_s", [10.0, 1.0, 0.01], ids=["six-a-minute", "one-a-second", "hundred-a-second"])
def test_the_shipped_breaker_opens_at_any_traffic(every_s: float) -> None:
    """A provider that dies is noticed after five calls, be they a minute apart or a moment."""
    seconds = [0.0]
    breaker = Breaker(Guards("mine", Resilience()).breakers["ask"]._limits, lambda: seconds[0])
    states = []
    for healthy in [True] * 1000 + [False] * 5:
        permit = breaker.acquire()
        assert isinstance(permit, Permit)
        (breaker.success if healthy else breaker.failure)(permit)
        states.append(breaker.state)
        seconds[0] += every_s

    assert [BreakerState.CLOSED] * 1004 + [BreakerState.OPEN] == states


def test_the_shipped_breaker_follows_the_attempt() -> None:
    """The window is twice the longest attempt, at least half a minute."""
    windows = [
        Guards("mine", without(timeouts={"attempt_s": attempt_s})).breakers["ask"]._limits.window_s
        for attempt_s in (1, 15, 60)
    ]

    assert [30, 30, 120] == windows


async def test_an_error_of_ours_is_no_failure_of_the_provider() -> None:
    """Whatever a port raises that is the service's own passes without a verdict."""
    failure = AdapterError("other", adapter="mine", operation="ask")
    front, guards = guarded(Scripted([failure]))
    await _codes(front, 10)

    assert BreakerState.CLOSED is guards.breakers["ask"].state
