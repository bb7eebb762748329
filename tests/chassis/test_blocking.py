"""The facade for callers without an event loop: threads in, answers out."""

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chassis.samples.features import WEATHER
from object_service.chassis.blocking import started
from object_service.chassis.config.section import ConfigurationError, Section
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import Context, current, entered
from object_service.chassis.contracts.errors import RequestError
from object_service.chassis.features import Feature
from object_service.chassis.runtime import Runtime

RUNTIME = Runtime((WEATHER,))


async def _context(container: Container) -> Context:
    del container
    return current()


def test_calls_come_from_any_thread() -> None:
    """They run side by side in the one event loop of the service."""
    together = asyncio.Barrier(20)

    async def meet(container: Container) -> int:
        del container
        await together.wait()
        return threading.get_ident()

    with started(RUNTIME) as service, ThreadPoolExecutor(20) as threads:
        idents = list(threads.map(lambda _: service.call(meet), range(20)))

    assert 1 == len(set(idents))
    assert threading.get_ident() not in idents


def test_the_context_goes_along() -> None:
    """Correlation and deadline are those of the caller."""
    context = Context("c-1", "key-1").shortened(5)
    with started(RUNTIME) as service, entered(context):
        assert context == service.call(_context)


def test_exceptions_pass_through() -> None:
    """Also those of the service itself."""

    async def refuse(container: Container) -> None:
        del container
        raise RequestError("No.")

    with started(RUNTIME) as service, pytest.raises(RequestError):
        service.call(refuse)


def test_everything_is_closed_at_the_end() -> None:
    """Leaving the block, also by an exception, stops the service and its thread."""
    notes: list[str] = []

    async def install(container: Container, settings: Settings) -> None:
        del settings

        async def close() -> None:
            notes.append("closed")

        container.on_close(close)

    before = threading.active_count()
    with pytest.raises(KeyError), started(Runtime((Feature(name="x", section=Section, install=install),))):
        raise KeyError

    assert (["closed"], before) == (notes, threading.active_count())


def test_an_interrupted_caller_cancels_its_work() -> None:
    """Ctrl-C in a script does not leave a call behind."""
    ended: list[str] = []

    async def hang(container: Container) -> None:
        del container
        interrupt.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    interrupt = threading.Event()

    def press() -> None:
        interrupt.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with started(RUNTIME) as service, pytest.raises(KeyboardInterrupt):
        service.call(hang)
    presser.join()

    assert ["ended"] == ended


def test_the_event_loop_does_not_wait_for_itself() -> None:
    """A call from inside is refused, where it would hang for ever."""
    with started(RUNTIME) as service:

        async def inside(container: Container) -> None:
            del container
            service.call(_context)

        with pytest.raises(RuntimeError, match="await the service instead"):
            service.call(inside)


def test_wrong_settings_are_reported_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere: all at once, before anything starts."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__PORT", "x")
    with pytest.raises(ConfigurationError), started(RUNTIME):
        pass


def test_a_start_that_fails_is_reported_to_the_caller() -> None:
    """The exception of the feature, in the caller's thread."""

    async def install(container: Container, settings: Settings) -> None:
        del container, settings
        raise OSError("nothing there")

    feature = Feature(name="x", section=Section, install=install)
    with pytest.raises(OSError, match="nothing there"), started(Runtime((feature,))):
        pass
