"""Assembly: which steps a call passes, in which order, and where your own stand."""

import asyncio
from typing import Any

import pytest

from chassis.doubles import Spy
from chassis.resilience.providers import Scripted, guarded, hang, without
from object_service.chassis.contracts.call import Operation
from object_service.chassis.contracts.errors import (
    AdapterDeadlineError,
    AdapterResponseError,
    AdapterTimeoutError,
    RequestError,
)
from object_service.chassis.resilience.assembly import Guards, MiddlewareKind, Surroundings
from object_service.chassis.resilience.pipeline import Call, Proceed, guard

ALL = {
    "rate_limit": {"rate_per_s": 1000},
    "cache": {"ttl_s": 5, "stale_if_error_s": 5},
    "fallback": {"name": "spare"},
}


def test_the_shipped_order() -> None:
    """Deadline before everything that waits, the look at the breaker before any place is taken, the breaker after."""
    expected = "log validate deadline retry breaker_peek bulkhead breaker attempt_timeout map_errors call"

    assert expected.split() == [name for name in Guards("mine", without()).pipeline.names if name != "telemetry"]


def test_the_order_of_everything() -> None:
    """Each strategy has one place, whatever else is on."""
    expected = (
        "log validate deadline outer stale fallback cache retry breaker_peek rate_limit bulkhead breaker inner "
        "attempt_timeout map_errors call"
    )
    kinds = {
        "inner": MiddlewareKind(lambda _: Spy("inner", []), per_attempt=True),
        "outer": MiddlewareKind(lambda _: Spy("outer", [])),
    }
    settings = without(**ALL, middlewares=["inner", "outer"])
    names = Guards("mine", settings, Surroundings(middlewares=kinds)).pipeline.names

    assert expected.split() == [name for name in names if name != "telemetry"]


def test_none_leaves_a_strategy_out() -> None:
    """Not a step that does nothing: no step."""
    settings = without("retry", "budget", "breaker", "bulkhead", "rate_limit", "cache", "fallback")
    names = Guards("mine", settings).pipeline.names

    assert ["log", "validate", "deadline", "attempt_timeout", "map_errors", "call"] == [
        n for n in names if n != "telemetry"
    ]


async def test_your_own_steps_run_per_call_and_per_attempt() -> None:
    """One is entered once, the other around every attempt; each knows its provider."""
    notes: list[str] = []
    built: list[str] = []

    def build(name: str) -> Any:
        def step(provider: str) -> Spy:
            built.append(f"{name} of {provider}")
            return Spy(name, notes)

        return step

    kinds = {"a": MiddlewareKind(build("a")), "b": MiddlewareKind(build("b"), per_attempt=True)}
    port = Scripted([RuntimeError("defect"), "fine"])
    settings = without(middlewares=["a", "b"], retry={"base_s": 0})
    front, _ = guarded(port, settings, Surroundings(middlewares=kinds))
    with pytest.raises(AdapterResponseError):
        await front.read("x")
    await front.read("x")

    assert ["a of mine", "b of mine"] == built
    assert ["enter a", "enter b", "leave b", "leave a"] * 2 == notes


async def test_your_own_steps_cannot_outlast_the_deadline() -> None:
    """A step that waits without asking is cut off with the call."""

    class _Waiting:
        name = "waiting"

        async def __call__(self, call: Call, proceed: Proceed) -> Any:
            await asyncio.Event().wait()
            return await proceed(call)

    kinds = {"waiting": MiddlewareKind(lambda _: _Waiting())}
    settings = without(middlewares=["waiting"], timeouts={"total_s": 0.02})
    front, _ = guarded(Scripted(), settings, Surroundings(middlewares=kinds))
    with pytest.raises(AdapterDeadlineError):
        await front.ask("x")


async def test_requests_and_answers_are_checked() -> None:
    """What no provider could serve is refused before anything is spent; what cannot be right is unreadable."""

    def request(text: str) -> None:
        if not text:
            raise RequestError("Expected a text.")

    def answer(found: str) -> None:
        if found != "fine":
            raise ValueError("expected fine")

    port = Scripted(["fine", "foul"])
    operations = {"ask": Operation("ask", idempotent=False, check_request=request, check_answer=answer)}
    front = guard(port, Guards("mine", without()).pipeline, operations, provider="mine", kind="scripted")
    with pytest.raises(RequestError):
        await front.ask("")

    assert [] == port.calls
    assert "fine" == await front.ask("x")
    with pytest.raises(AdapterResponseError, match="expected fine"):
        await front.ask("x")


async def test_a_cancelled_caller_is_cancelled() -> None:
    """Cancellation passes every step as it is, and later calls of the task have their limits as before."""
    front, _ = guarded(Scripted([hang]), without("retry", timeouts={"attempt_s": 0.01}))
    task = asyncio.create_task(front.ask("x"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    for _ in range(2):
        with pytest.raises(AdapterTimeoutError):
            await front.ask("x")
    current = asyncio.current_task()
    assert current is not None
    assert 0 == current.cancelling()


async def test_ten_thousand_calls_leave_nothing_behind() -> None:
    """No task, no place and no timer."""
    front, guards = guarded(Scripted(), without(bulkhead={"max_concurrent": 100, "max_queue": 10_000}))
    await asyncio.gather(*(front.ask("x") for _ in range(10_000)))
    loop: Any = asyncio.get_running_loop()

    assert guards.bulkhead is not None
    assert (0, 0) == (guards.bulkhead.in_use, guards.bulkhead.queued)
    assert 1 == len(asyncio.all_tasks())
    assert [] == [handle for handle in loop._scheduled if not handle.cancelled()]
