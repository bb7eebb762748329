"""Tracing: on when the environment names a place that takes traces, in the variables that OpenTelemetry defines.

Source: OpenTelemetry specification, environment variables of the SDK and of the OTLP exporter.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .identity import SERVICE, service_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.trace import TracerProvider

FLUSH_S = 2.0
"""How long the end of a service waits for its last spans to be sent."""

_log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


def tracing_wanted(environment: Mapping[str, str]) -> bool:
    """Tell whether traces have somewhere to go, and nobody has switched them off."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    return not disabled and exporter == "otlp" and any(environment.get(name) for name in _ENDPOINTS)


def credentials_in(environment: Mapping[str, str]) -> list[str]:
    """Return what stands in the headers of the exporter, so that no line of the log tells it.

    Source: W3C Baggage, the form of these variables: `name=value` pairs between commas, percent-encoded.
    """
    stated = [environment.get(name, "") for name in _HEADERS]
    values = [pair.partition("=")[2].strip() for text in stated for pair in text.split(",")]
    return [value for raw in values for value in (raw, unquote(raw)) if value]


@dataclass(frozen=True, slots=True)
class Tracing:
    """What makes and sends the spans of this service; it is not the global one of the process."""

    provider: "TracerProvider"


@asynccontextmanager
async def opened(environment: Mapping[str, str]) -> AsyncIterator[Tracing | None]:
    """Yield tracing, or None when it is off; what is left is sent at the end, in `FLUSH_S` at most.

    Without the extra `otel` there is one warning, and no tracing.
    """
    provider = _open() if tracing_wanted(environment) else None
    try:
        yield None if provider is None else Tracing(provider)
    finally:
        if provider is not None:
            # It waits for as long as it tries to send; a service that stops does not.
            closing = threading.Thread(target=provider.shutdown, daemon=True)
            closing.start()
            await asyncio.to_thread(closing.join, FLUSH_S)


def _open() -> "SdkTracerProvider | None":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        _log.warning("tracing_unavailable", extra={"hint": "uv sync --extra otel"})
        return None
    from .exporting import ContextIds, RedactedExporter, redacted_attributes  # noqa: PLC0415 - with the SDK only

    own = Resource.create({"service.name": SERVICE, "service.version": service_version()})
    resource = Resource(redacted_attributes(own.merge(OTELResourceDetector().detect()).attributes))
    provider = TracerProvider(resource=resource, id_generator=ContextIds(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(RedactedExporter(OTLPSpanExporter())))
    return provider
