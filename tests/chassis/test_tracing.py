"""Tracing is on when the environment names a place for traces, and costs nothing otherwise."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import override

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chassis.cli.service import RUNTIME
from chassis.doubles import Greeter
from object_service.chassis import tracing
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.providers import Providers
from object_service.chassis.resilience.assembly import Surroundings
from object_service.chassis.tracing import Tracing, credentials_in, opened, tracing_wanted
from object_service.chassis.web.app import build_app

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("expected", "environment"),
    [
        (False, {}),
        (False, {ENDPOINT: ""}),
        (True, {ENDPOINT: "http://127.0.0.1:4318"}),
        (True, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}),
        (False, {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4318/v1/metrics"}),
        (False, {ENDPOINT: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "TRUE"}),
        (False, {ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}),
        (True, {ENDPOINT: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "", "OTEL_SDK_DISABLED": "false"}),
    ],
    ids=["nothing", "empty", "endpoint", "traces", "metrics", "disabled", "none", "empty-switches"],
)
def test_an_endpoint_switches_it_on(expected: bool, environment: Mapping[str, str]) -> None:  # noqa: FBT001 - a case
    """The variables are OpenTelemetry's own; none of this service is needed."""
    assert expected is tracing_wanted(environment)


async def test_without_the_extra_there_is_a_warning_and_no_tracing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable that a platform sets for all of its services does not stop one that cannot follow it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    async with opened({ENDPOINT: "http://127.0.0.1:1"}) as found:
        assert found is None

    (line,) = [record for record in caplog.records if record.name == tracing.__name__]
    assert ("tracing_unavailable", "uv sync --extra otel") == (line.message, vars(line)["hint"])


def test_a_service_without_endpoint_does_not_load_the_sdk() -> None:
    """Neither the SDK nor the library for metrics is imported by a start."""
    code = """
import asyncio, sys
from chassis.cli.service import RUNTIME
from object_service.chassis.web.app import build_app

async def start():
    async with RUNTIME.started(RUNTIME.load()) as container:
        build_app(RUNTIME.load(), RUNTIME.features, container)

asyncio.run(start())
print(*sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "prometheus_client", "grpc"))))
"""
    path = [str(ROOT / "dev"), str(ROOT / "tests")]
    start = f"import sys; sys.path[:0] = {path!r}\n{code}"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60, check=False)

    assert ("", 0) == (done.stdout.strip(), done.returncode), done.stderr


class Collector(ThreadingHTTPServer):
    """Takes what an exporter sends."""

    def __init__(self) -> None:
        """Listen on any free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[str]:
        """Return the names of all spans that came."""
        found = (scope for request in self.requests for r in request.resource_spans for scope in r.scope_spans)
        return sorted(span.name for scope in found for span in scope.spans)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] is None:
            self.server.requests.append(ExportTraceServiceRequest.FromString(content))
        self.send_response(200)
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that listens."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_spans_reach_the_endpoint_by_the_end(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service sends its spans under its own name, and what is left when it stops."""
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    settings = RUNTIME.load()

    async with RUNTIME.started(settings) as container:
        assert Tracing in container
        assert container[Surroundings].spans is not None
        app = build_app(settings, RUNTIME.features, container)
        providers: Providers[Greeter] = container[Providers]
        await providers.choose(None).port.greet("x")
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            for path in ("/info", "/livez", "/metrics"):
                await client.get(path)

    assert ["GET /info", "adapter.attempt", "adapter.call"] == collector.spans
    attributes = {
        attribute.key: attribute.value.string_value
        for request in collector.requests
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
    }
    assert ("object-service", "0.0.0") == (attributes["service.name"], attributes["service.version"])


PLANTED = "Qh4ckm3now9Q"


async def test_no_span_carries_a_secret(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it: names, attributes, events, exceptions, links and the status are redacted on their way out."""
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"api_key={PLANTED},team=blue")

    async with opened({ENDPOINT: "x"}) as found:
        assert found is not None
        tracer = found.provider.get_tracer("test")
        with contextlib.suppress(ValueError), tracer.start_as_current_span(f"GET /?token={PLANTED}") as span:
            span.set_attributes({"db.password": PLANTED, "hosts": [f"https://a:{PLANTED}@h"], "count": 3})
            span.set_attribute("url.query", f"key={PLANTED}&to={PLANTED}%40a.example&page=2")
            span.add_event("sent", {"headers": f"Authorization: Bearer {PLANTED}"})
            span.add_link(span.get_span_context(), {"cookie": PLANTED})
            raise ValueError(f"password={PLANTED}")

    (request,) = collector.requests
    assert PLANTED not in str(request)
    assert PLANTED.encode() not in request.SerializeToString()
    (sent,) = request.resource_spans[0].scope_spans[0].spans
    attributes = {attribute.key: attribute.value for attribute in sent.attributes}
    assert 3 == attributes["count"].int_value
    assert "key=********&to=********&page=2" == attributes["url.query"].string_value
    assert ["sent", "exception"] == [event.name for event in sent.events]
    assert ("ValueError: password=********", 1) == (sent.status.message, len(sent.links))


async def test_a_trace_that_begins_here_has_the_id_of_the_log(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a command or a job that nobody asked for over HTTP; a caller's trace goes on, its state included."""
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    async with RUNTIME.started(RUNTIME.load()) as container:
        providers: Providers[Greeter] = container[Providers]
        port = providers.choose(None).port
        with entered(Context("c")) as context:
            await port.greet("x")
        with entered(Context("d", traceparent=f"00-{trace}-{parent}-01", tracestate="a=1")):
            await port.greet("x")

    found = [span for r in collector.requests for s in r.resource_spans for o in s.scope_spans for span in o.spans]
    calls = [(span.trace_id.hex(), span.trace_state) for span in found if span.name == "adapter.call"]
    assert [(context.trace_id, ""), (trace, "a=1")] == calls


@pytest.mark.parametrize(
    ("expected", "environment"),
    [
        ([], {}),
        (["abc"], {"OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=abc"}),
        (["a", "b"], {"OTEL_EXPORTER_OTLP_HEADERS": "x=a, y=b"}),
        (["Bearer a"], {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Bearer%20a,"}),
    ],
    ids=["none", "one", "two", "encoded"],
)
def test_credentials_of_the_exporter_are_known(expected: list[str], environment: Mapping[str, str]) -> None:
    """They stand in variables of OpenTelemetry, which no setting of the service names."""
    assert set(expected) <= set(credentials_in(environment))


async def test_the_environment_names_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over the service's own name."""
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue")

    async with opened({ENDPOINT: "x"}) as found:
        assert found is not None
        found.provider.get_tracer("test").start_span("one").end()

    (resource,) = [resource for request in collector.requests for resource in request.resource_spans]
    attributes = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert {"service.name": "other", "team": "blue"}.items() <= attributes.items()


async def test_an_endpoint_that_is_away_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that nobody takes are given up in bounded time."""
    monkeypatch.setattr(tracing, "FLUSH_S", 0.05)
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    async with opened({ENDPOINT: "x"}) as found:
        assert found is not None
        found.provider.get_tracer("test").start_span("one").end()
        begun = time.monotonic()

    assert 0.04 < time.monotonic() - begun < 5
