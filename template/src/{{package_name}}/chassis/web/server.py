"""Server: uvicorn around the application, from the first port to the last answer."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from types import FrameType
from typing import override

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..container import Stopping
from .connections import guarded
from .draining import last_connections, wait_while
from .settings import HttpSection, OpsSection

_LAST_WORDS_S = 1.0
_log = logging.getLogger(__name__)


class AddressError(Exception):
    """The address to listen on cannot be had; `fix` says what to do on the command line."""

    code = "address_unavailable"
    fix = "choose an address of this machine with --host, and a port that this user may open"


class PortInUseError(AddressError):
    """Somebody listens there already."""

    code = "port_in_use"
    fix = "choose another one with --port, or 0 for any free one"


class _Server(uvicorn.Server):
    """Says when it is ready, loses nobody at the end, and leaves without the signal's own exit code."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping, drain_s: float) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._drain_s = drain_s

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            names = ("url", "operations_url")
            _log.info("server_started", extra=dict(zip(names, map(_url, sockets), strict=False)))

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain(sockets or [])
        await super().shutdown(sockets)
        if self.server_state.tasks:
            # They were cancelled; each still says so to its caller and to the log.
            await asyncio.wait(self.server_state.tasks, timeout=_LAST_WORDS_S)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The base class would raise the signal again after a clean end, and the process would exit with 143.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
            # The base class goes on waiting for open connections, which end with their requests.
            for task in self.server_state.tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)
        if not self.should_exit:
            self.should_exit = True
            self._stopping.announce()

    async def _drain(self, listeners: list[socket.socket]) -> None:
        """Serve on for the time of the drain, then let nobody in; a second interrupt ends both."""
        await wait_while(lambda: not self.force_exit, self._drain_s)
        self._stopping.begin()
        await last_connections(listeners, self.server_state.connections, lambda: self.force_exit)


type Operations = tuple[ASGIApp, OpsSection]
"""What operators ask, and where it listens."""


async def serve(app: FastAPI, section: HttpSection, stopping: Stopping, operations: Operations | None = None) -> None:
    """Serve until SIGTERM or SIGINT, and tell `stopping` of it; accepted requests are answered first.

    Raises:
        AddressError: if an address cannot be bound; PortInUseError if it is taken.
    """
    with ExitStack() as listening:
        listeners = [listening.enter_context(_bind(section.host, section.port))]
        served: ASGIApp = app
        if operations is not None:
            apart, where = operations
            listeners.append(listening.enter_context(_bind(where.host, where.port or 0)))
            served = _parted(app, apart, *(listener.getsockname()[1] for listener in listeners))
        config = _config(_calmly(served, stopping), section)
        await _Server(config, stopping, section.drain_s).serve(listeners)
    _log.info("server_stopped")


class _Beside(uvicorn.Server):
    """Leaves the signals to the process that it belongs to."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def operated(operations: ASGIApp, section: HttpSection, where: OpsSection) -> AsyncIterator[None]:
    """Answer operators during the block, in a process that serves nobody else.

    Raises:
        AddressError: if the address cannot be bound; PortInUseError if it is taken.
    """
    with closing(_bind(where.host, where.port or 0)) as listener:
        server = _Beside(_config(operations, section))
        serving = asyncio.create_task(server.serve([listener]))
        _log.info("server_started", extra={"operations_url": _url(listener)})
        try:
            yield
        finally:
            server.should_exit = True
            await serving


def _config(app: ASGIApp, section: HttpSection) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        http=guarded(section),
        ws="none",
        server_header=False,
        proxy_headers=False,  # whom to believe about the caller's address is a setting, see `callers`
        timeout_graceful_shutdown=max(1, round(section.shutdown_s)),
    )


def _parted(app: ASGIApp, operations: ASGIApp, port: int, operations_port: int) -> ASGIApp:
    """Return an application that answers operators where they listen, and everybody else elsewhere.

    Raises:
        PortInUseError: if both have one port; on several addresses they could not be told apart.
    """
    if port == operations_port:
        message = f"port {port} is to serve callers and operators"
        raise PortInUseError(message)

    async def parted(scope: Scope, receive: Receive, send: Send) -> None:
        await (operations if scope["server"][1] == operations_port else app)(scope, receive, send)

    return parted


def _calmly(app: ASGIApp, stopping: Stopping) -> ASGIApp:
    """Return the application so that a request which is cancelled ends without a word of the server's own.

    Answers on the way to the end tell their callers to come back on another connection.
    """

    async def calm(scope: Scope, receive: Receive, send: Send) -> None:
        async def last(message: Message) -> None:
            if stopping.announced and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        # The last step of a task: there is nobody above who would have to learn of the cancellation.
        with suppress(asyncio.CancelledError):
            await app(scope, receive, last)

    return calm


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
        message = f"{host}:{port} cannot be bound ({reason})"
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise (PortInUseError if taken else AddressError)(message) from error
    return listener
