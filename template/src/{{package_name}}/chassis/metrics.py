"""Metrics: what is counted while the service runs, and how it is shown to whoever scrapes it.

Collectors keep plain numbers and turn them into the form of Prometheus when they are asked. Counting costs next to
nothing that way, and the library is imported by the first question, not by the start.
"""

from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.core import HistogramMetricFamily

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bounds of every histogram, in seconds: from a cached answer to the longest call of the defaults."""

_LABELS = (*(str(bound) for bound in BOUNDS_S), "+Inf")


class Histogram:
    """How many things took how long."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        """Begin empty."""
        self._counts = [0] * len(_LABELS)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one thing."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def add_to(self, family: "HistogramMetricFamily", labels: list[str]) -> None:
        """Add what was counted to a family, under these labels."""
        family.add_metric(labels, list(zip(_LABELS, accumulate(self._counts), strict=True)), self._sum_s)


class Collector(Protocol):
    """Something that counts; it is built without arguments, once per service."""

    def collect(self) -> "Iterator[Metric]":
        """Yield what was counted so far."""
        ...


class Metrics:
    """The metrics of one service; another service in the same process has its own."""

    def __init__(self) -> None:
        """Begin without any."""
        self._collectors: dict[type[Collector], Collector] = {}

    def of[C: Collector](self, type_: type[C]) -> C:
        """Return this service's collector of a type."""
        if type_ not in self._collectors:
            self._collectors[type_] = type_()
        return cast("C", self._collectors[type_])

    @cached_property
    def registry(self) -> "CollectorRegistry":
        """Return the registry of prometheus_client; metrics of your own may be registered here."""
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - see the module's docstring

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self)
        return registry

    def collect(self) -> "Iterator[Metric]":
        """Yield what all collectors have counted."""
        for collector in self._collectors.values():
            yield from collector.collect()

    def exposition(self) -> tuple[bytes, str]:
        """Return everything as text, and the media type of that text."""
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest  # noqa: PLC0415 - as above

        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4
