"""Telemetry: counts every call to a provider and how long it took, and shows the state of the provider's guards.

A call only adds to plain numbers; states are read when somebody asks for them.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..contracts.errors import ServiceError
from ..metrics import Histogram
from .breaker import BreakerState
from .pipeline import Call, Proceed

if TYPE_CHECKING:
    from prometheus_client import Metric

    from .assembly import Guards

SUCCEEDED = "succeeded"
CANCELLED = "cancelled"
OTHER = "other"
MAX_OUTCOMES = 32
"""Outcomes that one operation is counted by; an adapter that invents codes cannot fill a memory."""

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def outcome_of(error: BaseException) -> str:
    """Return the one word for how a call failed: the code of its error, or `cancelled`."""
    if isinstance(error, ServiceError):
        return error.code if _CODE.fullmatch(error.code) else OTHER
    return ServiceError.default_code if isinstance(error, Exception) else CANCELLED


class Figures:
    """What was counted of one operation."""

    __slots__ = ("failed", "succeeded", "took")

    def __init__(self) -> None:
        """Begin at zero."""
        self.succeeded = 0
        self.failed: Counter[str] = Counter()
        self.took = Histogram()

    def fail(self, outcome: str) -> None:
        """Count a call that did not succeed."""
        known = outcome in self.failed or len(self.failed) < MAX_OUTCOMES
        self.failed[outcome if known else OTHER] += 1


class Telemetry:
    """Counts what passes; outermost, so that answers of the cache and refusals are counted too."""

    name = "telemetry"

    def __init__(self) -> None:
        """Begin without any operation."""
        self.operations: dict[str, Figures] = {}

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Count the call and pass its outcome on."""
        figures = self.operations.get(call.operation.name) or self.expect(call.operation.name)
        begun = time.monotonic()
        try:
            answer = await proceed(call)
        except BaseException as error:
            figures.fail(outcome_of(error))
            figures.took.observe(time.monotonic() - begun)
            raise
        figures.succeeded += 1
        figures.took.observe(time.monotonic() - begun)
        return answer

    def expect(self, operation: str) -> Figures:
        """Return the figures of an operation; they stand at zero before its first call."""
        return self.operations.setdefault(operation, Figures())


class ProviderMetrics:
    """The metrics of every provider of a service."""

    def __init__(self) -> None:
        """Begin without providers."""
        self._all: list[Guards] = []

    def add(self, guards: "Guards") -> None:
        """Show a provider from now on."""
        self._all.append(guards)

    def left_alone(self) -> list[str]:
        """Return the providers of which a circuit is open."""
        states = [(guards.provider, breaker.state) for guards in self._all for breaker in guards.breakers.values()]
        return sorted({provider for provider, state in states if state is BreakerState.OPEN})

    def collect(self) -> "Iterator[Metric]":
        """Yield everything, as of now."""
        yield from self._calls()
        yield from self._attempts()
        yield from self._guards()

    def _calls(self) -> "Iterator[Metric]":
        from prometheus_client import core  # noqa: PLC0415 - not at the start, see `chassis.metrics`

        calls = core.CounterMetricFamily(
            "adapter_calls", "Calls to a provider by how they ended.", labels=["provider", "operation", "outcome"]
        )
        took = core.HistogramMetricFamily(
            "adapter_call_seconds", "Duration of calls, all their attempts included.", labels=["provider", "operation"]
        )
        for guards in self._all:
            for operation, figures in guards.telemetry.operations.items():
                calls.add_metric([guards.provider, operation, SUCCEEDED], figures.succeeded)
                for outcome, count in figures.failed.items():
                    calls.add_metric([guards.provider, operation, outcome], count)
                figures.took.add_to(took, [guards.provider, operation])
        yield from (calls, took)

    def _attempts(self) -> "Iterator[Metric]":
        from prometheus_client import core  # noqa: PLC0415 - as above

        labels = ["provider", "operation"]
        attempts = core.CounterMetricFamily("adapter_attempts", "Times that a provider was asked.", labels=labels)
        retries = core.CounterMetricFamily("adapter_retries", "Attempts that repeated a failed one.", labels=labels)
        state = core.GaugeMetricFamily(
            "adapter_breaker_state", "State of the circuit breaker: 0 closed, 1 half-open, 2 open.", labels=labels
        )
        for guards in self._all:
            for operation in guards.telemetry.operations:
                attempts.add_metric([guards.provider, operation], guards.attempts[operation])
                retries.add_metric([guards.provider, operation], guards.retries[operation])
            for operation, breaker in guards.breakers.items():
                state.add_metric([guards.provider, operation], breaker.state)
        yield from (attempts, retries, state)

    def _guards(self) -> "Iterator[Metric]":
        from prometheus_client import core  # noqa: PLC0415 - as above

        labels = ["provider"]
        in_use = core.GaugeMetricFamily("adapter_bulkhead_in_use", "Attempts that hold a place.", labels=labels)
        queued = core.GaugeMetricFamily("adapter_bulkhead_queued", "Attempts that wait for a place.", labels=labels)
        waited = core.HistogramMetricFamily(
            "adapter_rate_limit_wait_seconds", "Time that attempts waited for their turn.", labels=labels
        )
        tokens = core.GaugeMetricFamily("adapter_retry_budget_tokens", "Tokens left to pay for retries.", labels=labels)
        for guards in self._all:
            if guards.bulkhead is not None:
                in_use.add_metric([guards.provider], guards.bulkhead.in_use)
                queued.add_metric([guards.provider], guards.bulkhead.queued)
            if guards.waits is not None:
                guards.waits.add_to(waited, [guards.provider])
            if guards.budget is not None:
                tokens.add_metric([guards.provider], guards.budget.tokens)
        yield from (in_use, queued, waited, tokens)
