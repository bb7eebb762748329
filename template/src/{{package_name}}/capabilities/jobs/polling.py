"""Polling: the time for a provider's job is counted from its first beginning, whatever becomes of the process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from ...chassis.contracts.clock import Clock
from ...chassis.contracts.json import timestamp
from ...chassis.contracts.work import Poll, Polled
from .running import step


@dataclass(frozen=True, slots=True)
class DurablePoll:
    """Asks as `poll` does. A job that is begun again asks at once, and has what is left of its time."""

    poll: Poll
    clock: Clock

    async def __call__[S](
        self,
        read: Callable[[], Awaitable[S]],
        finished: Callable[[S], bool],
        *,
        timeout_s: float,
        told: asyncio.Future[S] | None = None,
    ) -> Polled[S]:
        """Wait for `finished(await read())`, or for `told`; see `Poll`."""
        begun_at = datetime.fromisoformat(await step(self._now, name="polling_began"))
        passed_s = (self.clock.now() - begun_at).total_seconds()
        return await self.poll(read, finished, timeout_s=max(0.0, timeout_s - passed_s), told=told)

    async def _now(self) -> str:
        return timestamp(self.clock.now())
