"""Connections: whoever dawdles is cut off, and however many there are, the next caller is served."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from chassis.web.test_server import served
from object_service.chassis.container import Container
from object_service.chassis.web.settings import HttpSection

HEAD = b"GET /v1/things/1 HTTP/1.1\r\nHost: a\r\n"
UNREAD = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
LIMIT_S = 20

type Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _dialling(
    caplog: pytest.LogCaptureFixture, section: HttpSection, container: Container | None = None
) -> AsyncIterator[tuple[Callable[[], Awaitable[Connection]], httpx2.AsyncClient]]:
    """Serve; yield what opens connections, each of which is closed in the end, and an ordinary client."""
    async with served(caplog, section, container) as (client, _), AsyncExitStack() as closing:
        url = urlsplit(str(client.base_url))

        async def connect() -> Connection:
            reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=2**20)
            closing.callback(writer.close)
            return reader, writer

        yield connect, client


async def _is_cut_off(connection: Connection, *, drip: bytes = b"") -> float:
    """Send drops until the other side closes; return after how many seconds that was."""
    begun = time.monotonic()
    reader, writer = connection
    while not (reader.at_eof() or reader.exception()):
        assert time.monotonic() - begun < LIMIT_S, "nobody closed the connection"
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.05):
                writer.write(drip)
                await writer.drain()
                await reader.read(65536)
    return time.monotonic() - begun


@pytest.mark.parametrize(("sent", "drip"), [(b"", b""), (HEAD, b""), (HEAD, b"X")], ids=["silent", "stops", "drips"])
async def test_a_head_that_never_ends_is_cut_off(caplog: pytest.LogCaptureFixture, sent: bytes, drip: bytes) -> None:
    """What counts is the time of the whole head, whatever comes meanwhile."""
    async with _dialling(caplog, HttpSection(port=0, head_timeout_s=0.3)) as (connect, client):
        slow = await connect()
        slow[1].write(sent)

        assert 0.2 < await _is_cut_off(slow, drip=drip)
        assert 200 == (await client.get("/v1/things/1")).status_code


async def test_the_rest_of_a_refused_body_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """The refusal can be read; whoever goes on sending drops after it is cut off."""
    async with _dialling(caplog, HttpSection(port=0, head_timeout_s=0.3)) as (connect, _):
        reader, writer = await connect()
        writer.write(UNREAD)

        assert b"HTTP/1.1 404 Not Found\r\n" == await reader.readline()
        assert 0.2 < await _is_cut_off((reader, writer), drip=b".")


async def test_a_connection_is_used_again_after_a_refused_body(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sends the body to its end may go on, also with the next request in the same piece."""
    async with _dialling(caplog, HttpSection(port=0, head_timeout_s=5)) as (connect, _):
        reader, writer = await connect()
        for _ in range(2):
            writer.write(UNREAD + b"." * 100 + HEAD + b"\r\n")
            async with asyncio.timeout(LIMIT_S):
                assert b" 404 " in await reader.readuntil(b"\r\n")
                assert b"200 OK" in await reader.readuntil(b"200 OK")
                await reader.readuntil(b"}")


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"], ids=["first", "pipelined"])
async def test_a_body_with_two_ends_is_the_last_of_its_connection(
    caplog: pytest.LogCaptureFixture, before: bytes
) -> None:
    """By length and in chunks: what a proxy may have taken for its rest is never served."""
    double = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with _dialling(caplog, HttpSection(port=0)) as (connect, _):
        reader, writer = await connect()
        writer.write(before + double + HEAD + b"\r\n")
        async with asyncio.timeout(LIMIT_S):
            received = await reader.read()

    assert (bool(before), 1) == (b" 200 OK" in received, received.count(b" 404 "))
    assert 1 + bool(before) == received.count(b"HTTP/1.1 ")


async def test_the_longest_idle_connection_makes_way(caplog: pytest.LogCaptureFixture) -> None:
    """Those who only hold a place lose it, oldest first; whoever is being served does not."""
    opened = asyncio.Event()
    container = Container()
    container.provide(asyncio.Event, opened)
    async with _dialling(caplog, HttpSection(port=0, max_connections=5), container) as (connect, client):
        busy = await connect()
        busy[1].write(b"GET /v1/gate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await busy[1].drain()
        idle = []
        for _ in range(20):
            idle.append(await connect())
            assert 200 == (await client.get("/livez")).status_code

        assert await _is_cut_off(idle[0]) < 9, "long before the time for a head is over"
        opened.set()
        async with asyncio.timeout(LIMIT_S):
            assert b'{"opened":true}' in await busy[0].read()


async def test_without_an_idle_one_the_newest_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody who is served loses the place, not even when probes are what takes all of them."""
    opened = asyncio.Event()
    container = Container()
    container.provide(asyncio.Event, opened)
    container.add_ping("gate", _asked_by(opened))
    async with _dialling(caplog, HttpSection(port=0, max_connections=2), container) as (connect, _):
        probes = [await connect() for _ in range(2)]
        for _, writer in probes:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(0.1)
        refused = await connect()

        assert await _is_cut_off(refused) < 9
        opened.set()
        async with asyncio.timeout(LIMIT_S):
            assert [True, True] == [b'"checks"' in await reader.read() for reader, _ in probes]


def _asked_by(opened: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def ping() -> None:
        await opened.wait()

    return ping


async def test_an_answer_that_nobody_takes_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """The place of a request whose caller does not read is free again after a while."""
    caplog.set_level(logging.INFO)
    async with _dialling(caplog, HttpSection(port=0, send_idle_s=0.3)) as (connect, _):
        reader, writer = await connect()
        writer.write(b"GET /v1/large HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(LIMIT_S):
            await reader.readline()
            await asyncio.sleep(1.5)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(64 * 1024 * 1024)


async def test_an_answer_that_is_taken_slowly_is_complete(caplog: pytest.LogCaptureFixture) -> None:
    """Slow is not idle."""
    async with _dialling(caplog, HttpSection(port=0, send_idle_s=0.5)) as (connect, _):
        reader, writer = await connect()
        writer.write(b"GET /v1/large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        taken = 0
        async with asyncio.timeout(LIMIT_S * 2):
            while piece := await reader.read(4 * 1024 * 1024):
                taken += len(piece)
                await asyncio.sleep(0.03)

    assert taken > 64 * 1024 * 1024
