"""Spans: a trace shows each call and each attempt, and nothing of what was said."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis.resilience.providers import Pauses, Scripted, down, guarded, hang, pausing, without, wrong
from object_service.chassis.contracts.call import Operation
from object_service.chassis.contracts.context import Context, current, current_or_none, entered
from object_service.chassis.contracts.errors import AdapterUnavailableError, RequestError
from object_service.chassis.resilience.assembly import Guards, Surroundings
from object_service.chassis.resilience.fallback import Route
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience
from object_service.chassis.resilience.spans import Spans

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Traces:
    """Where spans go in a test."""

    def __init__(self) -> None:
        """Begin without spans."""
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")
        self.surroundings = pausing(Pauses(), spans=Spans(self.tracer))

    def named(self, name: str) -> Sequence[ReadableSpan]:
        """Return the finished spans of a name, in the order of their ends."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    @property
    def call(self) -> ReadableSpan:
        """Return the only span of a call."""
        (call,) = self.named("adapter.call")
        return call


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def _parent(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def test_without_tracing_there_is_no_step() -> None:
    """Off costs nothing; on, both steps have their place in the order."""
    _, plain = guarded(Scripted())
    _, traced = guarded(Scripted(), None, Traces().surroundings)

    assert not {"span", "attempt_span"} & set(plain.pipeline.names)
    assert ("telemetry", "span", "log") == traced.pipeline.names[:3]
    assert ("breaker", "attempt_span", "attempt_timeout") == traced.pipeline.names[-5:-2]


async def test_a_call_has_a_span_and_each_attempt_a_child() -> None:
    """Both say what was called and how it ended; the call says after how many attempts."""
    traces = Traces()
    front, _ = guarded(Scripted([down(), "fine"]), None, traces.surroundings)
    await front.ask("x")

    what = {"provider": "mine", "kind": "scripted", "operation": "ask"}
    assert what | {"outcome": "succeeded", "attempts": 2} == _attributes(traces.call)
    first, second = traces.named("adapter.attempt")
    failed = {"outcome": "provider_unavailable", "error.type": "AdapterUnavailableError", "attempt": 1}
    assert what | failed == _attributes(first)
    assert what | {"outcome": "succeeded", "attempt": 2} == _attributes(second)
    assert [_ids(traces.call)] * 2 == [_parent(first), _parent(second)]
    assert [False, True] == [span.status.is_ok for span in (first, second)]


async def test_nothing_that_a_vendor_said_is_in_a_span() -> None:
    """Neither texts of errors nor arguments nor answers; no exception is recorded."""
    traces = Traces()
    cause = ValueError("key sk-123 of jane@example.org")
    error = AdapterUnavailableError("sk-123", adapter="mine", operation="ask", cause=cause, provider_code="sk-123")
    for script in ([error], [cause], ["sk-123"]):
        front, _ = guarded(Scripted(script), without("retry"), traces.surroundings)
        await asyncio.gather(front.ask("sk-123"), return_exceptions=True)

    spans = [*traces.named("adapter.call"), *traces.named("adapter.attempt")]
    assert 6 == len(spans)
    assert [] == [event for span in spans for event in span.events]
    assert not re.search("sk-123|jane", "".join(str(span.to_json()) for span in spans))


@pytest.mark.parametrize(
    ("outcome", "failed", "script"),
    [
        ("succeeded", False, ["fine"]),
        ("provider_unavailable", True, [down()]),
        ("invalid_request", True, [wrong()]),
        ("provider_error", True, [KeyError("x")]),
        ("prompt_too_long", False, [RequestError("x", code="prompt_too_long")]),
    ],
    ids=["answer", "unavailable", "refused-by-the-provider", "defect", "fault-of-the-caller"],
)
async def test_a_failed_call_is_an_error(outcome: str, failed: bool, script: list[Any]) -> None:  # noqa: FBT001 - a case
    """The status of the span is what a search for errors finds."""
    traces = Traces()
    front, _ = guarded(Scripted(script), without("retry"), traces.surroundings)
    await asyncio.gather(front.ask("x"), return_exceptions=True)

    assert (outcome, not failed) == (_attributes(traces.call)["outcome"], traces.call.status.is_ok)


async def test_a_cancelled_call_ends_its_spans() -> None:
    """Both are finished and say so; being left is no error."""
    traces = Traces()
    front, _ = guarded(Scripted([hang]), None, traces.surroundings)
    task = asyncio.create_task(front.ask("x"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    spans = [traces.call, *traces.named("adapter.attempt")]
    assert [("cancelled", True)] * 2 == [(_attributes(span)["outcome"], span.status.is_ok) for span in spans]


async def test_a_refusal_has_no_attempt() -> None:
    """What an open circuit refuses is a call without child."""
    traces = Traces()
    front, _ = guarded(Scripted([down()]), without("retry"), traces.surroundings)
    for _ in range(6):
        await asyncio.gather(front.ask("x"), return_exceptions=True)

    last = traces.named("adapter.call")[-1]
    assert (5, "circuit_open", 0) == (
        len(traces.named("adapter.attempt")),
        *(_attributes(last)[name] for name in ("outcome", "attempts")),
    )


async def test_the_trace_of_the_caller_goes_on() -> None:
    """The call is a child of what the caller sent, and the provider is sent the attempt as its parent."""
    traces = Traces()

    async def sent() -> str | None:
        return current().traceparent

    front, _ = guarded(Scripted([sent]), None, traces.surroundings)
    with entered(Context("c", traceparent=f"00-{TRACE}-{PARENT}-01")) as context:
        received = await front.ask("x")
        assert context is current_or_none()

    (attempt,) = traces.named("adapter.attempt")
    assert (int(TRACE, 16), int(PARENT, 16)) == _parent(traces.call)
    assert f"00-{TRACE}-{_ids(attempt)[1]:016x}-01" == received


async def test_a_span_of_the_request_is_the_nearer_parent() -> None:
    """Where the server has a span already, the call belongs below it."""
    traces = Traces()
    front, _ = guarded(Scripted(), None, traces.surroundings)
    with (
        entered(Context("c", traceparent=f"00-{TRACE}-{PARENT}-01")),
        traces.tracer.start_as_current_span("request") as request,
    ):
        await front.ask("x")

    assert request.get_span_context().span_id == (_parent(traces.call) or (0, 0))[1]


async def test_calls_at_the_same_time_keep_their_spans_apart() -> None:
    """Each attempt stands below its own call, with numbers of its own, and nothing stays current."""
    traces = Traces()

    async def other_first() -> str:
        await asyncio.sleep(0.001)
        return format(trace.get_current_span().get_span_context().trace_id, "032x")

    front, _ = guarded(Scripted([down(), down(), down(), other_first]), without("breaker"), traces.surroundings)

    async def one(number: int) -> str:
        with entered(Context(f"c{number}", traceparent=f"00-{number:032x}-{PARENT}-01")):
            answer: str = await front.ask(number)
            return answer

    answers = await asyncio.gather(*(one(number) for number in range(1, 21)))

    assert [f"{number:032x}" for number in range(1, 21)] == answers
    calls = {_ids(call): call for call in traces.named("adapter.call")}
    numbers: dict[Any, list[int]] = {}
    for attempt in traces.named("adapter.attempt"):
        numbers.setdefault(_parent(attempt), []).append(_attributes(attempt)["attempt"])
    assert calls.keys() == numbers.keys()
    assert {key: [*range(1, _attributes(call)["attempts"] + 1)] for key, call in calls.items()} == numbers
    assert (23, False) == (sum(map(len, numbers.values())), trace.get_current_span().get_span_context().is_valid)


async def test_a_call_inside_a_call_leaves_nothing_behind() -> None:
    """An attempt that calls another provider and fails: the pause and the next attempt are the outer call's again."""
    traces = Traces()
    inside, _ = guarded(Scripted(), None, traces.surroundings, name="inside")
    seen = []

    async def asks_inside() -> None:
        await inside.ask("x")
        raise down()

    async def pause(seconds: float) -> bool:
        seen.append((seconds >= 0, current().traceparent))
        return True

    surroundings = pausing(pause, spans=traces.surroundings.spans)
    front, _ = guarded(Scripted([asks_inside, "fine"]), None, surroundings)
    sent = f"00-{TRACE}-{PARENT}-01"
    with entered(Context("c", traceparent=sent)):
        await front.ask("x")

    assert [(True, sent)] == seen
    found = {_attributes(call)["provider"]: _attributes(call)["attempts"] for call in traces.named("adapter.call")}
    assert {"inside": 1, "mine": 2} == found


async def test_one_attempt_for_many_callers_belongs_to_the_first() -> None:
    """Who waits for an answer that somebody else has asked for made no attempt."""
    traces = Traces()
    front, _ = guarded(Scripted(), without(cache={"type": "memory"}), traces.surroundings)
    await asyncio.gather(*(front.read("same") for _ in range(5)))

    (attempt,) = traces.named("adapter.attempt")
    calls = traces.named("adapter.call")
    assert [0, 0, 0, 0, 1] == sorted(_attributes(call)["attempts"] for call in calls)
    assert [1] == [_attributes(call)["attempts"] for call in calls if _ids(call) == _parent(attempt)]


async def test_another_provider_that_stands_in_has_a_call_of_its_own() -> None:
    """The fallback is a child of the call that it saves."""
    traces = Traces()
    port = Scripted(["spare"])
    _, spare = guarded(port, None, traces.surroundings, name="spare")
    routes = {"spare": Route("spare", "scripted", port, spare.pipeline)}
    surroundings: Surroundings = pausing(Pauses(), spans=traces.surroundings.spans, routes=routes)
    front, _ = guarded(Scripted([down()]), without("retry", fallback={"name": "spare"}), surroundings)

    assert "spare" == await front.ask("x")

    inner, outer = traces.named("adapter.call")
    assert ("spare", "mine") == (_attributes(inner)["provider"], _attributes(outer)["provider"])
    assert _ids(outer) == _parent(inner)
    assert [1, 1] == [_attributes(span)["attempts"] for span in (inner, outer)]


class Talker:
    """A port that speaks in pieces."""

    async def talk(self) -> AsyncIterator[str]:
        """Yield three words."""
        for word in ("one", "two", "three"):
            yield word


@pytest.mark.parametrize(("outcome", "wanted"), [("succeeded", 3), ("cancelled", 1)], ids=["to-the-end", "left"])
async def test_a_stream_is_one_call_until_its_end(outcome: str, wanted: int) -> None:
    """The spans and the count cover all pieces; who leaves early has cancelled the call."""
    traces = Traces()
    guards = Guards("mine", Resilience(), traces.surroundings)
    operations = {"talk": Operation("talk", idempotent=False, returns="stream")}
    front = guard(Talker(), guards.pipeline, operations, provider="mine", kind="scripted")
    got = []
    async with aclosing(cast("AsyncGenerator[str]", front.talk())) as words:
        async for word in words:
            got.append(word)
            if len(got) == wanted:
                break

    (attempt,) = traces.named("adapter.attempt")
    assert [outcome] * 2 == [_attributes(span)["outcome"] for span in (traces.call, attempt)]
    assert (outcome == "succeeded") == bool(guards.telemetry.operations["talk"].succeeded)
    assert not trace.get_current_span().get_span_context().is_valid
