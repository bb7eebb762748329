"""Container: the instances of a running service, by type, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self


class Stopping:
    """Tells whoever waits that the service is about to stop."""

    def __init__(self) -> None:
        """Begin running."""
        self._event = asyncio.Event()
        self.announced = False

    def announce(self) -> None:
        """Tell that the end is near: everything goes on, but whoever sends requests should look elsewhere."""
        self.announced = True

    def begin(self) -> None:
        """Wake everybody; from any thread that runs the event loop."""
        self.announce()
        self._event.set()

    @property
    def begun(self) -> bool:
        """Tell whether the service is about to stop."""
        return self._event.is_set()

    async def pause(self, seconds: float) -> bool:
        """Wait; return False as soon as the service is about to stop."""
        if self._event.is_set():
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return True
        return False


type Ping = Callable[[], Awaitable[None]]


class Container:
    """Holds one instance per type. Everything is built at start, and closed in reverse order at the end.

    `serving` tells whether the process stays to serve; a command makes one call.
    """

    def __init__(self, *, serving: bool = False) -> None:
        """Begin empty."""
        self.serving = serving
        self._instances: dict[type[Any], object] = {}
        self._closing = AsyncExitStack()
        self.pings: dict[str, Ping] = {}
        self.stopping = Stopping()

    def provide[T](self, type_: type[T], instance: T) -> T:
        """Offer an instance under its type and return it.

        Raises:
            ValueError: if the type is provided already.
        """
        if type_ in self._instances:
            message = f"{type_.__name__} is provided twice"
            raise ValueError(message)
        self._instances[type_] = instance
        return instance

    def __getitem__[T](self, type_: type[T]) -> T:
        """Return the instance of a type.

        Raises:
            UnknownTypeError: if nothing provides it.
        """
        instance = self._instances.get(type_)
        if not isinstance(instance, type_):
            message = f"nothing provides {type_.__name__}; provide it in the install function of a feature"
            raise UnknownTypeError(message)
        return instance

    def __contains__(self, type_: object) -> bool:
        """Tell whether an instance of the type is provided."""
        return type_ in self._instances

    def on_close(self, close: Callable[[], Awaitable[object]]) -> None:
        """Have `close` awaited at the end, before everything that was registered earlier."""
        self._closing.push_async_callback(close)

    def add_ping(self, name: str, ping: Ping) -> None:
        """Have `ping` asked by `/readyz`; it raises when the thing it asks does not answer."""
        self.pings[name] = ping

    async def __aenter__(self) -> Self:
        """Open the container."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything; one failing close does not keep the others from closing."""
        await self._closing.__aexit__(kind, error, trace)


class UnknownTypeError(Exception):
    """A type was asked for that nothing provides."""
