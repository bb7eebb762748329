"""Deadlines: the time for a whole call, for one attempt, and for everything that waits in between."""

import asyncio
import math
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from ..contracts.context import current, current_or_none, entered
from ..contracts.errors import AdapterDeadlineError, AdapterTimeoutError
from .settings import Timeouts

if TYPE_CHECKING:
    from .pipeline import Call, Proceed


class Deadline:
    """Sets the deadline of the whole call: the nearest of the caller's, the parent's and the configured total.

    Every step below that waits bounds its waiting by it. With `strict` the rest of the chain is cut off as a whole:
    for middlewares that may wait without asking.
    """

    name = "deadline"

    def __init__(self, timeouts: Timeouts, *, strict: bool = False) -> None:
        """Take the totals from the settings."""
        self._answer_s = timeouts.of_answer()[1]
        self._control_s = timeouts.of_control()[1]
        self._stream_s = timeouts.of_stream()
        self._strict = strict

    async def __call__(self, call: "Call", proceed: "Proceed") -> Any:
        """Run the rest of the chain inside the deadline.

        Raises:
            AdapterDeadlineError: when the time ran out, before or during the call.
        """
        operation = call.operation
        total_s = self._control_s if operation.control else self._answer_s if call.pipe is None else self._stream_s
        context = current().shortened(total_s)
        if context.remaining_s() == 0.0:
            # Noticed before anything is sent.
            raise _passed(call, None)
        with entered(context):
            return await (within(call, proceed(call)) if self._strict else proceed(call))


class AttemptTimeout:
    """Bounds one attempt by its own limit and by the deadline, with one timer.

    Where pieces come, the limits hold for each of them.
    """

    name = "attempt_timeout"

    def __init__(self, timeouts: Timeouts) -> None:
        """Take the limits from the settings."""
        self._answer_s = timeouts.of_answer()[0]
        self._control_s = timeouts.of_control()[0]
        self._first_s = timeouts.stream_first_chunk_s
        self._idle_s = timeouts.stream_idle_s

    def __call__(self, call: "Call", proceed: "Proceed") -> Awaitable[Any]:
        """Run one attempt.

        Raises:
            AdapterTimeoutError: when the provider did not answer in the time of one attempt.
            AdapterDeadlineError: when the deadline of the whole call came first.
        """
        if call.pipe is not None:
            call.pipe.first_s, call.pipe.idle_s = self._first_s, self._idle_s
            return proceed(call)
        return within(call, proceed(call), self._control_s if call.operation.control else self._answer_s)


async def within[T](call: "Call", step: Awaitable[T], limit_s: float = math.inf) -> T:
    """Wait for a step until its limit or the deadline, whichever comes first.

    Raises:
        AdapterTimeoutError: when the limit came first.
        AdapterDeadlineError: when the deadline came first.
    """
    context = current_or_none()
    deadline = None if context is None else context.deadline
    limit = time.monotonic() + limit_s
    if deadline is not None and deadline <= limit:
        limit = deadline
    timer = asyncio.timeout_at(None if limit == math.inf else limit)
    try:
        async with timer:
            return await step
    except TimeoutError as cause:
        if not timer.expired():
            raise
        if limit == deadline:
            raise _passed(call, cause) from cause
        message = f"no answer in {limit_s:g} s"
        raise AdapterTimeoutError(message, adapter=call.provider, operation=call.operation.name, cause=cause) from cause


def _passed(call: "Call", cause: TimeoutError | None) -> AdapterDeadlineError:
    return AdapterDeadlineError(
        "the deadline passed", adapter=call.provider, operation=call.operation.name, cause=cause
    )
