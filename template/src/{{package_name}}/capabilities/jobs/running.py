"""Running: what surrounds the code of a job while it runs, and what that code may call.

A job is begun again from its beginning after the process that ran it has ended; its completed steps are not: they
return what they returned before. Everything that must not happen twice belongs into a step.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ...chassis.contracts.errors import ServiceError
from .serializer import original


class Interrupted(BaseException):
    """The process stops and the job does not: it is begun again elsewhere. Not a cancellation."""


class Postponed(BaseException):
    """The job has nothing to do until a time, in seconds since 1970, and is begun again then."""

    def __init__(self, until: float) -> None:
        """Keep the time."""
        super().__init__(until)
        self.until = until


@dataclass(slots=True, eq=False)
class Run:
    """One run of a job in this process."""

    id: str
    task: asyncio.Task[Any]
    children: int = 0
    cancelled: bool = False
    interrupted: bool = False

    def cancel(self) -> None:
        """Have the code of the job see a cancellation."""
        self.cancelled = True
        self.task.cancel()

    def interrupt(self) -> None:
        """End the code of the job where it stands, without telling it that it was cancelled."""
        self.interrupted = True
        self.task.cancel()

    def child_id(self) -> str:
        """Return the id of the next job that this one enqueues; the same ones when it is begun again."""
        self.children += 1
        return f"{self.id}_{self.children}"


RUN: ContextVar[Run | None] = ContextVar("run", default=None)


class Body[T]:
    """The code of a job, awaited; an interruption reaches it as `Interrupted` instead of as a cancellation."""

    def __init__(self, work: Awaitable[T], run: Run) -> None:
        """Take the code, which has not begun."""
        self._work = work
        self._run = run

    def __await__(self) -> Generator[Any, Any, T]:
        """Pass everything through but the cancellation of an interrupted run."""
        code = self._work.__await__()
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                awaited = code.send(sent) if thrown is None else code.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            sent, thrown = None, None
            try:
                sent = yield awaited
            except asyncio.CancelledError as error:
                thrown = Interrupted() if self._run.interrupted else error
            except BaseException as error:  # noqa: BLE001 - it is passed on
                thrown = error


async def step[T](
    function: Callable[..., Awaitable[T]],
    *arguments: Any,
    name: str | None = None,
    attempts: int = 1,
    pause_s: float = 1.0,
    timeout_s: float | None = None,
) -> T:
    """Call a coroutine function once: a job that is begun again gets the recorded result, or the recorded error.

    The result is plain JSON. A failed step is tried again up to `attempts` times, after a pause that doubles each time,
    unless its error says that this is useless. Outside a job it is an ordinary call.
    """
    if RUN.get() is None:
        return await function(*arguments)
    from dbos import DBOS, StepOptions, error  # noqa: PLC0415 - only where jobs run

    async def call() -> T:
        return await function(*arguments)

    options = StepOptions(
        name=name or function.__qualname__,
        retries_allowed=attempts > 1,
        max_attempts=attempts,
        interval_seconds=pause_s,
        should_retry=_useful,
        timeout_seconds=timeout_s,
    )
    try:
        return await DBOS.run_step_async(options, call)
    except error.DBOSMaxStepRetriesExceeded as exhausted:
        raise original(exhausted) from exhausted


async def sleep(seconds: float) -> None:
    """Wait; a job that is begun again waits for what is left."""
    if RUN.get() is None:
        await asyncio.sleep(seconds)
        return
    from dbos import DBOS  # noqa: PLC0415 - only where jobs run

    await DBOS.sleep_async(seconds)


async def rest(seconds: float) -> None:
    """Wait without holding a place in the queue, for pauses of minutes and more.

    The job ends here for now and is begun again when the time has come, wherever there is room; its completed steps are
    not repeated. Neither a restart nor a limit of attempts counts against it meanwhile.
    """
    if RUN.get() is None:
        await asyncio.sleep(seconds)
        return
    until = await step(_after, seconds, name="rest")
    if time.time() < until:
        raise Postponed(until)


async def _after(seconds: float) -> float:
    return time.time() + seconds


def _useful(error: BaseException) -> bool:
    return not isinstance(error, ServiceError) or error.retryable
