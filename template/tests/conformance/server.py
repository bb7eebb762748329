"""A vendor on loopback that answers every request as it is told, in every way in which HTTP can fail."""

import asyncio
import contextlib
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import repeat

_PIECE = b"x" * 64 * 1024
_PIECES = 17 * 16
"""17 MiB: more than a provider may answer."""

_LONGEST_S = 3600
_JSON = b'{"fine": true}'


@dataclass(frozen=True, slots=True)
class Request:
    """What reached the server; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers with a status, after `after_s` seconds."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = _JSON
    after_s: float = 0


@dataclass(frozen=True, slots=True)
class Stall:
    """Says nothing more, before the status line or `in_body`; the connection stays open."""

    in_body: bool = False
    body: bytes = _JSON


@dataclass(frozen=True, slots=True)
class Drip:
    """Sends a good answer byte by byte, one each `every_s` seconds."""

    every_s: float = 0.05
    body: bytes = _JSON


@dataclass(frozen=True, slots=True)
class Reset:
    """Breaks the connection with a reset, before the status line or `in_body`."""

    in_body: bool = False
    body: bytes = _JSON


@dataclass(frozen=True, slots=True)
class Truncate:
    """Closes the connection in the middle of an answer that announced its length."""

    body: bytes = _JSON


@dataclass(frozen=True, slots=True)
class Garbage:
    """Answers with something that is not HTTP."""


@dataclass(frozen=True, slots=True)
class Huge:
    """Answers with a body that nobody should read to its end."""


@dataclass(frozen=True, slots=True)
class Events:
    """Sends blocks of server-sent events, one each `every_s` seconds, and then does what `last` says."""

    blocks: tuple[str, ...]
    every_s: float = 0
    last: Stall | Drip | Reset | None = None


@dataclass(frozen=True, slots=True)
class Deaf:
    """Never reads the request; the connection stays open."""


type Action = Answer | Stall | Drip | Reset | Truncate | Garbage | Huge | Events | Deaf


class VendorServer(ABC):
    """Serves HTTP/1.1 on a free port and does with each request what `decide` says.

    `open` counts connections, `most_open` is the highest count so far; `busy` counts requests that are being answered.
    """

    def __init__(self) -> None:
        """Listen to nothing yet."""
        self._tasks: set[asyncio.Task[object]] = set()
        self.port = 0
        self.open = 0
        self.most_open = 0
        self.busy = 0

    @abstractmethod
    def decide(self, request: Request) -> Action:
        """Return what happens to a request, whose body is not read yet."""

    def receive(self, body: bytes) -> None:  # noqa: B027 - most servers have no use for it
        """Take the body of the request that was decided about last on its connection."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks |= {task} if task else set()
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self.open -= 1
            self._tasks -= {task} if task else set()
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection can be used again."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        method, path, _ = line.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        request = Request(method, path, headers)
        action = self.decide(request)
        if isinstance(action, Deaf):
            await asyncio.sleep(_LONGEST_S)
        self.receive(await _read_body(reader, headers))
        self.busy += 1
        try:
            return await self.act(request, action, reader, writer)
        finally:
            self.busy -= 1

    async def act(
        self, request: Request, action: Action, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do what was decided; return whether the connection can be used again."""
        del request
        match action:
            case Answer():
                await asyncio.sleep(action.after_s)
                writer.write(_head(action.status, len(action.body), action.headers) + action.body)
            case Stall():
                writer.write(_head(200, len(action.body)) if action.in_body else b"")
                await _gone(reader)
            case Drip():
                await _send(writer, (bytes([byte]) for byte in action.body), len(action.body), action.every_s)
            case Reset():
                writer.write(_head(200, len(action.body)) + action.body[:9] if action.in_body else b"")
                await writer.drain()
                _reset(writer)
            case Truncate():
                writer.write(_head(200, len(action.body)) + action.body[: len(action.body) // 2])
            case Garbage():
                writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
            case Huge():
                await _send(writer, repeat(_PIECE, _PIECES), 2 * _PIECES * len(_PIECE), 0)
            case Events():
                await _send_events(action, reader, writer)
            case Deaf():
                await asyncio.sleep(_LONGEST_S)
        await writer.drain()
        return isinstance(action, Answer)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + len(b"\r\n")))[:size]
    await reader.readline()
    return body


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes], length: int, pause_s: float) -> None:
    """Send a body piece by piece."""
    writer.write(_head(200, length))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)


async def _send_events(action: Events, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send server-sent events; without a `last` deed the connection closes behind them."""
    writer.write(b"HTTP/1.1 200 Scripted\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    for block in action.blocks:
        writer.write(f"{block}\n\n".encode())
        await writer.drain()
        await asyncio.sleep(action.every_s)
    match action.last:
        case None:
            pass
        case Drip():
            for byte in b"data: {" + b" " * 100:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(action.last.every_s)
        case Stall():
            await _gone(reader)
        case Reset():
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Have the connection closed with a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _gone(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has closed the connection."""
    while await reader.read(1024):
        pass


def _head(status: int, length: int, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()
