"""Metrics of the HTTP server, by method, template of the path and status; and the route that shows all metrics."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..metrics import Histogram, Metrics

if TYPE_CHECKING:
    from prometheus_client import Metric

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""What is counted by its name; callers may invent further methods, and all of those share one."""


class HttpMetrics:
    """What was asked of the server and how long it took."""

    def __init__(self) -> None:
        """Begin without requests."""
        self.in_progress = 0
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._took: dict[tuple[str, str], Histogram] = {}

    def observe(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Count a request; without a status the caller left before there was one."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "unmatched")
        self._requests[method, route, "abandoned" if status is None else str(status)] += 1
        took = self._took.get((method, route))
        if took is None:
            took = self._took[method, route] = Histogram()
        took.observe(seconds)

    def collect(self) -> "Iterator[Metric]":
        """Yield what was counted so far."""
        from prometheus_client import core  # noqa: PLC0415 - not at the start, see `chassis.metrics`

        requests = core.CounterMetricFamily("http_requests", "Requests served.", labels=["method", "route", "status"])
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        took = core.HistogramMetricFamily(
            "http_request_duration_seconds", "Time until the last byte of the answer.", labels=["method", "route"]
        )
        for (method, route), histogram in self._took.items():
            histogram.add_to(took, [method, route])
        yield from (requests, took)
        yield core.GaugeMetricFamily("http_requests_in_progress", "Requests being served.", self.in_progress)


class Measured:
    """Pure ASGI middleware that counts every request, outermost."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        """Wrap an application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and count it, however it ends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics = self._metrics
        metrics.in_progress += 1
        begun = time.monotonic()
        try:
            await self._app(scope, receive, watched)
        finally:
            metrics.in_progress -= 1
            metrics.observe(scope, status, time.monotonic() - begun)


def build_router(metrics: Metrics) -> APIRouter:
    """Return the route that a scraper asks."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", response_class=PlainTextResponse)
    async def scrape() -> Response:
        """Tell every metric, in the text format of Prometheus."""
        content, media_type = metrics.exposition()
        return Response(content, headers={"Content-Type": media_type})

    return router
