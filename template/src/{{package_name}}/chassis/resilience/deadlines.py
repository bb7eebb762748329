"""Deadlines: the time for a whole call, for one attempt, and for everything that waits in between."""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from ..contracts.context import CURRENT, current
from ..contracts.errors import AdapterDeadlineError, AdapterTimeoutError
from .settings import Timeouts

if TYPE_CHECKING:
    from .pipeline import Call, Proceed

# Where something is awaited, there is a task.
_current_task = cast("Callable[[], asyncio.Task[Any]]", asyncio.current_task)


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
        now = time.monotonic()
        context = current().until(now + total_s)
        if context.deadline is not None and context.deadline <= now:
            # Noticed before anything is sent.
            raise _passed(call)
        token = CURRENT.set(context)
        try:
            return await (within(call, proceed(call)) if self._strict else proceed(call))
        finally:
            CURRENT.reset(token)


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

    Does what `asyncio.timeout_at` does, without its object and its two coroutines: those are half of its cost, and
    this is on the way of every call.

    Raises:
        AdapterTimeoutError: when the limit came first.
        AdapterDeadlineError: when the deadline came first.
    """
    context = CURRENT.get()
    deadline = None if context is None else context.deadline
    limit = time.monotonic() + limit_s
    if deadline is not None and deadline < limit:
        limit = deadline
    elif limit == math.inf:
        return await step
    task = _current_task()
    cancelled_before = task.cancelling()
    fired: list[bool] = []
    # In an empty context: the loop keeps stopped timers for a while, and with them all that the call's one holds.
    timer = task.get_loop().call_at(limit, _fire, task, fired, context=contextvars.Context())
    try:
        answer = await step
    except BaseException as error:
        timer.cancel()
        # Not where somebody else has cancelled the task as well.
        if fired and task.uncancel() <= cancelled_before and isinstance(error, asyncio.CancelledError):
            raise (_passed(call) if limit == deadline else _too_slow(call, limit_s)) from TimeoutError()
        raise
    timer.cancel()
    if fired:
        task.uncancel()
    return answer


def _fire(task: "asyncio.Task[Any]", fired: list[bool]) -> None:
    fired.append(True)
    task.cancel()


def _too_slow(call: "Call", limit_s: float) -> AdapterTimeoutError:
    return AdapterTimeoutError(f"no answer in {limit_s:g} s", adapter=call.provider, operation=call.operation.name)


def _passed(call: "Call") -> AdapterDeadlineError:
    return AdapterDeadlineError("the deadline passed", adapter=call.provider, operation=call.operation.name)
