"""Streams: carries pieces from a pipeline, which runs in a task of its own, to the consumer.

The whole pipeline spans the stream, so permits, spans and deadline do as well. A consumer that is slow holds the
provider up; the time limits of the provider do not run meanwhile, the deadline does.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any

from ..contracts.errors import AdapterDeadlineError, AdapterStreamInterruptedError, AdapterTimeoutError, RequestError
from .deadlines import within

if TYPE_CHECKING:
    from .pipeline import Call

_NOTHING: Any = object()
_LEFT = 2
"""The consumer of a session asks twice: for the session, and for the end."""


def do_nothing() -> None:
    """Stand for a callback that nobody has set."""


class Pipe:
    """Room for one piece between a pipeline and its consumer.

    `started` tells whether a piece was handed over; from then on nothing can be repeated. The limits, in seconds,
    hold for the provider's first and for each further piece.
    """

    def __init__(self) -> None:
        """Begin empty and without limits."""
        self.started = False
        self.first_s = math.inf
        self.idle_s = math.inf
        self.on_start: Callable[[], None] = do_nothing
        self._piece = _NOTHING
        self._takes = 0
        self._changed: asyncio.Future[None] | None = None

    async def put(self, piece: Any) -> None:
        """Hand a piece over as soon as there is room."""
        while self._piece is not _NOTHING:
            await self._change()
        if not self.started:
            self.started = True
            self.on_start()
        self._piece = piece
        self.wake()

    async def take(self, task: asyncio.Future[Any]) -> Any:
        """Return the next piece, or the marker of the end; the exception of the task passes through."""
        self._takes += 1
        self.wake()
        while self._piece is _NOTHING:
            if task.done():
                task.result()
                return _NOTHING
            await self._change()
        piece, self._piece = self._piece, _NOTHING
        self.wake()
        return piece

    async def taken(self, count: int) -> None:
        """Wait until the consumer has asked so many times."""
        while self._takes < count:
            await self._change()

    def wake(self) -> None:
        """Have the side that waits look again."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _change(self) -> None:
        # The two sides never wait at the same time: one has a piece that the other has not.
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed


async def pieces(start: Callable[[Pipe], Awaitable[Any]]) -> AsyncGenerator[Any]:
    """Yield what a pipeline puts into its pipe; leaving early cancels the pipeline and waits for its end."""
    pipe = Pipe()

    async def run() -> None:
        await start(pipe)

    task = asyncio.create_task(run())
    task.add_done_callback(lambda _: pipe.wake())
    try:
        while (piece := await pipe.take(task)) is not _NOTHING:
            yield piece
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()


async def pump_stream(call: "Call", stream: AsyncIterator[Any], pipe: Pipe) -> None:
    """Carry every piece of a provider's stream into the pipe.

    Raises:
        AdapterTimeoutError: when the provider is silent for too long.
        AdapterDeadlineError: when the time of the whole stream is over.
        AdapterStreamInterruptedError: when it fails after a piece was handed over.
    """
    limit_s = pipe.first_s
    try:
        while (piece := await within(call, anext(stream, _NOTHING), limit_s)) is not _NOTHING:
            await within(call, pipe.put(piece))
            limit_s = pipe.idle_s
    except (AdapterTimeoutError, AdapterDeadlineError, RequestError):
        raise
    except Exception as error:
        if not pipe.started:
            raise
        raise AdapterStreamInterruptedError(
            f"broken off ({type(error).__name__})", adapter=call.provider, operation=call.operation.name, cause=error
        ) from error
    finally:
        await _close(stream)


async def _close(stream: AsyncIterator[Any]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


async def pump_session(call: "Call", session: AbstractAsyncContextManager[Any], pipe: Pipe) -> None:
    """Open a provider's session, hand it over, and close it when the consumer has left it.

    A consumer that leaves with an exception cancels: the provider's own exit sees `CancelledError`, and the exception
    itself stays with the consumer.
    """
    async with AsyncExitStack() as stack:
        await pipe.put(await within(call, stack.enter_async_context(session), pipe.first_s))
        await within(call, pipe.taken(_LEFT))
