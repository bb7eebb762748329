"""Rates: how often each caller may come, counted in this process or with others through Redis."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .settings import LimitsSection, Rate

if TYPE_CHECKING:
    from ..resilience.shared import SharedState


class Decision(NamedTuple):
    """Whether a request may come, and what of the quota is left after it."""

    allowed: bool
    wait_s: float
    """Until the next request may come, when this one may not."""
    full_s: float
    """Until the whole quota is back."""


class Buckets:
    """The rates of many callers in this process, at most `max_callers`; whoever was not seen longest is forgotten.

    Source: ITU-T I.371, generic cell rate algorithm (virtual scheduling), as in `resilience.limits.RateLimiter`.
    """

    def __init__(self, rate_per_s: float, burst: int, max_callers: int, now: Callable[[], float]) -> None:
        """Begin with a full burst for everybody; `now` is a monotonic clock in seconds."""
        self._interval_s = 1 / rate_per_s
        self._tolerance_s = (burst - 1) * self._interval_s
        self._max_callers = max_callers
        self._now = now
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._full_at)

    def take(self, key: str) -> Decision:
        """Count one request of a caller, if it may come."""
        now = self._now()
        full_at = max(self._full_at.pop(key, now), now)
        wait_s = full_at - self._tolerance_s - now
        if wait_s <= 0:
            full_at += self._interval_s
        self._full_at[key] = full_at
        self._forget(now)
        return Decision(wait_s <= 0, max(0.0, wait_s), full_at - now)

    def _forget(self, now: float) -> None:
        # Two steps for each new caller: those whose quota is whole again go faster than others come.
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_callers:
                return
            del self._full_at[oldest]
            if not self._full_at:
                return


class CallerLimit:
    """One limit for each caller, and what is said about it in headers.

    Source: draft-ietf-httpapi-ratelimit-headers-10; `w` is the time in which the whole quota comes back.
    """

    def __init__(
        self, name: str, rate: Rate, section: LimitsSection, shared: "SharedState | None", now: Callable[[], float]
    ) -> None:
        """Take the limit; with Redis away, each of `replicas` processes lets its part through."""
        parts = section.replicas if shared else 1
        self.name = name
        self._rate = rate
        self._shared = shared
        self._own = Buckets(rate.rate_per_s / parts, max(1, rate.size // parts), section.max_callers, now)
        self._policy = f'"{name}";q={rate.size};w={math.ceil(rate.size / rate.rate_per_s)}'.encode()

    async def take(self, key: str) -> Decision:
        """Count one request of a caller, if it may come."""
        if self._shared is not None:
            name = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
            taken = await self._shared.take(
                f"{self.name}:{name}", rate_per_s=self._rate.rate_per_s, burst=self._rate.size
            )
            if taken is not None:
                return Decision(*taken)
        return self._own.take(key)

    def headers(self, decision: Decision) -> list[tuple[bytes, bytes]]:
        """Return what a caller may know: the quota, what is left of it, and when it is whole."""
        left = math.floor(self._rate.size - decision.full_s * self._rate.rate_per_s + 1e-6)
        state = f'"{self.name}";r={max(0, left)};t={math.ceil(decision.full_s)}'
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", state.encode())]


class Failures:
    """Whoever shows wrong credentials too often is not looked at for a while; those that were right lately still are.

    Counted by address, so that guessing ends, while others who share the address notice nothing. A good caller costs no
    question to Redis; another process that shares the limit learns of a blocked address with the next wrong attempt.
    """

    def __init__(self, limit: CallerLimit, max_callers: int, now: Callable[[], float]) -> None:
        """Begin with nobody blocked."""
        self._limit = limit
        self._max_callers = max_callers
        self._now = now
        self._until: dict[str, float] = {}
        self._right: dict[str, None] = {}

    def blocked_s(self, address: str, shown: str) -> float:
        """Return for how long what is shown at an address is not looked at; 0 when it is."""
        until = self._until.get(address)
        if until is None or shown in self._right:
            return 0.0
        left_s = until - self._now()
        if left_s <= 0:
            del self._until[address]
        return max(0.0, left_s)

    def right(self, shown: str) -> None:
        """Note that what was shown identifies somebody."""
        self._right.pop(shown, None)
        self._right[shown] = None
        if len(self._right) > self._max_callers:
            del self._right[next(iter(self._right))]

    async def wrong(self, address: str, shown: str) -> None:
        """Note that what was shown does not hold, or not any more."""
        self._right.pop(shown, None)
        decision = await self._limit.take(address)
        if not decision.allowed:
            self._until[address] = self._now() + decision.wait_s
            if len(self._until) > self._max_callers:
                del self._until[next(iter(self._until))]


class CallerLimits:
    """The limits of this service for its callers; None where there is none."""

    def __init__(
        self,
        section: LimitsSection,
        shared: "SharedState | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the settings, what replicas share if they do, and a monotonic clock."""

        def limit(name: str, rate: Rate) -> CallerLimit | None:
            return CallerLimit(name, rate, section, shared, now) if rate.rate_per_s else None

        self.address = limit("address", section.address)
        self.principal = limit("principal", section.principal)
        failures = limit("failures", section.failures)
        self.failures = Failures(failures, section.max_callers, now) if failures else None
