"""Providers behind a pipeline: ports whose every call is scripted."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from object_service.chassis.contracts.call import Operation
from object_service.chassis.contracts.errors import (
    AdapterConnectionError,
    AdapterError,
    AdapterInvalidRequestError,
    AdapterRateLimitedError,
    AdapterTimeoutError,
    AdapterUnavailableError,
    RequestState,
)
from object_service.chassis.resilience.assembly import Guards, Surroundings
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience

WHERE: dict[str, Any] = {"adapter": "mine", "operation": "ask"}
OPERATIONS = {
    "ask": Operation("ask", idempotent=False),
    "read": Operation("read", idempotent=True),
    "poll": Operation("poll", idempotent=True, control=True),
}


def down(**more: Any) -> AdapterError:
    """Return the failure of a provider that says it cannot serve."""
    return AdapterUnavailableError("HTTP 503", **WHERE, **more)


def unclear() -> AdapterError:
    """Return a failure after which nobody knows whether the request was served."""
    return AdapterConnectionError("reset", **WHERE, request_state=RequestState.UNKNOWN)


def refused() -> AdapterError:
    """Return the failure of a connection that did not come about."""
    return AdapterConnectionError("refused", **WHERE, request_state=RequestState.NOT_SENT)


def throttled(**more: Any) -> AdapterError:
    """Return the failure of a provider that asks for fewer calls."""
    return AdapterRateLimitedError("HTTP 429", **WHERE, **more)


def wrong() -> AdapterError:
    """Return the failure of a request that the provider does not take."""
    return AdapterInvalidRequestError("HTTP 400", **WHERE)


def slow() -> AdapterError:
    """Return the failure of a provider that did not answer in time."""
    return AdapterTimeoutError("no answer", **WHERE)


class Scripted:
    """A port that goes through `script` and stays at its last entry: raises errors, awaits gates, returns the rest."""

    def __init__(self, script: Sequence[Any] = ("fine",)) -> None:
        """Begin at the first entry."""
        self.script = script
        self.calls: list[tuple[Any, ...]] = []
        self.running = 0
        self.most = 0

    async def ask(self, *args: Any) -> Any:
        """Do what the script says."""
        entry = self.script[min(len(self.calls), len(self.script) - 1)]
        self.calls.append(args)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if isinstance(entry, Exception):
                raise entry
            return await entry() if callable(entry) else entry
        finally:
            self.running -= 1

    read = poll = ask


async def hang() -> None:
    """Never answer."""
    await asyncio.Event().wait()


class Pauses:
    """Pauses that take no time, and what they would have been."""

    def __init__(self, *, until_stop: int | None = None) -> None:
        """Begin running; the service stops during pause number `until_stop`."""
        self.seconds: list[float] = []
        self._until_stop = until_stop

    async def __call__(self, seconds: float) -> bool:
        """Note a pause."""
        self.seconds.append(seconds)
        return self._until_stop is None or len(self.seconds) < self._until_stop


def guarded(
    port: Any, settings: Resilience | None = None, surroundings: Surroundings | None = None, name: str = "mine"
) -> tuple[Any, Guards]:
    """Return a port behind its pipeline, and the pipeline's parts."""
    guards = Guards(name, settings or Resilience(), surroundings)
    return guard(port, guards.pipeline, OPERATIONS, provider=name, kind="scripted"), guards


def without(*strategies: str, **more: Any) -> Resilience:
    """Return settings with some strategies switched off and others given."""
    fields = {name: {"type": "none"} for name in strategies} | more
    return Resilience.model_validate(fields)


def pausing(pauses: Callable[[float], Any], **more: Any) -> Surroundings:
    """Return surroundings whose pauses are the given ones."""
    return replace(Surroundings(), pause=pauses, **more)
