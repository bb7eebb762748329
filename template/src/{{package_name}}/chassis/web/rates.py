"""Rates: how often each caller may come, counted in this process or with others through Redis."""

import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .settings import LimitsSection, Rate

if TYPE_CHECKING:
    from ..resilience.shared import SharedState


_log = logging.getLogger(__name__)


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
    """Whoever shows wrong credentials too often waits with the next ones; right ones are never counted.

    Counted by address. Another process that shares the limit learns of a blocked address with the next wrong attempt;
    in this one, attempts of a blocked address ask nobody.
    """

    def __init__(self, limit: CallerLimit, max_callers: int, now: Callable[[], float]) -> None:
        """Begin with nobody blocked."""
        self.limit = limit
        self._max_callers = max_callers
        self._now = now
        self._blocks: dict[str, tuple[float, Decision]] = {}
        """When each address was blocked, and how. They are kept until its quota is whole, so that it is told once."""

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._blocks)

    async def wrong(self, address: str) -> Decision | None:
        """Note that what was shown at an address identifies nobody; return its block, None as long as it has none."""
        blocked = self._blocked(address)
        if blocked is not None:
            return blocked
        decision = await self.limit.take(address)
        if decision.allowed:
            return None
        told = self._blocks.pop(address, None) is not None
        self._blocks[address] = self._now(), decision
        if len(self._blocks) > self._max_callers:
            del self._blocks[next(iter(self._blocks))]
        if not told:
            _log.warning("address_blocked", extra={"address": address, "blocked_s": math.ceil(decision.wait_s)})
        return decision

    def _blocked(self, address: str) -> Decision | None:
        begun, decision = self._blocks.get(address, (0.0, None))
        if decision is None:
            return None
        passed_s = self._now() - begun
        if passed_s >= decision.full_s:
            del self._blocks[address]
        left = Decision(False, decision.wait_s - passed_s, decision.full_s - passed_s)  # noqa: FBT003 - not allowed
        return left if left.wait_s > 0 else None


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
