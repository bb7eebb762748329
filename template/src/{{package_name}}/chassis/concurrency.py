"""Concurrency: the one bridge from the event loop to code that blocks."""

import asyncio
from collections.abc import Callable

import anyio
import anyio.to_thread


class BlockingBridge:
    """Runs blocking functions in threads, at most `max_threads` at a time.

    A cancelled caller is let go at once. Its thread cannot be stopped, so the permit comes back only when the
    thread ends.
    """

    def __init__(self, max_threads: int) -> None:
        """Give this bridge a limit of its own."""
        self._limiter = anyio.CapacityLimiter(max_threads)
        self._running: set[asyncio.Task[object]] = set()

    async def run[T](self, function: Callable[[], T]) -> T:
        """Return what the function returns; its exceptions pass through."""
        task = asyncio.create_task(anyio.to_thread.run_sync(function, limiter=self._limiter))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was let go does not come back for it

    async def aclose(self) -> None:
        """Wait until every thread has ended."""
        await asyncio.gather(*self._running, return_exceptions=True)
