"""Steps: the middlewares that every pipeline has, and their order."""

import asyncio
import logging
import time
from typing import Any

from ..contracts.context import current, entered
from ..contracts.errors import (
    AdapterDeadlineError,
    AdapterError,
    AdapterResponseError,
    AdapterTimeoutError,
    ServiceError,
)
from .pipeline import Call, Middleware, Pipeline, Proceed
from .settings import Resilience, Timeouts

_log = logging.getLogger(__name__)


class Log:
    """One line per call: what was called, how it ended, how long it took."""

    name = "log"

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Log the outcome of the call and pass it on."""
        begun = time.monotonic()
        try:
            answer = await proceed(call)
        except ServiceError as error:
            level = logging.WARNING if isinstance(error, AdapterError) else logging.INFO
            reason = {"code": error.code, "error": str(error)}
            if error.__cause__ is not None:
                reason["cause"] = type(error.__cause__).__name__
            _log.log(level, "provider_call_failed", extra=_fields(call, begun) | reason)
            raise
        # A job is polled many times: those lines would only bury the others.
        level = logging.DEBUG if call.operation.idempotent and call.operation.control else logging.INFO
        _log.log(level, "provider_call_succeeded", extra=_fields(call, begun))
        return answer


def _fields(call: Call, begun: float) -> dict[str, object]:
    return {
        "provider": call.provider,
        "operation": call.operation.name,
        "duration_ms": round((time.monotonic() - begun) * 1000, 3),
    }


class Deadline:
    """Bounds the whole call by the nearer of the caller's deadline and the configured total."""

    name = "deadline"

    def __init__(self, timeouts: Timeouts) -> None:
        """Take the totals from the settings."""
        self._timeouts = timeouts

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Run the rest of the chain inside the deadline.

        Raises:
            AdapterDeadlineError: when the time ran out, before or during the call.
        """
        total = self._timeouts.control_total_s if call.operation.control else self._timeouts.total_s
        context = current().shortened(total)
        if context.remaining_s() == 0.0:
            # Noticed before anything is sent.
            raise self._passed(call, None)
        try:
            with entered(context):
                async with asyncio.timeout_at(context.deadline):
                    return await proceed(call)
        except TimeoutError as cause:
            raise self._passed(call, cause) from cause

    def _passed(self, call: Call, cause: TimeoutError | None) -> AdapterDeadlineError:
        return AdapterDeadlineError(
            "the deadline passed", adapter=call.provider, operation=call.operation.name, cause=cause
        )


class MapErrors:
    """Lets only the service's own errors out of an adapter."""

    name = "map_errors"

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Turn what an adapter did not translate into an unreadable answer.

        Raises:
            AdapterTimeoutError: for a time limit of the adapter's own.
            AdapterResponseError: for any other exception that is not one of the service's.
        """
        try:
            return await proceed(call)
        except ServiceError:
            raise
        except Exception as cause:
            # A defect of the adapter: the one case in which its trace is worth a line.
            fields = {"provider": call.provider, "operation": call.operation.name}
            _log.exception("provider_raised_untranslated", extra=fields)
            message = f"untranslated {type(cause).__name__}"
            error = AdapterTimeoutError if isinstance(cause, TimeoutError) else AdapterResponseError
            raise error(message, adapter=call.provider, operation=call.operation.name, cause=cause) from cause


def build_pipeline(settings: Resilience) -> Pipeline:
    """Compose the steps in their fixed order, outermost first."""
    steps: list[Middleware] = [Log(), Deadline(settings.timeouts), MapErrors()]
    return Pipeline(steps)
