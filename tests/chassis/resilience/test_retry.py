"""Retry: what is repeated, after which pause, and who pays for it."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.resilience.providers import (
    Pauses,
    Scripted,
    down,
    guarded,
    hang,
    pausing,
    refused,
    slow,
    throttled,
    unclear,
    without,
    wrong,
)
from object_service.chassis.contracts.call import recording
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import AdapterDeadlineError, AdapterError, AdapterOverloadedError
from object_service.chassis.resilience import settings
from object_service.chassis.resilience.limits import RetryBudget
from object_service.chassis.resilience.retry import Retry

KEY = Context("c", "key-1")
NONE = Context("c")


async def _ask(port: Scripted, pauses: Pauses, operation: str = "ask", context: Context = NONE, **more: Any) -> str:
    """Return the answer or the code of the failure."""
    front, _ = guarded(port, without("breaker", **more), pausing(pauses))
    with entered(context):
        try:
            return str(await getattr(front, operation)("x"))
        except AdapterError as error:
            return error.code


@pytest.mark.parametrize(
    ("expected", "attempts", "failure", "operation", "context"),
    [
        pytest.param("provider_unavailable", 3, down(), "ask", NONE, id="rejected"),
        pytest.param("provider_error", 3, refused(), "ask", NONE, id="not-sent"),
        pytest.param("provider_error", 1, unclear(), "ask", NONE, id="unknown"),
        pytest.param("provider_error", 3, unclear(), "ask", KEY, id="unknown-with-key"),
        pytest.param("provider_error", 3, unclear(), "read", NONE, id="unknown-idempotent"),
        pytest.param("provider_timeout", 1, slow(), "ask", NONE, id="timeout"),
        pytest.param("provider_timeout", 3, slow(), "poll", NONE, id="timeout-of-a-poll"),
        pytest.param("provider_rate_limited", 3, throttled(), "ask", NONE, id="throttled"),
        pytest.param("invalid_request", 1, wrong(), "read", KEY, id="caller"),
        pytest.param("provider_unavailable", 1, down(retryable=False), "ask", NONE, id="not-retryable"),
    ],
)
async def test_what_is_repeated(
    expected: str, attempts: int, failure: AdapterError, operation: str, context: Context
) -> None:
    """What the failure allows, unless the request may have been served and must not be served twice."""
    port = Scripted([failure])

    assert expected == await _ask(port, Pauses(), operation, context)
    assert attempts == len(port.calls)


@pytest.mark.parametrize("failure", [unclear(), slow()], ids=["no-answer", "timeout"])
async def test_a_key_that_the_vendor_does_not_know_makes_no_repeat_safe(failure: AdapterError) -> None:
    """A kind says so in its settings; reads are repeated there too."""

    class Keyless(settings.Retry):
        keys_count = False

    class Strategies(settings.Resilience):
        retry: Keyless = Keyless()

    for operation, attempts in (("ask", 1), ("read", 3)):
        port = Scripted([failure])
        front, _ = guarded(port, Strategies.model_validate({"breaker": {"type": "none"}}), pausing(Pauses()))
        with entered(KEY), pytest.raises(AdapterError):
            await getattr(front, operation)("x")
        assert attempts == len(port.calls)


async def test_a_later_answer_is_an_answer() -> None:
    """The caller sees nothing of the failures before, the record all of them."""
    port = Scripted([down(), down(), "fine"])
    with recording() as record:
        assert "fine" == await _ask(port, Pauses())

    assert (3, [("x",)] * 3) == (record.attempts, port.calls)


async def test_the_first_attempt_is_made_without_a_pause() -> None:
    """A call that succeeds never pauses."""
    pauses = Pauses()
    await _ask(Scripted(), pauses)

    assert [] == pauses.seconds


@given(chance=st.floats(0, 1), attempts=st.integers(2, 10), base_s=st.floats(0, 10), cap_s=st.floats(0, 10))
async def test_pauses_have_full_jitter(chance: float, attempts: int, base_s: float, cap_s: float) -> None:
    """A pause is a random share of a bound that doubles up to its cap."""
    pauses = Pauses()
    limits = settings.Retry(attempts=attempts, base_s=base_s, cap_s=cap_s)
    retry = Retry(limits, None, pauses, lambda: chance)
    front, _ = guarded(Scripted([down()]), without("breaker", "retry"))

    with pytest.raises(AdapterError):
        await retry(_call(), lambda _: front.ask("x"))

    assert [chance * min(cap_s, base_s * 2**n) for n in range(attempts - 1)] == pauses.seconds


def _call() -> Any:
    from chassis.resilience.providers import OPERATIONS  # noqa: PLC0415 - one use
    from object_service.chassis.resilience.pipeline import Call  # noqa: PLC0415 - as above

    return Call("mine", "scripted", OPERATIONS["ask"], Scripted().ask)


@pytest.mark.parametrize(
    ("expected", "asked_s", "left_s"),
    [
        pytest.param([7.0, 7.0], 7.0, None, id="fits"),
        pytest.param([0.0, 0.0], 0.0, None, id="at-once"),
        pytest.param([30.0, 30.0], 30.0, None, id="longest"),
        pytest.param([], 30.1, None, id="longer"),
        pytest.param([], 7.0, 6.9, id="beyond-the-deadline"),
    ],
)
async def test_what_the_provider_asks_for_counts(expected: list[float], asked_s: float, left_s: float | None) -> None:
    """`Retry-After` is the pause, without jitter; what does not fit ends the call at once and goes outward."""
    pauses = Pauses()
    context = NONE if left_s is None else NONE.shortened(left_s)
    front, _ = guarded(Scripted([down(retry_after_s=asked_s)]), without("breaker"), pausing(pauses))
    with entered(context), pytest.raises(AdapterError) as caught:
        await front.ask("x")

    assert (expected, asked_s) == (pauses.seconds, caught.value.retry_after_s)


async def test_a_backoff_beyond_the_deadline_ends_the_call() -> None:
    """Nobody waits for an attempt that cannot be made any more."""
    port, pauses = Scripted([down()]), Pauses()
    limits = {"base_s": 100_000, "cap_s": 100_000}
    codes = {await _ask(port, pauses, context=NONE.shortened(0.5), retry=limits) for _ in range(5)}

    assert (5, {"provider_unavailable"}) == (len(port.calls), codes)


async def test_stopping_ends_a_pause() -> None:
    """The failure goes out instead of another attempt."""
    port = Scripted([down()])

    assert "provider_unavailable" == await _ask(port, Pauses(until_stop=1))
    assert 1 == len(port.calls)


async def test_an_attempt_that_is_not_made_costs_nothing() -> None:
    """Callers who leave in a pause do not use up the budget of those who stay."""
    port = Scripted([down(retry_after_s=5)])
    front, guards = guarded(port, without("breaker"))
    tasks = [asyncio.create_task(front.ask("x")) for _ in range(20)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert guards.budget is not None
    assert (500, 20, 0) == (guards.budget.tokens, len(port.calls), guards.retries["ask"])


async def test_a_refusal_of_our_own_ends_the_call() -> None:
    """What this service refuses itself is not asked again, and the budget gets its tokens back."""
    refusal = AdapterOverloadedError("full", adapter="mine", operation="ask")
    port = Scripted([down(), refusal, "fine"])
    front, guards = guarded(port, without("breaker"), pausing(Pauses()))
    with pytest.raises(AdapterOverloadedError):
        await front.ask("x")

    assert guards.budget is not None
    assert (2, 500, 0) == (len(port.calls), guards.budget.tokens, guards.retries["ask"])


async def test_an_attempt_that_the_deadline_cut_off_was_made() -> None:
    """It has put its load on the provider: it is paid for, and counted."""
    port = Scripted([down(), hang])
    front, guards = guarded(
        port, without("breaker", retry={"base_s": 0}, timeouts={"total_s": 0.05}), pausing(Pauses())
    )
    with pytest.raises(AdapterDeadlineError):
        await front.ask("x")

    assert guards.budget is not None
    assert (500 - 14, 1) == (guards.budget.tokens, guards.retries["ask"])


async def test_a_deadline_in_the_queue_costs_nothing() -> None:
    """No provider was asked."""
    port = Scripted([down(), hang])
    bulkhead = {"max_concurrent": 1, "max_queue": 5}
    settings = without("breaker", retry={"base_s": 0}, bulkhead=bulkhead, timeouts={"total_s": 0.05})
    pauses = Pauses()
    blocker: list[asyncio.Task[Any]] = []

    async def pause(seconds: float) -> bool:
        if not blocker:
            blocker.append(asyncio.create_task(front.ask("other")))
            await asyncio.sleep(0)
        return await pauses(seconds)

    front, guards = guarded(port, settings, pausing(pause))
    with pytest.raises(AdapterDeadlineError):
        await front.ask("x")
    with pytest.raises(AdapterDeadlineError):
        await blocker[0]

    assert guards.budget is not None
    assert (2, 500, 0) == (len(port.calls), guards.budget.tokens, guards.retries["ask"])


@pytest.mark.parametrize(
    ("tokens", "script"),
    [
        pytest.param(500 - 28, [down()], id="both-fail"),
        pytest.param(500, [down(), "fine"], id="refunded"),
        pytest.param(500 - 10, [throttled()], id="throttled"),
        pytest.param(500, [wrong()], id="caller"),
    ],
)
async def test_retries_are_paid_for(tokens: int, script: list[Any]) -> None:
    """A retry takes its cost; success brings it back."""
    front, guards = guarded(Scripted(script), without("breaker"), pausing(Pauses()))
    with contextlib.suppress(AdapterError):
        await front.ask("x")

    assert guards.budget is not None
    assert tokens == guards.budget.tokens


async def test_an_empty_budget_allows_no_retry(caplog: pytest.LogCaptureFixture) -> None:
    """First attempts go on; the log says why nothing is repeated; the first success earns a token."""
    port = Scripted([down()])
    front, guards = guarded(port, without("breaker", budget={"capacity": 20}), pausing(Pauses()))
    for _ in range(3):
        with pytest.raises(AdapterError):
            await front.ask("x")

    assert guards.budget is not None
    assert (4, 6) == (len(port.calls), guards.budget.tokens)
    assert ["retry_budget_exhausted"] * 3 == [r.message for r in caplog.records if "budget" in r.message]
    port.script = ["fine"]
    await front.ask("x")
    assert 7 == guards.budget.tokens


async def test_without_a_budget_only_attempts_are_bounded() -> None:
    """The budget is a strategy like any other: none switches it off."""
    port = Scripted([down()])
    await _ask(port, Pauses(), retry={"attempts": 10}, budget={"type": "none"})

    assert 10 == len(port.calls)


async def test_one_warning_per_retry(caplog: pytest.LogCaptureFixture) -> None:
    """It says which attempt comes, after what and after which pause; the one line of the call says the rest."""
    caplog.set_level(logging.INFO)
    await _ask(Scripted([down(retry_after_s=0.5), "fine"]), Pauses())

    warning, line = caplog.records
    fields = {"provider": "mine", "operation": "ask", "code": "provider_unavailable", "attempt": 2, "pause_s": 0.5}
    assert ("provider_call_retried", "WARNING") == (warning.message, warning.levelname)
    assert fields.items() <= vars(warning).items()
    assert "provider_call_succeeded" == line.message


def test_a_budget_never_holds_more_than_its_capacity() -> None:
    """Refunds and credits end at the rim."""
    budget = RetryBudget(10, 3, 1)
    budget.refund(5)
    budget.first_success()

    assert 10 == budget.tokens
