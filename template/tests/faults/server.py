"""A provider that fails on purpose: a loopback server that answers each request as its script says."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import repeat

COMPLETION = json.dumps(
    {
        "model": "fault-1",
        "choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
).encode()
_PIECE = b"x" * 64 * 1024
_PIECES = 17 * 16
"""17 MiB: more than a provider may answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers with a status, after `after_s` seconds."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = COMPLETION
    after_s: float = 0


@dataclass(frozen=True, slots=True)
class Stall:
    """Says nothing more, before the status line or `in_body`; the connection stays open."""

    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """Sends a good answer byte by byte, one each `every_s` seconds."""

    every_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Reset:
    """Breaks the connection with a reset, before the status line or `in_body`."""

    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Truncate:
    """Closes the connection in the middle of an answer that announced its length."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Answers with something that is not HTTP."""


@dataclass(frozen=True, slots=True)
class Huge:
    """Answers with a body that nobody should read to its end."""


@dataclass(frozen=True, slots=True)
class Report:
    """Tells of a failure in the middle of a stream, whose status line said 200."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Sends `pieces` of a streamed answer, one each `every_s` seconds, and then does what `last` says."""

    pieces: int = 3
    every_s: float = 0.01
    last: Stall | Drip | Reset | Truncate | Report | None = None


@dataclass(frozen=True, slots=True)
class Deaf:
    """Never reads the request; the connection stays open."""


type Action = Answer | Stall | Drip | Reset | Truncate | Garbage | Huge | Stream | Deaf


@dataclass(slots=True)
class Target:
    """What one provider's requests meet: each takes the next action, the last action stays.

    `hits` counts requests, `at` are their moments on the monotonic clock, `keys` their idempotency keys, `most` is
    the highest number of requests that were answered at the same time.
    """

    script: Sequence[Action]
    hits: int = 0
    at: list[float] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    running: int = 0
    most: int = 0
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self, headers: dict[str, str]) -> Action:
        """Count a request and return what happens to it."""
        action = self.script[min(self.hits, len(self.script) - 1)]
        self.hits += 1
        self.first.set()
        self.at.append(time.monotonic())
        self.keys.append(headers.get("idempotency-key"))
        return action


class FaultServer:
    """Serves targets by the first part of the path; a path without a target is answered with 404."""

    def __init__(self) -> None:
        """Begin without targets."""
        self.targets: dict[str, Target] = {}
        self.port = 0
        self._tasks: set[asyncio.Task[object]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultServer"]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks |= {task} if task else set()
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks -= {task} if task else set()
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection can be used again."""
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        target = self.targets.get(line.split("/")[1], Target([Answer(404)]))
        action = target.next(headers)
        if isinstance(action, Deaf):
            await asyncio.sleep(3600)
        await reader.readexactly(int(headers.get("content-length", "0")))
        target.running += 1
        target.most = max(target.most, target.running)
        try:
            return await _act(action, reader, writer)
        finally:
            target.running -= 1


async def _act(action: Action, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Do what a script says; return whether the connection can be used again."""
    match action:
        case Answer():
            await asyncio.sleep(action.after_s)
            writer.write(_head(action.status, len(action.body), action.headers) + action.body)
        case Stall():
            writer.write(_head(200, len(COMPLETION)) if action.in_body else b"")
            await _gone(reader)
        case Drip():
            await _send(writer, (bytes([byte]) for byte in COMPLETION), len(COMPLETION), action.every_s)
        case Reset():
            writer.write(_head(200, len(COMPLETION)) + COMPLETION[:9] if action.in_body else b"")
            await writer.drain()
            _reset(writer)
        case Stream():
            await _stream(action, reader, writer)
        case Truncate():
            writer.write(_head(200, len(COMPLETION)) + COMPLETION[: len(COMPLETION) // 2])
        case Garbage():
            writer.write(b"\x00\x01 this is not HTTP\r\n\r\n")
        case Huge():
            await _send(writer, repeat(_PIECE, _PIECES), 2 * _PIECES * len(_PIECE), 0)
        case Deaf():
            await asyncio.sleep(3600)
    await writer.drain()
    return isinstance(action, Answer)


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes], length: int, pause_s: float) -> None:
    """Send a body piece by piece."""
    writer.write(_head(200, length))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)


async def _stream(action: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send pieces as server-sent events; without a `last` deed the answer ends as it should."""
    writer.write(b"HTTP/1.1 200 Scripted\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    for number in range(action.pieces):
        choice = {"delta": {"content": f"piece {number} "}, "finish_reason": None}
        writer.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        await writer.drain()
        await asyncio.sleep(action.every_s)
    match action.last:
        case None:
            writer.write(b"data: [DONE]\n\n")
        case Drip():
            for byte in b"data: {" + b" " * 100:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(action.last.every_s)
        case Report():
            writer.write(b'data: {"error": {"message": "no", "type": "server_error"}}\n\ndata: [DONE]\n\n')
        case Stall():
            await _gone(reader)
        case Reset():
            _reset(writer)
        case Truncate():
            pass


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
