"""Steps: what every call passes whatever the settings are: log line, checks, translation of failures."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Any

from ..contracts.call import CallRecord, current_record
from ..contracts.errors import AdapterError, AdapterResponseError, AdapterTimeoutError, ServiceError
from .pipeline import Call, Proceed

_log = logging.getLogger(__name__)

CACHE = "cache"
"""What a line names as the fallback when a stale answer was used."""


class Log:
    """One line per call: what was called, how it ended, after how many attempts and how long."""

    name = "log"

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Log the outcome of the call and pass it on."""
        begun, record = time.monotonic(), current_record()
        before = 0 if record is None else record.attempts
        try:
            answer = await proceed(call)
        except ServiceError as error:
            level = logging.WARNING if isinstance(error, AdapterError) else logging.INFO
            reason = {"code": error.code, "error": str(error)}
            if error.__cause__ is not None:
                reason["cause"] = type(error.__cause__).__name__
            _log.log(level, "provider_call_failed", extra=_fields(call, begun, record, before) | reason)
            raise
        except asyncio.CancelledError:
            _log.info("provider_call_cancelled", extra=_fields(call, begun, record, before))
            raise
        # A job is polled many times: those lines would only bury the others.
        level = logging.DEBUG if call.operation.bound else logging.INFO
        if _log.isEnabledFor(level):
            _log.log(level, "provider_call_succeeded", extra=_fields(call, begun, record, before))
        return answer


def _fields(call: Call, begun: float, record: CallRecord | None, before: int) -> dict[str, object]:
    """Return what every line says; the attempts of a fallback are part of the call that fell back."""
    fields: dict[str, object] = {
        "provider": call.provider,
        "operation": call.operation.name,
        "attempts": 0 if record is None else record.attempts - before,
        "duration_ms": round((time.monotonic() - begun) * 1000, 3),
    }
    if record is not None and record.fallback_used and record.provider != call.provider:
        fields["fallback"] = record.provider or CACHE
    return fields


class Validate:
    """Refuses a request that no provider could serve, before anything is spent on it."""

    name = "validate"

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Check the arguments and pass the call on.

        Raises:
            RequestError: as the check of the operation says.
        """
        if call.operation.check_request is not None:
            call.operation.check_request(*call.args, **call.kwargs)
        return proceed(call)


class MapErrors:
    """Lets only the service's own errors out of an adapter, and only answers that can be right."""

    name = "map_errors"

    def __init__(self) -> None:
        """Count from zero how often the provider is really asked, by operation."""
        self.attempts: Counter[str] = Counter()

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Turn what an adapter did not translate into an unreadable answer.

        Raises:
            AdapterTimeoutError: for a time limit of the adapter's own.
            AdapterResponseError: for an answer that fails its check, and for any exception that is not the service's.
        """
        operation = call.operation
        self.attempts[operation.name] += 1
        try:
            answer = await proceed(call)
            if operation.check_answer is not None and call.pipe is None:
                _check(call, answer)
        except ServiceError:
            raise
        except (Exception, asyncio.CancelledError) as cause:
            if isinstance(cause, asyncio.CancelledError) and _is_cancelled():
                raise
            # A defect of the adapter: the one case in which its trace is worth a line.
            fields = {"provider": call.provider, "operation": operation.name}
            _log.exception("provider_raised_untranslated", extra=fields)
            message = f"untranslated {type(cause).__name__}"
            error = AdapterTimeoutError if isinstance(cause, TimeoutError) else AdapterResponseError
            raise error(message, adapter=call.provider, operation=operation.name, cause=cause) from cause
        return answer


def _is_cancelled() -> bool:
    """Tell a call that is to end from an adapter that let the end of a task of its own out."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _check(call: Call, answer: Any) -> None:
    check = call.operation.check_answer
    try:
        if check is not None:
            check(answer)
    except ValueError as error:
        # The text says what was expected; the answer itself stays out of it.
        raise AdapterResponseError(str(error), adapter=call.provider, operation=call.operation.name) from None
