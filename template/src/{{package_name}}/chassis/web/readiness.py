"""Readiness: whether everything that the service owns answers, asked once for all who want to know."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from ..container import Ping

PING_TIMEOUT_S = 2.0
"""How long all pings together may take; what has not answered by then has failed."""

_log = logging.getLogger(__name__)


class Readiness:
    """Asks everything that can be pinged; what it heard holds for a while, for healthy engines and for others."""

    def __init__(self, pings: Mapping[str, Ping], hold_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without having asked; `pings` may still grow."""
        self._pings = pings
        self._hold_s = hold_s
        self._clock = clock
        self._heard: dict[str, bool] = {}
        self._until: float | None = None
        self._asking: asyncio.Task[dict[str, bool]] | None = None
        self._open: dict[str, asyncio.Task[None]] = {}

    async def ask(self) -> dict[str, bool]:
        """Return by name whether each engine answers; probes at the same time share one question, which nobody ends."""
        if self._until is not None and self._clock() < self._until:
            return self._heard
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> dict[str, bool]:
        try:
            for name, ping in self._pings.items():
                # One that cannot be ended is not asked a second time beside the first.
                if name not in self._open or self._open[name].done():
                    self._open[name] = asyncio.create_task(_alive(ping))
            if self._open:
                await asyncio.wait(self._open.values(), timeout=PING_TIMEOUT_S)
            self._heard = {name: _heard(name, task) for name, task in self._open.items()}
            self._until = self._clock() + self._hold_s
            return self._heard
        finally:
            self._asking = None


async def _alive(ping: Ping) -> None:
    await ping()


def _heard(name: str, task: asyncio.Task[None]) -> bool:
    """Return whether a ping came back; probes ask every few seconds, so a failure is one line without a trace."""
    if not task.done():
        task.cancel()
        reason = f"TimeoutError: no answer within {PING_TIMEOUT_S:g} s"
    elif task.cancelled():
        reason = "CancelledError: it was ended"
    elif (error := task.exception()) is not None:
        reason = f"{type(error).__name__}: {error}"
    else:
        return True
    _log.warning("ping_failed", extra={"check": name, "error": reason})
    return False
