"""Fallback: what answers when the chosen provider does not."""

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..contracts.call import CallRecord, current_record
from ..contracts.errors import AdapterDeadlineError, AdapterError, AdapterTimeoutError
from .cache import Cache
from .pipeline import Call, Pipeline, Proceed
from .retry import LOCAL
from .steps import CACHE

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """A provider that calls can be sent to: its port, and the pipeline in front of it."""

    provider: str
    kind: str
    port: object
    pipeline: Pipeline

    def run(self, call: Call) -> Awaitable[Any]:
        """Send a call that was meant for another provider."""
        method = getattr(self.port, call.operation.name)
        return self.pipeline.run(replace(call, provider=self.provider, kind=self.kind, method=method))


def replaceable(call: Call, error: AdapterError) -> bool:
    """Tell whether another answer may stand in: not for the caller's own fault, nor for work that is bound."""
    begun = call.pipe is not None and call.pipe.started
    passing = error.retryable or isinstance(error, (AdapterTimeoutError, *LOCAL))
    return passing and not begun and not call.operation.bound


class OtherProvider:
    """Asks another provider, through the pipeline of that one, in the time that is left."""

    name = "fallback"

    def __init__(self, other: str, routes: Mapping[str, Route]) -> None:
        """Take the other provider's name and where it will be found."""
        self._other = other
        self._routes = routes

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Return the first answer of the two; if both fail, the failure of the chosen one passes through."""
        try:
            return await proceed(call)
        except AdapterError as error:
            able = hasattr(self._routes[self._other].port, call.operation.name)
            if not able or isinstance(error, AdapterDeadlineError) or not replaceable(call, error):
                raise
            _announce(call, error, self._other)
            route, record = self._routes[self._other], current_record() or CallRecord()
            # Before the call: whoever reads a stream has the record in hand while it runs.
            before = (record.fallback_used, record.provider, record.kind)
            record.fallback_used, record.provider, record.kind = True, route.provider, route.kind
            try:
                return await route.run(call)
            except AdapterError:
                if call.pipe is not None and call.pipe.started:
                    raise  # what was handed over is the other one's, and so is its end
                record.fallback_used, record.provider, record.kind = before
                raise error from error.__cause__


class Stale:
    """Uses the last answer that the cache has, although its time is over."""

    name = "stale"

    def __init__(self, cache: Cache) -> None:
        """Take the cache of the provider."""
        self._cache = cache

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Return the answer, or a stale one instead of a failure."""
        try:
            return await proceed(call)
        except AdapterError as error:
            kept = await self._cache.kept(call) if replaceable(call, error) else None
            if kept is None:
                raise
            _announce(call, error, CACHE)
            record = current_record()
            if record is not None:
                record.fallback_used = True
            return kept.answer


def _announce(call: Call, error: AdapterError, other: str) -> None:
    fields = {"provider": call.provider, "operation": call.operation.name, "code": error.code, "fallback": other}
    _log.warning("provider_call_fell_back", extra=fields)
