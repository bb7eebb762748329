"""Metrics: `GET /metrics` shows what the service counts, requests by the template of their path."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import Counter
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from chassis.resilience.providers import Scripted, guarded
from chassis.web.app import client_of, get, raising
from object_service.chassis.container import Container
from object_service.chassis.metrics import BOUNDS_S, Histogram, Metrics
from object_service.chassis.resilience.assembly import Surroundings
from object_service.chassis.resilience.telemetry import ProviderMetrics
from object_service.chassis.web.metrics import HttpMetrics, Measured

type Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def _samples(text: str) -> Samples:
    """Return what a scraper reads, and check that no series comes twice."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(samples) == len(found)
    return samples


def _requests(samples: Samples) -> set[tuple[str, str, str, float]]:
    labelled = [(dict(labels), value) for (name, labels), value in samples.items() if name == "http_requests_total"]
    return {(labels["method"], labels["route"], labels["status"], value) for labels, value in labelled}


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _serve(metrics: HttpMetrics, app: Any = _answer, method: str = "GET", kind: str = "http") -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        del message

    await Measured(app, metrics)({"type": kind, "method": method, "path": "/x"}, receive, send)


def _counted(metrics: HttpMetrics) -> list[tuple[str, float]]:
    families = {family.name: family.samples for family in metrics.collect()}
    return [(sample.labels["status"], sample.value) for sample in families["http_requests"]]


async def test_the_answer_is_in_the_format_of_prometheus() -> None:
    """With the media type that scrapers expect, once."""
    response = await get("/metrics")

    assert (200, ["text/plain; version=0.0.4; charset=utf-8"]) == (
        response.status_code,
        response.headers.get_list("content-type"),
    )
    assert ("http_requests_in_progress", frozenset()) in _samples(response.text)


async def test_requests_are_counted_by_route_and_status() -> None:
    """Ids in paths are no labels; refusals, crashes and unknown paths count as well."""
    async with client_of() as client:
        for path in ("/v1/things/1", "/v1/things/2", "/v1/things/3?page=x", "/nowhere/1", "/nowhere/2", "/livez"):
            await client.get(path)
        await client.get(raising("metrics", RuntimeError("x")))
        await client.post("/livez")
        await client.get("/v1/things/1", headers={"X-Request-Timeout": "0"})
        samples = _samples((await client.get("/metrics")).text)

    assert {
        ("GET", "/v1/things/{id}", "200", 2),
        ("GET", "/v1/things/{id}", "422", 1),
        ("GET", "unmatched", "404", 2),
        ("GET", "/livez", "200", 1),
        ("GET", "/v1/raise/{name}", "500", 1),
        ("GET", "unmatched", "400", 1),
    } == {found for found in _requests(samples) if found[0] == "GET"}
    assert [405] == [int(status) for method, _, status, _ in _requests(samples) if method == "POST"]
    labels = frozenset({"method": "GET", "route": "/v1/things/{id}"}.items())
    assert 3 == samples["http_request_duration_seconds_count", labels]
    assert 1 == samples["http_requests_in_progress", frozenset()]


async def test_callers_cannot_make_up_series() -> None:
    """A thousand paths and methods that nobody knows are a handful of series."""
    async with client_of() as client:
        for number in range(500):
            await client.get(f"/nowhere/{number}")
            await client.request(f"M{number}", f"/nowhere/{number}")
        samples = _samples((await client.get("/metrics")).text)

    assert {("GET", "unmatched", "404", 500), ("other", "unmatched", "404", 500)} == _requests(samples)


async def test_requests_that_run_are_in_progress() -> None:
    """Also while they wait, and no longer once they have ended in whatever way."""
    container = Container()
    opened = container.provide(asyncio.Event, asyncio.Event())
    async with client_of(container) as client:
        tasks = [asyncio.create_task(client.get("/v1/gate")) for _ in range(3)]
        await asyncio.sleep(0.05)
        during = _samples((await client.get("/metrics")).text)
        opened.set()
        await asyncio.gather(*tasks)
        after = _samples((await client.get("/metrics")).text)

    assert [4, 1] == [samples["http_requests_in_progress", frozenset()] for samples in (during, after)]


@pytest.mark.parametrize("error", [ClientDisconnect(), asyncio.CancelledError(), RuntimeError("x")], ids=repr)
async def test_a_request_without_an_answer_is_abandoned(error: BaseException) -> None:
    """Who left before there was a status is counted apart from every status."""
    metrics = HttpMetrics()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        raise error

    with pytest.raises(type(error)):
        await _serve(metrics, app)

    assert ([("abandoned", 1)], 0) == (_counted(metrics), metrics.in_progress)


async def test_only_http_is_counted() -> None:
    """Other protocols pass untouched."""
    metrics = HttpMetrics()
    await _serve(metrics, kind="lifespan")
    assert [] == _counted(metrics)


async def test_calls_to_providers_and_metrics_of_your_own_are_shown() -> None:
    """Everything that the service counts stands on one page."""
    container = Container()
    metrics = container.provide(Metrics, Metrics())
    front, _ = guarded(Scripted(), None, Surroundings(metrics=metrics.of(ProviderMetrics)))
    Counter("things_found", "Things that were found.", registry=metrics.registry).inc(3)
    await front.ask("x")
    async with client_of(container) as client:
        samples = _samples((await client.get("/metrics")).text)

    labels = {"provider": "mine", "operation": "ask", "outcome": "succeeded"}
    assert 1 == samples["adapter_calls_total", frozenset(labels.items())]
    assert 3 == samples["things_found_total", frozenset()]


async def test_an_application_that_is_built_again_counts_on() -> None:
    """One service has one set of figures, however often its application is built."""
    container = Container()
    container.provide(Metrics, Metrics())
    async with client_of(container) as client:
        await client.get("/livez")
    async with client_of(container) as again:
        await again.get("/livez")
        samples = _samples((await again.get("/metrics")).text)

    assert ("GET", "/livez", "200", 2) in _requests(samples)


async def test_two_services_in_one_process_count_apart() -> None:
    """What one serves is not seen by the other."""
    async with client_of() as one, client_of() as two:
        await one.get("/livez")
        samples = _samples((await two.get("/metrics")).text)

    assert set() == _requests(samples)


async def test_parameters_of_a_scrape_are_refused() -> None:
    """The route takes none, like every other that states none."""
    assert 422 == (await get("/metrics?name[]=x")).status_code


@pytest.mark.parametrize(
    ("bucket", "seconds"),
    [("0.005", 0.0), ("0.005", 0.005), ("0.01", 0.0051), ("120.0", 120.0), ("+Inf", 120.1)],
    ids=["nothing", "on-the-bound", "above", "longest", "longer"],
)
def test_a_bound_belongs_to_its_bucket(bucket: str, seconds: float) -> None:
    """Buckets are cumulative and their upper bounds included, as Prometheus defines them."""
    histogram = Histogram()
    histogram.observe(seconds)
    family = HistogramMetricFamily("x_seconds", "X.", labels=[])
    histogram.add_to(family, [])

    buckets = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    names = list(buckets)
    assert [*(str(bound) for bound in BOUNDS_S), "+Inf"] == names
    at = names.index(bucket)
    assert [0] * at + [1] * (len(names) - at) == list(buckets.values())
    assert seconds == next(sample.value for sample in family.samples if sample.name.endswith("_sum"))
