"""Circuit breaker: stops calling a provider that fails, and finds out with few calls when it has recovered.

A state machine without I/O: nothing here waits or calls. States: closed (calls pass), open (calls are refused),
half-open (a few probes pass). The breaker knows every permit that still counts and forgets them all when it opens:
a slow success from before cannot close it, and a slow failure cannot open it again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

_BUCKETS = 10


class BreakerState(IntEnum):
    """The values of the metric `adapter_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When to open and how long to stay so; times in seconds.

    A failure opens it when it is the `consecutive`th in a row (0: never), or when of the last `window_s` at least
    `minimum_calls` calls have reported and `ratio` of them or more failed. The window moves on by tenths. It stays open
    for `open_s`, twice as long after each failed probe, at most `max_open_s` but never less than `open_s`. Half-open,
    it lets `probes` calls through at once and closes when as many have succeeded; a probe that has not reported after
    `lease_s` is lost: its place is free, and it has no say any more.
    """

    ratio: float
    minimum_calls: int
    window_s: float
    consecutive: int
    open_s: float
    max_open_s: float
    probes: int
    lease_s: float


class Permit:
    """Leave to make one call; handed back by exactly one of success, failure and release."""

    __slots__ = ("expires_at",)

    def __init__(self, expires_at: float | None = None) -> None:
        """`expires_at` marks a probe."""
        self.expires_at = expires_at

    @property
    def probes(self) -> bool:
        """Tell whether the call finds out if the provider is back."""
        return self.expires_at is not None


class Breaker:
    """The breaker of one operation of one provider."""

    def __init__(self, limits: BreakerLimits, now: Callable[[], float]) -> None:
        """Begin closed; `now` is a monotonic clock in seconds."""
        self._limits = limits
        self._now = now
        self._width_s = limits.window_s / _BUCKETS
        self._reopens_at: float | None = None
        self._open_s = limits.open_s
        self._probes: dict[Permit, float] = {}
        self._successes = 0
        self._consecutive = 0
        self._buckets: dict[int, list[int]] = {}
        self._bucket = [0, 0]
        self._bucket_ends_at = -math.inf
        self._shared = Permit()

    @property
    def state(self) -> BreakerState:
        """Return the state as of now."""
        if self._reopens_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._now() < self._reopens_at else BreakerState.HALF_OPEN

    def peek(self) -> float | None:
        """Return None if a call might pass, otherwise the seconds after which to ask again; takes nothing."""
        if self._reopens_at is None:
            return None
        now = self._now()
        if now < self._reopens_at:
            return self._reopens_at - now
        self._probes = {probe: expires_at for probe, expires_at in self._probes.items() if now < expires_at}
        if len(self._probes) + self._successes < self._limits.probes:
            return None
        # Every place is taken: the next one is free when a probe reports, at the latest when a lease ends.
        return min(self._limits.open_s, *(expires_at - now for expires_at in self._probes.values()))

    def acquire(self) -> Permit | float:
        """Return a permit, or the seconds after which to ask again."""
        if self._reopens_at is None:
            return self._shared
        refusal_s = self.peek()
        if refusal_s is not None:
            return refusal_s
        expires_at = self._now() + self._limits.lease_s
        probe = Permit(expires_at)
        self._probes[probe] = expires_at
        return probe

    def success(self, permit: Permit) -> None:
        """Report that the call of this permit succeeded."""
        if permit is self._shared:
            self._consecutive = 0
            self._current_bucket()[0] += 1
        elif self._take_back(permit):
            self._successes += 1
            if self._successes >= self._limits.probes:
                self._close()

    def failure(self, permit: Permit) -> None:
        """Report that the call of this permit failed through the provider."""
        if permit is self._shared:
            self._consecutive += 1
            self._current_bucket()[1] += 1
            if self._too_many():
                self._open(self._limits.open_s)
        elif self._take_back(permit):
            self._open(max(self._limits.open_s, min(self._open_s * 2, self._limits.max_open_s)))

    def release(self, permit: Permit) -> None:
        """Hand a permit back without a verdict: the call was cancelled, refused here, or the caller's fault."""
        self._take_back(permit)

    def _take_back(self, permit: Permit) -> bool:
        """Free the place of a probe; tell whether its report counts, which it does until its lease has ended."""
        expires_at = self._probes.pop(permit, None)
        return expires_at is not None and self._now() < expires_at

    def _too_many(self) -> bool:
        """Judge the row and the window, right after a failure was counted."""
        if 0 < self._limits.consecutive <= self._consecutive:
            return True
        failed = sum(failures for _, failures in self._buckets.values())
        calls = failed + sum(successes for successes, _ in self._buckets.values())
        # Divided, not multiplied: 7 / 100 is 0.07, but 0.07 * 100 is more than 7.
        return calls >= self._limits.minimum_calls and failed / calls >= self._limits.ratio

    def _current_bucket(self) -> list[int]:
        """Return [successes, failures] of the current slice of the window, which begins by forgetting old ones."""
        now = self._now()
        if now >= self._bucket_ends_at:
            index = int(now / self._width_s)
            self._bucket_ends_at = (index + 1) * self._width_s
            self._buckets = {old: kept for old, kept in self._buckets.items() if old > index - _BUCKETS}
            self._bucket = self._buckets.setdefault(index, [0, 0])  # there already if the quotient was rounded down
        return self._bucket

    def _open(self, open_s: float) -> None:
        self._open_s = open_s
        self._reopens_at = self._now() + open_s
        self._probes = {}
        self._successes = 0
        self._shared = Permit()  # for when it has closed again; no permit given out until now counts any more

    def _close(self) -> None:
        self._reopens_at = None
        self._consecutive = 0
        self._buckets = {}
        self._bucket_ends_at = -math.inf


class Breakers(dict[str, Breaker]):
    """The breakers of one provider by operation; each begins when its operation is first looked up."""

    def __init__(self, limits: BreakerLimits, now: Callable[[], float]) -> None:
        """Begin empty; see `Breaker`."""
        super().__init__()
        self._limits = limits
        self._now = now

    def __missing__(self, operation: str) -> Breaker:
        breaker = self[operation] = Breaker(self._limits, self._now)
        return breaker
