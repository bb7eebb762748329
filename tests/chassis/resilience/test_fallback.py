"""Fallback: another provider answers in the time that is left, and everything says so."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.resilience.providers import Pauses, Scripted, down, guarded, slow, without, wrong
from object_service.chassis.contracts.call import CallRecord, Operation, recording
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import AdapterError, AdapterStreamInterruptedError, AdapterUnavailableError
from object_service.chassis.resilience.assembly import Guards, Surroundings
from object_service.chassis.resilience.fallback import Route
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience


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


async def test_an_old_answer_of_the_other_provider_is_its_own() -> None:
    """The record names who gave it."""
    routes: dict[str, Route] = {}
    surroundings = Surroundings(pause=Pauses(), routes=routes)
    second = Scripted(["old", down()])
    spare, guards = guarded(
        second, without("retry", cache={"ttl_s": 0.001, "stale_if_error_s": 60}), surroundings, "spare"
    )
    await spare.ask("x")
    await asyncio.sleep(0.002)
    routes["spare"] = Route("spare", "other_kind", second, guards.pipeline)
    front, _ = guarded(Scripted([down()]), without("retry", fallback={"name": "spare"}), surroundings)
    with recording() as record:
        assert "old" == await front.ask("x")

    assert (True, "spare", "other_kind") == (record.fallback_used, record.provider, record.kind)


class Teller:
    """A port that streams its script; an error in it is raised."""

    def __init__(self, *script: str | Exception) -> None:
        """Take what is told."""
        self.script = script

    async def tell(self) -> AsyncIterator[str]:
        """Yield the pieces."""
        for entry in self.script:
            if isinstance(entry, Exception):
                raise entry
            yield entry


TELL = {"tell": Operation("tell", idempotent=False, returns="stream")}


def _tellers(first: Teller, second: Teller) -> Any:
    routes: dict[str, Route] = {}
    surroundings = Surroundings(pause=Pauses(), routes=routes)
    routes["spare"] = Route("spare", "other_kind", second, Guards("spare", Resilience(), surroundings).pipeline)
    pipeline = Guards("mine", without("retry", fallback={"name": "spare"}), surroundings).pipeline
    return guard(first, pipeline, TELL, provider="mine", kind="any")


async def test_a_stream_names_its_provider_from_the_first_piece() -> None:
    """Whoever leaves it early has the right provenance as well."""
    front = _tellers(Teller(down()), Teller("a", "b"))
    with recording() as record:
        stream = aiter(front.tell())
        assert "a" == await anext(stream)

        assert CallRecord(attempts=2, fallback_used=True, provider="spare", kind="other_kind") == record


async def test_a_stream_that_breaks_off_is_the_failure_of_who_sent_it() -> None:
    """The text so far came from the other provider, so the error does."""
    front = _tellers(Teller(down()), Teller("a", KeyError()))
    with recording() as record, pytest.raises(AdapterStreamInterruptedError) as caught:
        [piece async for piece in front.tell()]

    assert ("spare", "spare") == (caught.value.adapter, record.provider)


async def test_two_streams_that_do_not_begin_are_the_chosen_provider_s() -> None:
    """Nothing was handed over: the caller hears of the one that was chosen."""
    front = _tellers(Teller(down()), Teller(wrong()))
    with recording() as record, pytest.raises(AdapterUnavailableError):
        [piece async for piece in front.tell()]

    assert (False, None) == (record.fallback_used, record.provider)
