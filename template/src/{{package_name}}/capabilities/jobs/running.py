"""Running: what surrounds the code of a job while it runs, and what that code may call.

A job is begun again from its beginning after the process that ran it has ended; its completed steps are not: they
return what they returned before. Everything that must not happen twice belongs into a step.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ...chassis.contracts.errors import ServiceError, StorageUnavailableError
from .serializer import original


class Interrupted(BaseException):
    """The process stops and the job does not: it is begun again elsewhere. Not a cancellation."""


class Postponed(BaseException):
    """The job has nothing to do until a time, in seconds since 1970, and is begun again then."""

    def __init__(self, until: float) -> None:
        """Keep the time."""
        super().__init__(until)
        self.until = until


class Unrecorded(BaseException):
    """The database is away: no outcome of a step, which is called again when its job is begun again."""


@dataclass(slots=True, eq=False)
class Run:
    """One run of a job in this process; with `step`, its number, one attempt of a step of it."""

    id: str
    task: asyncio.Task[Any]
    is_cancelled: Callable[[str], Awaitable[bool]]
    step: int | None = None
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
        """Return the id of the next job that this one enqueues; the same ones when it is begun again.

        Those of a step have its number: when the step is not called again, the others count as before.
        """
        self.children += 1
        return f"{self.id}_{self.children}" if self.step is None else f"{self.id}_s{self.step}_{self.children}"

    async def leave(self) -> None:
        """End the code of a job that does not run here any more, in which it was found out."""
        if not (self.cancelled or self.interrupted):
            if await self.is_cancelled(self.id):
                self.cancel()
            else:
                self.interrupt()
            await asyncio.sleep(0)  # the task of the job is cancelled here
        raise Interrupted if self.interrupted else asyncio.CancelledError


RUN: ContextVar[Run | None] = ContextVar("run", default=None)


def between_steps() -> Run | None:
    """Return the run of the job that this is the code of, and not the code of one of its steps."""
    run = RUN.get()
    return None if run is None or run.step is not None else run


@asynccontextmanager
async def owned(run: Run) -> AsyncIterator[None]:
    """Turn what the engine says to a job that was cancelled elsewhere, or has another owner, into what code knows."""
    from dbos import error  # noqa: PLC0415 - only where jobs run

    try:
        yield
    except (error.DBOSWorkflowCancelledError, error.DBOSWorkflowConflictIDError):
        await run.leave()


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
    unless its error says that this is useless. Outside a job, and inside another step, it is an ordinary call. Where
    the database of the service is away, nothing is recorded.
    """
    run = between_steps()
    if run is None:
        return await function(*arguments)
    from dbos import DBOS, StepOptions, error  # noqa: PLC0415 - only where jobs run

    async def call() -> T:
        within = Run(run.id, run.task, run.is_cancelled, step=DBOS.step_id)
        return await _attempt(within, function(*arguments))

    options = StepOptions(
        name=name or function.__qualname__,
        retries_allowed=attempts > 1,
        max_attempts=attempts,
        interval_seconds=pause_s,
        should_retry=_useful,
        timeout_seconds=timeout_s,
    )
    try:
        async with owned(run):
            return await DBOS.run_step_async(options, call)
    except error.DBOSMaxStepRetriesExceeded as exhausted:
        raise original(exhausted) from exhausted
    except Unrecorded as outage:
        raise outage.__cause__ or outage from None


async def _attempt[T](run: Run, work: Awaitable[T]) -> T:
    token = RUN.set(run)
    try:
        return await work
    except StorageUnavailableError as away:
        raise Unrecorded from away
    finally:
        RUN.reset(token)


async def sleep(seconds: float) -> None:
    """Wait; a job that is begun again waits for what is left."""
    run = between_steps()
    if run is None:
        await asyncio.sleep(seconds)
        return
    from dbos import DBOS  # noqa: PLC0415 - only where jobs run

    async with owned(run):
        await DBOS.sleep_async(seconds)


async def rest(seconds: float) -> None:
    """Wait without holding a place in the queue, for pauses of minutes and more.

    The job ends here for now and is begun again when the time has come, wherever there is room; its completed steps are
    not repeated. Neither a restart nor a limit of attempts counts against it meanwhile.
    """
    if between_steps() is None:
        await asyncio.sleep(seconds)
        return
    until = await step(_after, seconds, name="rest")
    if time.time() < until:
        raise Postponed(until)


async def _after(seconds: float) -> float:
    return time.time() + seconds


def _useful(error: BaseException) -> bool:
    return not isinstance(error, ServiceError) or error.retryable
