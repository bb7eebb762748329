"""Spans: a trace shows each call to a provider, and each attempt of it. Imported only when tracing is on.

A span tells in one word how things ended; neither the texts of errors nor anything of requests or answers is in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context as OuterContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..contracts.context import CURRENT, current
from ..contracts.errors import RequestError
from .pipeline import Call, Proceed
from .telemetry import CANCELLED, SUCCEEDED, outcome_of

_PROPAGATOR = TraceContextTextMapPropagator()
_ATTEMPTS: ContextVar[list[int] | None] = ContextVar("attempts", default=None)
"""The attempts of the current call so far, in a list of one; a task that a call starts shares it."""


class CallSpan:
    """Spans a call with all its attempts, as a child of the request, or of what the caller named as parent."""

    name = "span"

    def __init__(self, tracer: trace.Tracer) -> None:
        """Take what makes spans."""
        self._tracer = tracer

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Pass the call on inside its span."""
        attempts = [0]
        token = _ATTEMPTS.set(attempts)
        span = self._tracer.start_span("adapter.call", _outside(), attributes=_attributes(call))
        try:
            with _inside(span):
                return await proceed(call)
        finally:
            span.set_attribute("attempts", attempts[0])
            span.end()
            _ATTEMPTS.reset(token)


class AttemptSpan:
    """Spans the time of the provider in one attempt, and has the provider continue the trace."""

    name = "attempt_span"

    def __init__(self, tracer: trace.Tracer) -> None:
        """Take what makes spans."""
        self._tracer = tracer

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Pass the attempt on inside its span."""
        attempts = _ATTEMPTS.get() or [0]
        attempts[0] += 1
        attributes: dict[str, str | int] = {**_attributes(call), "attempt": attempts[0]}
        span = self._tracer.start_span("adapter.attempt", kind=trace.SpanKind.CLIENT, attributes=attributes)
        context = current()
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        traceparent, tracestate = carrier.get("traceparent", context.traceparent), carrier.get("tracestate")
        token = CURRENT.set(context._replace(traceparent=traceparent, tracestate=tracestate))
        try:
            with _inside(span):
                return await proceed(call)
        finally:
            CURRENT.reset(token)
            span.end()


class Spans:
    """Both steps, for the pipelines of one service."""

    def __init__(self, tracer: trace.Tracer) -> None:
        """Take what makes spans."""
        self.call = CallSpan(tracer)
        self.attempt = AttemptSpan(tracer)


def _outside() -> OuterContext | None:
    """Return the parent where there is no current span: what the caller sent along."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    context = current()
    if context.traceparent is None:
        return None
    return _PROPAGATOR.extract({"traceparent": context.traceparent, "tracestate": context.tracestate or ""})


def _attributes(call: Call) -> dict[str, str]:
    return {"provider": call.provider, "kind": call.kind, "operation": call.operation.name}


@contextmanager
def _inside(span: trace.Span) -> Iterator[None]:
    """Make the span the current one of the block and note how the block ended."""
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            outcome = outcome_of(error)
            span.set_attribute("outcome", outcome)
            if outcome != CANCELLED and not isinstance(error, RequestError):
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
            raise
        span.set_attribute("outcome", SUCCEEDED)
