"""Limits of one provider: how many calls run at once, and how many begin in any stretch of time.

Nothing here calls a provider or sleeps; only waiting for a place in the bulkhead suspends.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Bulkhead:
    """Places for calls that run at once, and a bounded queue in front of them; first come, first served.

    A place that is given back stays in use while it passes to the first who waits, so nobody overtakes. A caller
    that is cancelled while it waits leaves the queue; one that is cancelled in the moment it is let in hands the
    place on.
    """

    def __init__(self, max_concurrent: int, max_queue: int) -> None:
        """Begin empty."""
        self._max_concurrent = max_concurrent
        self._max_queue = max_queue
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.in_use = 0

    @property
    def queued(self) -> int:
        """Return how many callers wait."""
        return len(self._waiters)

    def try_acquire(self) -> bool:
        """Take a free place without waiting."""
        if self.in_use < self._max_concurrent:
            self.in_use += 1
            return True
        return False

    def full(self) -> bool:
        """Tell whether the queue has no place either."""
        return len(self._waiters) >= self._max_queue

    async def wait(self) -> None:
        """Wait in the queue until a place is handed over.

        To be awaited in the moment in which `try_acquire` found no place and the queue was not `full`.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()
            else:
                with suppress(ValueError):  # gone already when a release came by in between
                    self._waiters.remove(waiter)
            raise

    def release(self) -> None:
        """Give a place back: to the first who waits, or to nobody."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.in_use -= 1


class RateLimiter:
    """At most `burst + rate_per_s x w` calls in any window of w seconds, in order of asking.

    Source: ITU-T I.371, generic cell rate algorithm (virtual scheduling).
    """

    def __init__(self, rate_per_s: float, burst: int, now: Callable[[], float]) -> None:
        """Begin with a full burst; `now` is a monotonic clock in seconds."""
        self._interval_s = 1 / rate_per_s
        self._tolerance_s = (burst - 1) * self._interval_s
        self._now = now
        self._next_at = now()

    def reserve(self, max_wait_s: float) -> tuple[bool, float]:
        """Take the next place.

        Returns:
            (True, seconds to wait before the call), or (False, seconds after which asking again can succeed) when
            the wait would be longer than `max_wait_s`; then no place is taken.
        """
        now = self._now()
        next_at = max(self._next_at, now)
        wait_s = max(0.0, next_at - self._tolerance_s - now)
        if wait_s > max_wait_s:
            return False, wait_s - max_wait_s
        self._next_at = next_at + self._interval_s
        return True, wait_s


class RetryBudget:
    """Tokens of one provider. Each retry takes some; success brings them back.

    With the defaults, a total outage costs at most 35 extra attempts and then none, while at a tenth of calls
    failing nearly every retry is still paid for. Source: the retry quota of the AWS SDKs' standard mode (capacity
    500), with dearer retries so that the bound holds without a separate circuit.
    """

    def __init__(self, capacity: int, cost: int, throttle_cost: int) -> None:
        """Begin full."""
        self._capacity = capacity
        self._cost = cost
        self._throttle_cost = throttle_cost
        self.tokens = capacity

    def acquire(self, *, throttled: bool) -> int | None:
        """Pay for one retry; return what it cost, or None when too few tokens are left."""
        cost = self._throttle_cost if throttled else self._cost
        if cost > self.tokens:
            return None
        self.tokens -= cost
        return cost

    def refund(self, cost: int) -> None:
        """Give back what the retries of a call cost that succeeded in the end."""
        self.tokens = min(self._capacity, self.tokens + cost)

    def first_success(self) -> None:
        """Earn one token for a call that needed no retry."""
        if self.tokens < self._capacity:
            self.tokens += 1
