"""Settings of the pipeline of one provider: one group of fields per strategy; `type` none switches a strategy off.

A single field never makes start-up fail: what is left unset follows from what is set.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, override

from pydantic import BeforeValidator, Field

from ..config.section import Contradiction, Environment, Section

_STALE_TTLS = 10
_OFF = "none switches it off."


def _selecting(type_: str, *fields: str) -> Callable[[Any], Any]:
    """Return what states the type of a strategy where only fields of that type are stated."""

    def select(values: Any) -> Any:
        stated = isinstance(values, Mapping) and "type" not in values and any(field in values for field in fields)
        return {**values, "type": type_} if stated else values

    return select


_REPORT_S = 1.0
"""How long a probe may take to report, beyond its limit."""


class Timeouts(Section):
    """How long calls may take, in seconds; totals include retries, pauses and queues."""

    attempt_s: float = Field(default=60, gt=0, description="Longest time for one attempt.")
    total_s: float | None = Field(default=None, gt=0, description="Longest time for a call; unset: 2 x attempt_s.")
    connect_s: float = Field(default=5, gt=0, description="Longest time to open a connection.")
    stream_first_chunk_s: float = Field(default=60, gt=0, description="Longest time to the first piece of a stream.")
    stream_idle_s: float = Field(default=60, gt=0, description="Longest time between two pieces of a stream.")
    stream_total_s: float | None = Field(
        default=None, gt=0, description="Longest time for a stream; unset: 10 x stream_idle_s."
    )
    control_attempt_s: float = Field(
        default=10, gt=0, description="Longest time for one attempt to submit, poll or cancel long work."
    )
    control_total_s: float | None = Field(
        default=None, gt=0, description="Longest time to submit, poll or cancel; unset: 3 x control_attempt_s."
    )
    job_s: float = Field(default=3600, gt=0, description="Longest time that long work may take.")

    def of_answer(self) -> tuple[float, float]:
        """Return the seconds for one attempt and for the whole of an ordinary call."""
        return self.attempt_s, self.total_s or 2 * self.attempt_s

    def of_control(self) -> tuple[float, float]:
        """Return the seconds for one attempt and for the whole of a call that steers long work."""
        return self.control_attempt_s, self.control_total_s or 3 * self.control_attempt_s

    def of_probe(self, *, control: bool, stream: bool) -> float:
        """Return the seconds after which a probe that has told nothing is lost: its limit, and time to report."""
        if stream:
            return self.stream_first_chunk_s + _REPORT_S
        return (self.control_attempt_s if control else self.attempt_s) + _REPORT_S

    def of_stream(self) -> float:
        """Return the seconds for a whole stream."""
        return self.stream_total_s or 10 * self.stream_idle_s

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        totals = {
            "attempt_s": ("total_s", self.total_s),
            "control_attempt_s": ("control_total_s", self.control_total_s),
            "stream_first_chunk_s": ("stream_total_s", self.stream_total_s),
            "stream_idle_s": ("stream_total_s", self.stream_total_s),
        }
        for field, (name, total_s) in totals.items():
            if field in self.model_fields_set and total_s is not None and getattr(self, field) > total_s:
                yield Contradiction((field,), f"at most {name} ({total_s:g})")


class Retry(Section):
    """When a failed attempt is repeated: after a random pause that may grow with every attempt.

    A kind whose vendor knows no idempotency keys states it in a subclass: there a key makes no repeat safe.
    """

    keys_count: ClassVar[bool] = True

    type: Literal["exponential", "none"] = Field(default="exponential", description=f"Kind of pauses; {_OFF}")
    attempts: int = Field(default=3, ge=1, le=10, description="Attempts at most, the first one included.")
    base_s: float = Field(default=0.1, ge=0, description="Longest first pause, in seconds; doubles every time.")
    cap_s: float = Field(default=5, ge=0, description="Longest pause, in seconds.")
    max_retry_after_s: float = Field(
        default=30,
        ge=0,
        description="Longest pause that a provider may ask for, in seconds; longer ones end the call.",
    )


class Budget(Section):
    """What bounds the load of retries while a provider fails; tokens of one provider."""

    type: Literal["token_bucket", "none"] = Field(default="token_bucket", description=f"Kind of bound; {_OFF}")
    capacity: int = Field(default=500, ge=1, description="Tokens at most, and at the start.")
    cost: int = Field(default=14, ge=0, description="Tokens that a retry takes.")
    throttle_cost: int = Field(default=5, ge=0, description="Tokens that a retry takes after the provider throttled.")


class CircuitBreaker(Section):
    """When an operation of a provider that fails is not called for a while."""

    type: Literal["failure_ratio", "none"] = Field(default="failure_ratio", description=f"Kind of breaker; {_OFF}")
    ratio: float = Field(default=0.5, gt=0, le=1, description="Share of failed calls in the window that opens it.")
    minimum_calls: int = Field(default=20, ge=1, description="Calls in the window before the share counts.")
    window_s: float | None = Field(
        default=None, ge=0.1, description="Length of the window, in seconds; unset: 2 x the attempt limit, at least 30."
    )
    consecutive: int = Field(default=5, ge=0, description="Failures in a row that open it; 0: they do not.")
    open_s: float = Field(default=5, gt=0, description="How long it stays open, in seconds; doubles when probes fail.")
    max_open_s: float = Field(default=60, gt=0, description="Longest time that it stays open, in seconds.")
    probes: int = Field(default=1, ge=1, description="Calls that test at once whether the provider is back.")
    scope: Literal["process", "redis"] = Field(default="process", description="Who shares the probes.")


class BulkheadLimits(Section):
    """How many calls run at once, and how many wait."""

    type: Literal["semaphore", "none"] = Field(default="semaphore", description=f"Kind of limit; {_OFF}")
    max_concurrent: int = Field(default=50, ge=1, description="Calls that run at once.")
    max_queue: int = Field(default=100, ge=0, description="Calls that wait for a place; more are refused.")


class RateLimit(Section):
    """How many attempts begin in any stretch of time; off until a rate is set."""

    type: Literal["none", "gcra"] = Field(default="none", description="Kind of limit; a rate or a burst selects gcra.")
    rate_per_s: float | None = Field(default=None, gt=0, description="Attempts per second; unset: one burst a second.")
    burst: int | None = Field(default=None, ge=1, description="Attempts at once; unset: those of one second.")
    max_wait_s: float = Field(default=1, ge=0, description="Longest time to wait for a turn, in seconds.")
    scope: Literal["process", "redis"] = Field(default="process", description="Who shares the rate.")
    replicas: int = Field(default=1, ge=1, description="Processes that share the rate while Redis is away.")

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        if self.type == "gcra" and self.rate_per_s is None and self.burst is None:
            yield Contradiction(("rate_per_s",), "a number above 0 with the type gcra", "set it")

    def per_second(self) -> tuple[float, int]:
        """Return rate and burst; the one that is unset follows the other."""
        rate_per_s = self.rate_per_s or self.burst or 1
        return rate_per_s, self.burst or max(1, round(rate_per_s))


class CacheLimits(Section):
    """Which answers are kept and used again; off until a field is set."""

    type: Literal["none", "memory", "redis"] = Field(
        default="none", description="Where answers are kept; another field selects memory."
    )
    ttl_s: float = Field(default=60, gt=0, description="How long an answer is used, in seconds.")
    stale_if_error_s: float = Field(
        default=0, ge=0, description="How much longer an answer stands in for one that failed, in seconds."
    )


class Fallback(Section):
    """What answers when the provider does not; off until a name is set."""

    type: Literal["none", "provider", "stale"] = Field(
        default="none", description="Another provider, or the last answer of the cache; a name selects provider."
    )
    name: str | None = Field(default=None, min_length=1, description="Name of the other provider.")

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        if self.type == "provider" and self.name is None:
            yield Contradiction(("name",), "the name of a provider with the type provider", "set it")


class HttpPool(Section):
    """Connections to one provider."""

    max_connections: int = Field(default=100, ge=1, description="Open connections at most.")
    keepalive_s: float = Field(default=30, ge=0, description="How long an idle connection is kept, in seconds.")


class Resilience(Section):
    """Everything that guards the calls to one provider."""

    timeouts: Timeouts = Field(default=Timeouts(), description="Time limits.")
    retry: Retry = Field(default=Retry(), description="Repeated attempts.")
    budget: Budget = Field(default=Budget(), description="Load of retries.")
    breaker: CircuitBreaker = Field(default=CircuitBreaker(), description="Circuit breaker.")
    bulkhead: BulkheadLimits = Field(default=BulkheadLimits(), description="Calls at once.")
    rate_limit: Annotated[RateLimit, BeforeValidator(_selecting("gcra", "rate_per_s", "burst"))] = Field(
        default=RateLimit(), description="Attempts per second."
    )
    cache: Annotated[CacheLimits, BeforeValidator(_selecting("memory", "ttl_s", "stale_if_error_s"))] = Field(
        default=CacheLimits(), description="Kept answers."
    )
    fallback: Annotated[Fallback, BeforeValidator(_selecting("provider", "name"))] = Field(
        default=Fallback(), description="Answers from elsewhere."
    )
    http: HttpPool = Field(default=HttpPool(), description="Connection pool.")
    middlewares: tuple[str, ...] = Field(default=(), description="Your own middlewares, in this order.")

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        most, pool = self.bulkhead, self.http
        given = "max_concurrent" in most.model_fields_set and "max_connections" in pool.model_fields_set
        if given and most.type != "none" and most.max_concurrent > pool.max_connections:
            expected = f"at most the connections of the pool ({pool.max_connections})"
            yield Contradiction(("bulkhead", "max_concurrent"), expected)

    def places(self) -> tuple[int, int]:
        """Return how many calls run at once, which the pool allows where only that is set, and how many wait."""
        most = self.bulkhead.max_concurrent
        if "max_connections" in self.http.model_fields_set and "max_concurrent" not in self.bulkhead.model_fields_set:
            most = min(most, self.http.max_connections)
        return most, self.bulkhead.max_queue

    def max_connections(self) -> int:
        """Return the connections of the pool: enough for the calls that run at once."""
        most = 0 if self.bulkhead.type == "none" else self.places()[0]
        return max(most, self.http.max_connections)

    def stale_s(self) -> float:
        """Return how much longer than its time an answer may stand in; ten times as long where that is not set."""
        follows = self.fallback.type == "stale" and "stale_if_error_s" not in self.cache.model_fields_set
        return _STALE_TTLS * self.cache.ttl_s if follows else self.cache.stale_if_error_s

    def uses_stale(self) -> bool:
        """Tell whether stale answers stand in for failures."""
        return self.stale_s() > 0

    def uses_cache(self) -> bool:
        """Tell whether answers are kept: because the settings say so, or because stale ones are asked for."""
        return self.cache.type != "none" or self.fallback.type == "stale"

    def in_redis(self) -> list[tuple[str, str]]:
        """Return the fields that have something shared over replicas."""
        fields = {
            ("breaker", "scope"): self.breaker.scope,
            ("rate_limit", "scope"): self.rate_limit.scope,
            ("cache", "type"): self.cache.type,
        }
        return [field for field, value in fields.items() if value == "redis"]
