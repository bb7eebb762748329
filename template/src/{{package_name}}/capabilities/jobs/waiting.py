"""Waiting: how long the oldest job has waited for somebody to run it, for operators to be alarmed about."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...chassis.contracts.errors import ServiceError
from .internals import oldest_due_ms
from .jobs import Jobs, reached

if TYPE_CHECKING:
    from prometheus_client import Metric

EVERY_S = 15.0
_log = logging.getLogger(__name__)


class JobMetrics:
    """What was last seen of the queues; nothing before the first look, and while the database is away."""

    def __init__(self) -> None:
        """Begin without having looked."""
        self.oldest_waiting_s: float | None = None

    def collect(self) -> "Iterator[Metric]":
        """Yield what was seen."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - only for whoever scrapes

        if self.oldest_waiting_s is not None:
            words = "How long the oldest job that could run has waited."
            yield GaugeMetricFamily("jobs_oldest_waiting_seconds", words, self.oldest_waiting_s)


async def oldest_waiting_s(jobs: Jobs, now: datetime) -> float:
    """Return for how long a job has waited that is due, at most, in seconds; 0 without any."""
    with reached(told=True):
        due_ms = await asyncio.to_thread(oldest_due_ms, jobs.client, round(now.timestamp() * 1000))
    return 0.0 if due_ms is None else max(0.0, now.timestamp() - due_ms / 1000)


async def keep_looking(jobs: Jobs, metrics: JobMetrics) -> None:
    """Look every `EVERY_S`, until cancelled."""
    while True:
        try:
            metrics.oldest_waiting_s = await oldest_waiting_s(jobs, datetime.now(UTC))
        except ServiceError as error:
            metrics.oldest_waiting_s = None
            _log.debug("queues_not_seen", extra={"error": str(error)})
        await asyncio.sleep(EVERY_S)
