"""Assembly: the steps that the settings of one provider ask for, in their fixed order.

From the outside: telemetry, log, checks of the request, deadline; your own steps per call; stale answers, another
provider, cache; retry; then per attempt: a look at the breaker, rate limit, bulkhead, breaker, your own steps per
attempt, time limit, translation of failures, the call.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..metrics import Histogram
from .breaker import Breaker, BreakerLimits, Breakers
from .cache import Answers, Cache, MemoryAnswers, SharedAnswers
from .deadlines import AttemptTimeout, Deadline
from .fallback import OtherProvider, Route, Stale
from .guards import Admission, BreakerGuard, BreakerPeek, BulkheadGuard, RateGuard
from .limits import Bulkhead, RateLimiter, RetryBudget
from .pipeline import Middleware, Pipeline
from .retry import Retry
from .settings import Resilience
from .steps import Log, MapErrors, Validate
from .telemetry import ProviderMetrics, Telemetry

if TYPE_CHECKING:
    from .shared import SharedState
    from .spans import Spans

_MIN_WINDOW_S = 30.0
_BOTH = (False, True)


@dataclass(frozen=True, slots=True)
class MiddlewareKind:
    """A middleware of your own, by the name that settings select it with.

    `build` gets the name of the provider. It runs once per call, or, with `per_attempt`, around every attempt.
    """

    build: Callable[[str], Middleware]
    per_attempt: bool = False


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pipelines of all providers share: how to pause, Redis, other providers, your own middlewares.

    `spans` is None unless tracing is on.
    """

    pause: Callable[[float], Awaitable[bool]] = _sleep
    shared: "SharedState | None" = None
    routes: dict[str, Route] = field(default_factory=dict)
    middlewares: Mapping[str, MiddlewareKind] = field(default_factory=dict)
    metrics: ProviderMetrics = field(default_factory=ProviderMetrics)
    spans: "Spans | None" = None


class Guards:
    """The pipeline of one provider, and those of its parts that have a state."""

    def __init__(
        self,
        provider: str,
        settings: Resilience,
        surroundings: Surroundings | None = None,
        *,
        configuration: str = "",
    ) -> None:
        """Build everything from checked settings; nothing is called.

        Answers in a shared cache are used again by a provider of the same name and `configuration` only.
        """
        self.provider = provider
        self._configuration = configuration
        self._settings = settings
        self._surroundings = surroundings or Surroundings()
        self._breaker_limits = _breaker_limits(settings)
        self.breakers = Breakers(self._breaker_limits, time.monotonic)
        self.bulkhead = None if settings.bulkhead.type == "none" else Bulkhead(*settings.places())
        budget = settings.budget
        self.budget = None if budget.type == "none" else RetryBudget(budget.capacity, budget.cost, budget.throttle_cost)
        self.cache = self._build_cache()
        self.telemetry = Telemetry()
        self.attempts: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.waits: Histogram | None = None
        own = [(kind, kind.build(provider)) for kind in map(self._kind, settings.middlewares)]
        self._per_call = [step for kind, step in own if not kind.per_attempt]
        self._per_attempt = [step for kind, step in own if kind.per_attempt]
        self.pipeline = Pipeline([*self._outer(), *self._inner()])
        self._surroundings.metrics.add(self)

    def expect(self, operations: Iterable[str]) -> None:
        """Have the metrics of these operations stand at zero before the first call."""
        for operation in operations:
            self.telemetry.expect(operation)
            if self._settings.breaker.type != "none":
                self.breaker(operation)

    def breaker(self, operation: str) -> Breaker:
        """Return the breaker of an operation."""
        return self.breakers[operation]

    def _kind(self, name: str) -> MiddlewareKind:
        return self._surroundings.middlewares[name]

    def _outer(self) -> Iterator[Middleware]:
        """Yield the steps that a call passes once."""
        settings, surroundings = self._settings, self._surroundings
        yield self.telemetry
        if surroundings.spans is not None:
            yield surroundings.spans.call
        yield Log()
        yield Validate()
        yield Deadline(settings.timeouts, strict=bool(settings.middlewares))
        yield from self._per_call
        if self.cache is not None and settings.uses_stale():
            yield Stale(self.cache)
        if settings.fallback.type == "provider" and settings.fallback.name is not None:
            yield OtherProvider(settings.fallback.name, surroundings.routes)
        if self.cache is not None:
            yield self.cache

    def _inner(self) -> Iterator[Middleware]:
        """Yield the retry and the steps of each attempt."""
        settings = self._settings
        has_breaker = settings.breaker.type != "none"
        if settings.retry.type != "none":
            retry = Retry(settings.retry, self.budget, self._surroundings.pause)
            self.retries = retry.retries
            yield retry
        if has_breaker:
            yield BreakerPeek(self.breakers)
        if settings.rate_limit.type != "none":
            self.waits = Histogram()
            rate = RateGuard(self._reserve(), settings.rate_limit.max_wait_s)
            rate.waited = self.waits.observe
            yield rate
        if self.bulkhead is not None:
            yield BulkheadGuard(self.bulkhead)
        if has_breaker:
            yield BreakerGuard(self.breakers, self._admission())
        yield from self._per_attempt
        if self._surroundings.spans is not None:
            yield self._surroundings.spans.attempt
        yield AttemptTimeout(settings.timeouts)
        innermost = MapErrors()
        self.attempts = innermost.attempts
        yield innermost

    def _build_cache(self) -> Cache | None:
        settings, shared = self._settings, self._surroundings.shared
        if not settings.uses_cache():
            return None
        keep_s = settings.cache.ttl_s + settings.stale_s()
        in_redis = settings.cache.type == "redis" and shared is not None
        answers: Answers = SharedAnswers(shared, keep_s) if in_redis and shared is not None else MemoryAnswers(keep_s)
        return Cache(answers, settings.cache.ttl_s, settings.timeouts.of_answer()[1], self._configuration)

    def _reserve(self) -> Callable[[float], Awaitable[tuple[bool, float]]]:
        limit = self._settings.rate_limit
        shared = self._surroundings.shared if limit.scope == "redis" else None
        rate_per_s, burst = limit.per_second()
        share = limit.replicas if shared is not None else 1
        alone = RateLimiter(rate_per_s / share, max(1, burst // share), time.monotonic)

        async def reserve(max_wait_s: float) -> tuple[bool, float]:
            if shared is not None:
                turn = await shared.reserve(
                    f"rate:{self.provider}", rate_per_s=rate_per_s, burst=burst, max_wait_s=max_wait_s
                )
                if turn is not None:
                    return turn
            return alone.reserve(max_wait_s)

        return reserve

    def _admission(self) -> Admission | None:
        breaker, shared = self._settings.breaker, self._surroundings.shared
        if breaker.scope == "process" or shared is None:
            return None
        from .shared import SharedAdmission  # noqa: PLC0415 - only with something to share

        return SharedAdmission(shared, breaker.probes, self._settings.timeouts)


def _breaker_limits(settings: Resilience) -> BreakerLimits:
    breaker, timeouts = settings.breaker, settings.timeouts
    attempt_s = timeouts.of_answer()[0]
    return BreakerLimits(
        ratio=breaker.ratio,
        minimum_calls=breaker.minimum_calls,
        window_s=breaker.window_s or max(_MIN_WINDOW_S, 2 * attempt_s),
        consecutive=breaker.consecutive,
        open_s=breaker.open_s,
        max_open_s=max(breaker.open_s, breaker.max_open_s),
        probes=breaker.probes,
        lease_s=max(timeouts.of_probe(control=control, stream=stream) for control in _BOTH for stream in _BOTH),
    )
