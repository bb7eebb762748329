"""Concurrency: the one bridge from the event loop to code that blocks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from .contracts.call import HELD


class BlockingBridge:
    """Runs blocking functions in threads of its own, at most `max_threads` at a time; others wait in order.

    A cancelled caller is let go at once. What has not begun is dropped then; a thread that runs cannot be stopped,
    so its place, here and in the bulkhead of the provider, is free again only when it has ended.
    """

    def __init__(self, max_threads: int) -> None:
        """Start no thread yet."""
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="blocking")

    async def run[T](self, function: Callable[[], T]) -> T:
        """Return what the function returns; its exceptions pass through."""
        thread = self._threads.submit(copy_context().run, function)
        held = HELD.get()
        if held is not None:
            held.append(thread)
        return await asyncio.wrap_future(thread)

    async def aclose(self) -> None:
        """Drop what has not begun, and wait until every thread has ended."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
