"""Blocking: the service for callers without an event loop, such as scripts and synchronous frameworks."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from .container import Container
from .contracts.context import current, entered
from .runtime import Runtime


class Service:
    """A started service that runs in a thread of its own; may be used from any other thread."""

    def __init__(self, thread: threading.Thread, loop: asyncio.AbstractEventLoop, container: Container) -> None:
        """Take the thread, its event loop and what runs in it."""
        self._thread = thread
        self._loop = loop
        self._container = container

    def call[T](self, work: Callable[[Container], Awaitable[T]]) -> T:
        """Return what `work` returns; its exceptions pass through.

        The caller's context goes along: correlation id, idempotency key and deadline. A caller that is interrupted
        cancels the work.

        Raises:
            RuntimeError: in the event loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("the event loop cannot wait for itself: await the service instead")
        context = current()

        async def run() -> T:
            with entered(context):
                return await work(self._container)

        pending = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return pending.result()
        except BaseException:
            pending.cancel()
            raise


@contextmanager
def started(runtime: Runtime) -> Iterator[Service]:
    """Start a service, and stop it at the end of the block.

    Raises:
        ConfigurationError: with every problem of the settings.
    """
    settings = runtime.load()
    ready: Future[tuple[asyncio.AbstractEventLoop, Container, asyncio.Event]] = Future()

    async def serve() -> None:
        async with runtime.started(settings) as container:
            stop = asyncio.Event()
            ready.set_result((asyncio.get_running_loop(), container, stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="service")
    thread.start()
    try:
        loop, container, stop = ready.result()
        try:
            yield Service(thread, loop, container)
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join()
