"""Polling: a provider that works by itself is asked, or tells, until its job has ended."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .contracts.clock import Clock
from .contracts.errors import AdapterDeadlineError, AdapterError
from .contracts.work import Polled, PollOutcome


@dataclass(frozen=True, slots=True)
class Poller:
    """Pauses start at `base_s`, grow by `factor` up to `max_s` and vary by `jitter` to both sides.

    The numbers are a choice: a short job is noticed within a second of its end, an hour of work costs few reads. Where
    the provider tells the end by itself, the pauses grow up to `told_max_s`, and no further: its word may be lost, or
    reach another process than the one that waits.
    """

    clock: Clock
    base_s: float = 0.5
    factor: float = 1.6
    max_s: float = 8.0
    told_max_s: float = 15.0
    jitter: float = 0.1
    random: Callable[[], float] = random.random

    async def __call__[S](
        self,
        read: Callable[[], Awaitable[S]],
        finished: Callable[[S], bool],
        *,
        timeout_s: float,
        told: asyncio.Future[S] | None = None,
    ) -> Polled[S]:
        """Read at once, then after each pause; the last pause is cut so that one read still fits in the time.

        A failure of `read` that may pass makes the pause at least as long as it asks for; the last one passes through
        when the time is over, or at once where it asks for more than is left and nobody will tell. Every other one
        passes through at once. So does cancellation. What `told` brings ends the wait.
        """
        if told is None:
            return await self._ask(read, finished, timeout_s, self.max_s, told=False)
        asking = asyncio.create_task(self._ask(read, finished, timeout_s, self.told_max_s, told=True))
        try:
            await asyncio.wait((asking, told), return_when=asyncio.FIRST_COMPLETED)
            return Polled(PollOutcome.FINISHED, told.result()) if told.done() else await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask[S](
        self,
        read: Callable[[], Awaitable[S]],
        finished: Callable[[S], bool],
        timeout_s: float,
        max_s: float,
        *,
        told: bool,
    ) -> Polled[S]:
        limit, pause_s, asked_s = self.clock.monotonic() + timeout_s, self.base_s, 0.0
        while True:
            result: Polled[S] | AdapterError
            try:
                result = Polled(PollOutcome.TIMED_OUT, await read())
            except AdapterError as error:
                if not _may_pass(error):
                    raise
                result, asked_s = error, error.retry_after_s or 0.0
            else:
                if finished(result.snapshot):
                    return Polled(PollOutcome.FINISHED, result.snapshot)
            left_s = limit - self.clock.monotonic()
            varied_s = pause_s * (1 + self.jitter * (2 * self.random() - 1))
            if left_s > 0 and (told or asked_s <= left_s):
                await self.clock.sleep(min(max(varied_s, asked_s), left_s))
            if left_s <= 0 or asked_s > left_s:
                if isinstance(result, AdapterError):
                    raise result
                return result
            pause_s, asked_s = min(pause_s * self.factor, max_s), 0.0


def _may_pass(error: AdapterError) -> bool:
    """Tell whether the next read may succeed: the time of one call is not that of the whole job."""
    return error.retryable or isinstance(error, AdapterDeadlineError)
