"""Server: uvicorn around the application, from the first port to the last answer."""

import asyncio
import errno
import logging
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import override

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..container import Stopping
from .connections import guarded
from .draining import last_connections, wait_while
from .settings import HttpSection

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
            host, port = sockets[0].getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            _log.info("server_started", extra={"url": url})

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


async def serve(app: FastAPI, section: HttpSection, stopping: Stopping) -> None:
    """Serve until SIGTERM or SIGINT, and tell `stopping` of it; accepted requests are answered first.

    Raises:
        AddressError: if the address cannot be bound; PortInUseError if it is taken.
    """
    listener = _bind(section.host, section.port)
    config = uvicorn.Config(
        _calmly(app, stopping),
        log_config=None,
        access_log=False,
        lifespan="off",
        http=guarded(section),
        ws="none",
        server_header=False,
        proxy_headers=False,  # whom to believe about the caller's address is a setting, see `callers`
        timeout_graceful_shutdown=max(1, round(section.shutdown_s)),
    )
    with listener:
        await _Server(config, stopping, section.drain_s).serve([listener])
    _log.info("server_stopped")


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
