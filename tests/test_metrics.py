"""The metrics of the default service as a process: names, types and labels are those of the contract."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from rendering import DEFAULT, Workshop
from serving import Service, running

pytestmark = pytest.mark.gate

CALL = {"provider", "operation"}
OF_PROVIDERS: Mapping[str, tuple[str, set[str]]] = {
    "adapter_calls": ("counter", CALL | {"outcome"}),
    "adapter_call_seconds": ("histogram", CALL),
    "adapter_attempts": ("counter", CALL),
    "adapter_retries": ("counter", CALL),
    "adapter_breaker_state": ("gauge", CALL),
    "adapter_bulkhead_in_use": ("gauge", {"provider"}),
    "adapter_bulkhead_queued": ("gauge", {"provider"}),
    "adapter_rate_limit_wait_seconds": ("histogram", {"provider"}),
    "adapter_retry_budget_tokens": ("gauge", {"provider"}),
}
OF_THE_SERVER: Mapping[str, tuple[str, set[str]]] = {
    "http_requests": ("counter", {"method", "route", "status"}),
    "http_request_duration_seconds": ("histogram", {"method", "route"}),
    "http_requests_in_progress": ("gauge", set()),
}


@pytest.fixture(scope="module")
def service(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service with a rate limit, which all tests of this module use."""
    limited = {"MY_SERVICE_PROVIDERS__ECHO__RESILIENCE__RATE_LIMIT__RATE_PER_S": "1000"}
    with running(workshop.install(DEFAULT), tmp_path_factory.mktemp("metrics"), limited) as service:
        yield service


def scraped(service: Service) -> dict[str, Metric]:
    """Return every family by its name, as a scraper reads them."""
    answer = service.call("GET", "/metrics")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (answer.status, answer.headers["content-type"])
    families = list(text_string_to_metric_families(answer.body.decode()))
    found = {family.name: family for family in families}
    assert len(families) == len(found)
    return found


def value(families: Mapping[str, Metric], name: str, **labels: str) -> float | None:
    """Return one sample, or None where there is none."""
    samples = [sample for family in families.values() for sample in family.samples]
    return next((sample.value for sample in samples if sample.name == name and sample.labels == labels), None)


def test_names_types_and_labels_are_those_of_the_contract(service: Service) -> None:
    """Every family of the contract is there with its labels, and none that the contract does not know."""
    service.post("/v1/generations", {"prompt": "hello"})
    families = scraped(service)
    found = {
        name: (family.type, set().union(*(sample.labels for sample in family.samples)) - {"le"})
        for name, family in families.items()
        if not name.startswith("process_")
    }
    assert {**OF_PROVIDERS, **OF_THE_SERVER} == found
    assert "process_resident_memory_bytes" in families


def test_every_provider_stands_at_zero_from_the_start(service: Service) -> None:
    """An alert on an increase sees the first failure of a provider that was never called before."""
    families = scraped(service)
    what = {"provider": "energy", "operation": "start"}
    assert 0 == value(families, "adapter_calls_total", outcome="succeeded", **what)
    assert 0 == value(families, "adapter_retries_total", **what)
    assert 0 == value(families, "adapter_breaker_state", **what)
    assert 500 == value(families, "adapter_retry_budget_tokens", provider="energy")


def test_calls_are_counted_by_how_they_ended(service: Service) -> None:
    """A call that succeeds and one that comes too late show under their outcomes; only the first is an attempt."""
    what = {"provider": "echo", "operation": "generate"}

    def counted() -> list[float]:
        families = scraped(service)
        outcomes = [
            value(families, "adapter_calls_total", outcome=outcome, **what)
            for outcome in ("succeeded", "deadline_exceeded")
        ]
        attempts = value(families, "adapter_attempts_total", **what)
        waits = value(families, "adapter_rate_limit_wait_seconds_count", provider="echo")
        return [found or 0 for found in (*outcomes, attempts, waits)]

    before = counted()
    service.post("/v1/generations", {"prompt": "hello"})
    head = "POST /v1/generations HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
    # In one piece: a body that arrives later is late before any provider is asked.
    service.raw(f'{head}X-Request-Timeout: 1e-9\r\nContent-Length: 19\r\n\r\n{{"prompt": "hello"}}'.encode())
    assert [1, 1, 1, 1] == [now - then for now, then in zip(counted(), before, strict=True)]


def test_requests_are_counted_by_the_template_of_their_path(service: Service) -> None:
    """Ids and paths that callers make up are no labels."""
    for number in range(3):
        service.call("GET", f"/v1/diarizations/dia_{number}")
        service.call("GET", f"/made-up/{number}")
        service.call(f"M{number}", "/made-up")
    families = scraped(service)
    route = "/v1/diarizations/{id}"
    assert 3 == value(families, "http_requests_total", method="GET", route=route, status="404")
    assert 3 == value(families, "http_requests_total", method="GET", route="unmatched", status="404")
    assert 3 == value(families, "http_requests_total", method="other", route="unmatched", status="404")
    labels = [sample.labels for family in families.values() for sample in family.samples]
    assert not any("made-up" in text or "dia_" in text for found in labels for text in found.values())


def test_scrapes_leave_no_line(service: Service) -> None:
    """What is asked every few seconds would bury the log."""
    scraped(service)
    assert [] == [line for line in service.log() if line.get("route") == "/metrics"]


def test_lines_of_a_share_of_requests_are_written(workshop: Workshop, tmp_path: Path) -> None:
    """With a share of 0, what went well leaves no line, and what was refused leaves all of its lines, each with ids."""
    with running(workshop.install(DEFAULT), tmp_path, {"MY_SERVICE_LOG__SAMPLE": "0"}) as service:
        for _ in range(3):
            assert 200 == service.post("/v1/generations", {"prompt": "hello"}).status
        refused = service.post("/v1/generations", {"prompt": "hello"}, {"X-Request-Timeout": "1e-9"})
        assert 504 == refused.status
        assert 0 == service.stop()
        requests = [line for line in service.log() if "correlation_id" in line]
    assert {refused.headers["x-request-id"]} == {line["correlation_id"] for line in requests}
    assert "request_served" in {line["event"] for line in requests}
    assert 1 == len({line["trace_id"] for line in requests})
