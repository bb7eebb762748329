"""Connections: how many there may be, how slowly a head may come, and how slowly an answer may be read."""

import asyncio
from typing import Any, override

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from .settings import HttpSection

_LENGTHS = {b"content-length", b"transfer-encoding"}
"""Two ways to say where a body ends. Source: RFC 9112, section 6.3, rule 3."""


class Room:
    """Place for connections. When none is left, the one that has been idle longest makes way for the next."""

    def __init__(self, section: HttpSection) -> None:
        """Begin empty."""
        self.section = section
        self._open: set[GuardedProtocol] = set()
        self._idle: dict[GuardedProtocol, None] = {}

    def enter(self, connection: "GuardedProtocol") -> None:
        """Take a connection in."""
        if len(self._open) >= self.section.max_connections:
            # Every other one serves a request; those are fewer than connections, so this one is the exception.
            next(iter(self._idle), connection).end()
        self._open.add(connection)
        self._idle[connection] = None

    def busy(self, connection: "GuardedProtocol") -> None:
        """Note that a connection serves a request."""
        self._idle.pop(connection, None)

    def idle(self, connection: "GuardedProtocol") -> None:
        """Note that a connection serves no request; the time counts from the first of these notes."""
        if connection in self._open:
            self._idle.setdefault(connection)

    def leave(self, connection: "GuardedProtocol") -> None:
        """Give the place back."""
        self._open.discard(connection)
        self._idle.pop(connection, None)


def guarded(section: HttpSection) -> type[asyncio.Protocol]:
    """Return the protocol of a server with these bounds."""

    class Protocol(GuardedProtocol):
        room = Room(section)

    return Protocol


class GuardedProtocol(H11Protocol):
    """One connection of uvicorn's, which does not wait for ever for the other side.

    The base class waits without a limit for a head that is begun, for the rest of a body that nobody reads any more,
    and for an answer to be taken.
    """

    room: Room

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Begin without a connection."""
        super().__init__(config, server_state, app_state, _loop)
        self._section = self.room.section
        self._heads: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._untaken = 0

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        super().connection_made(transport)
        self.room.enter(self)
        self._watch_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.room.leave(self)
        self._serves()
        self._taken()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch_taking()
        if self._is_busy() or self.conn.their_state is h11.SEND_BODY:
            self._look()
        else:
            self.room.idle(self)  # the base class waits for the next head, for a few seconds

    @override
    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is served as any other, and a stranger could write two warnings with each."""

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_taking()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def end(self) -> None:
        """Close the connection; what was written already may still be taken."""
        self.room.busy(self)
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._watch_taking()

    def _look(self) -> None:
        if self._is_busy():
            self._serves()
            self.room.busy(self)
            if {name for name, _ in self.headers} >= _LENGTHS:
                # What follows may be the rest of this body in the eyes of a proxy: it is never read as a request.
                self.cycle.keep_alive = False
        elif not self.transport.is_closing():
            self.room.idle(self)
            self._watch_head()

    def _is_busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _watch_head(self) -> None:
        if self._heads is None:
            self._heads = self.loop.call_later(self._section.head_timeout_s, self.end)

    def _serves(self) -> None:
        if self._heads is not None:
            self._heads.cancel()
            self._heads = None

    def _watch_taking(self) -> None:
        if self._taking is None:
            self._untaken = self.transport.get_write_buffer_size()
            self._taking = self.loop.call_later(self._section.send_idle_s, self._look_at_taking)

    def _look_at_taking(self) -> None:
        self._taking = None
        left = self.transport.get_write_buffer_size()
        least = self._section.send_idle_s * self._section.body_min_bytes_per_s
        if left and self._untaken - left < min(self._untaken, max(1, least)):
            self.transport.abort()
        elif left:
            self._watch_taking()

    def _taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
