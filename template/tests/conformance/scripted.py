"""Scripted vendor: plays the exchanges that a provider's test declares, with a fault where a rule wants one."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.conformance.server import Action, Answer, Events, Request, VendorServer
from tests.conformance.vendor import Exchange

_BASE = "/vendor/"


@dataclass(slots=True)
class Script:
    """What the vendor does from now on.

    The exchanges of `operation` come before those of others. `fault` happens at one exchange, `everywhere` at each.
    `seen` has the requests so far, with the exchange that they were, and `bodies` what they held.
    """

    exchanges: Mapping[str, Sequence[Exchange]] = field(default_factory=dict)
    operation: str = ""
    fault: tuple[Exchange, Action] | None = None
    everywhere: Action | None = None
    seen: list[tuple[Request, Exchange | None]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


class ScriptedVendor(VendorServer):
    """A vendor in a thread of its own: a provider that blocks its event loop does not block the vendor."""

    def __init__(self) -> None:
        """Begin with an empty script: every path is unknown."""
        super().__init__()
        self.script = Script()
        self._loop = asyncio.new_event_loop()

    @property
    def base_url(self) -> str:
        """The base URL that providers get."""
        return f"http://127.0.0.1:{self.port}{_BASE}"

    def decide(self, request: Request) -> Action:
        """Return the fault, the good answer, or 404 for what nobody declared."""
        script = self.script
        exchange = next((item for item in self._ordered() if self._is(item, request)), None)
        script.seen.append((request, exchange))
        if script.everywhere is not None:
            return script.everywhere
        if exchange is None:
            return Answer(404)
        if script.fault is not None and script.fault[0] is exchange:
            return script.fault[1]
        return self.good(exchange)

    def receive(self, body: bytes) -> None:
        """Keep what was sent."""
        self.script.bodies.append(body)

    def good(self, exchange: Exchange) -> Answer | Events:
        """Return the declared answer of an exchange."""
        if exchange.events:
            return Events(tuple(exchange.events))
        body = exchange.body(self.base_url) if callable(exchange.body) else exchange.body
        content = b"" if exchange.body is None else json.dumps(body).encode()
        return Answer(exchange.status, (("Content-Type", "application/json"),), content)

    def hang_up(self) -> None:
        """Break every connection off, so that whoever waits for an answer goes on."""
        for task in list(self._tasks):
            self._loop.call_soon_threadsafe(task.cancel)

    def _ordered(self) -> Iterator[Exchange]:
        exchanges = self.script.exchanges
        for operation in sorted(exchanges, key=lambda name: name != self.script.operation):
            yield from exchanges[operation]

    @staticmethod
    def _is(exchange: Exchange, request: Request) -> bool:
        path = request.path.partition("?")[0].removeprefix(_BASE)
        return exchange.method == request.method and fnmatchcase(path, exchange.path)

    @contextmanager
    def running(self) -> Iterator["ScriptedVendor"]:
        """Serve until the end of the block."""
        ready, stop = threading.Event(), asyncio.Event()

        async def serve() -> None:
            async with self.listening():
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=self._loop.run_until_complete, args=[serve()], daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join()
            self._loop.close()
