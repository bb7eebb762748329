"""Exporting: what leaves the process as a span is redacted first, whoever wrote it; imported with tracing on only."""

from collections.abc import Mapping, Sequence
from typing import Any, override

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, Status

from .contracts.context import current_or_none
from .redaction import redact, redact_query, redact_text

_QUERY = "url.query"


class RedactedExporter(SpanExporter):
    """Hands spans to another exporter, without secrets: names, attributes, events (exceptions too), links, status."""

    def __init__(self, exporter: SpanExporter) -> None:
        """Wrap what sends them."""
        self._exporter = exporter

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_redacted(span) for span in spans])

    @override
    def shutdown(self) -> None:
        self._exporter.shutdown()

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class ContextIds(RandomIdGenerator):
    """Gives a trace that begins here the id that the lines of the log name."""

    @override
    def generate_trace_id(self) -> int:
        context = current_or_none()
        return super().generate_trace_id() if context is None else int(context.trace_id, 16)


def redacted_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the attributes of a span, or of what sends spans, without secrets."""
    return {name: _value(name, value) for name, value in (attributes or {}).items()}


def _value(name: str, value: Any) -> Any:
    return redact_query(str(value)) if name == _QUERY else redact(value, name)


def _without_state(context: SpanContext | None) -> SpanContext | None:
    """Return a context; the state that came along with it is left out as a whole where it tells a secret."""
    if context is None or not context.trace_state or (state := context.trace_state.to_header()) == redact_text(state):
        return context
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)


def _redacted(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=redact_text(span.name),
        context=_without_state(span.context),
        parent=span.parent,
        resource=span.resource,
        attributes=redacted_attributes(span.attributes),
        events=[Event(event.name, redacted_attributes(event.attributes), event.timestamp) for event in span.events],
        links=[Link(link.context, redacted_attributes(link.attributes)) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, redact_text(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
