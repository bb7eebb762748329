"""Polling: reads a job with growing pauses until it is finished or the time is over."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .contracts.clock import Clock
from .contracts.work import Polled, PollOutcome


@dataclass(frozen=True, slots=True)
class Poller:
    """Pauses start at `base_s`, grow by `factor` up to `max_s` and vary by `jitter` to both sides.

    Source: the object-service design record (0.5 s, times 1.6, at most 8 s, 10 % jitter).
    """

    clock: Clock
    base_s: float = 0.5
    factor: float = 1.6
    max_s: float = 8.0
    jitter: float = 0.1
    random: Callable[[], float] = random.random

    async def __call__[S](
        self, read: Callable[[], Awaitable[S]], finished: Callable[[S], bool], *, timeout_s: float
    ) -> Polled[S]:
        """Read at once, then after each pause; the last pause is cut so that one read still fits in the time.

        Errors of `read` pass through; cancellation ends the wait at once.
        """
        limit = self.clock.monotonic() + timeout_s
        pause_s = self.base_s
        while True:
            snapshot = await read()
            if finished(snapshot):
                return Polled(PollOutcome.FINISHED, snapshot)
            left_s = limit - self.clock.monotonic()
            if left_s <= 0:
                return Polled(PollOutcome.TIMED_OUT, snapshot)
            varied_s = pause_s * (1 + self.jitter * (2 * self.random() - 1))
            await self.clock.sleep(min(varied_s, left_s))
            pause_s = min(pause_s * self.factor, self.max_s)
