"""The server: one address, one line when it is ready, and a clean end on a signal."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from chassis.web.app import FEATURES, problem_of
from object_service.chassis.config.loading import load
from object_service.chassis.container import Container, Stopping
from object_service.chassis.web.app import build_app
from object_service.chassis.web.server import AddressError, PortInUseError, serve
from object_service.chassis.web.settings import HttpSection

SECTION = HttpSection(port=0, shutdown_s=0.4)


@asynccontextmanager
async def served(
    caplog: pytest.LogCaptureFixture, section: HttpSection = SECTION, container: Container | None = None
) -> AsyncIterator[tuple[httpx2.AsyncClient, asyncio.Task[None]]]:
    """Serve until the block ends; yield a client of the address that the log names."""
    caplog.set_level(logging.INFO)
    container = container or Container()
    app = build_app(load(FEATURES), FEATURES, container)
    task = asyncio.create_task(serve(app, section, container.stopping))
    try:
        async with asyncio.timeout(10):
            while not (started := [record for record in caplog.records if record.message == "server_started"]):  # noqa: ASYNC110 - only a line tells
                await asyncio.sleep(0.005)
        async with httpx2.AsyncClient(base_url=vars(started[0])["url"]) as client:
            yield client, task
    finally:
        if not task.done():
            signal.raise_signal(signal.SIGTERM)
        await task


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_server_says_where_it_answers(caplog: pytest.LogCaptureFixture, host: str) -> None:
    """Port 0 takes any free one; the URL in the log works as it is."""
    async with served(caplog, HttpSection(host=host, port=0)) as (client, _):
        response = await client.get("/livez")

    assert 200 == response.status_code
    assert "server" not in response.headers
    assert "server_stopped" == caplog.records[-1].message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_in_order(caplog: pytest.LogCaptureFixture, number: signal.Signals) -> None:
    """What was accepted is answered, then the server ends without an error of its own."""
    opened = asyncio.Event()
    container = Container()
    container.provide(asyncio.Event, opened)
    async with served(caplog, HttpSection(port=0, shutdown_s=10), container) as (client, task):
        answer = asyncio.create_task(client.get("/v1/gate"))
        await asyncio.sleep(0.05)
        signal.raise_signal(number)
        await asyncio.sleep(0.05)
        opened.set()

        assert {"opened": True} == (await answer).json()
        await asyncio.wait_for(task, 10)
        assert task.exception() is None


async def test_a_request_that_never_ends_does_not_keep_the_server(caplog: pytest.LogCaptureFixture) -> None:
    """After the time for the shutdown, and at the latest after a second of it, the caller is told and it is over."""
    container = Container()
    container.provide(asyncio.Event, asyncio.Event())
    async with served(caplog, SECTION, container) as (client, task):
        answer = asyncio.create_task(client.get("/v1/gate"))
        await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(task, 8)

        assert (503, "overloaded") == ((await answer).status_code, problem_of(await answer)["code"])
    events = [record.message for record in caplog.records if record.name.startswith("object_service")]
    assert ["server_started", "request_abandoned", "server_stopped"] == events
    assert [] == [record for record in caplog.records if record.exc_info]


async def test_a_server_that_drains_serves_on(caplog: pytest.LogCaptureFixture) -> None:
    """What waits for the end goes on meanwhile; answers tell their callers to come back on another connection."""
    container = Container()
    async with served(caplog, HttpSection(port=0, drain_s=600), container) as (client, task):
        assert "connection" not in (await client.get("/livez")).headers
        signal.raise_signal(signal.SIGINT)
        answer = await client.get("/livez")

        assert (200, "close") == (answer.status_code, answer.headers["connection"])
        assert (True, False) == (container.stopping.announced, container.stopping.begun)
        assert not task.done()
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(task, 10)
        assert container.stopping.begun


async def test_a_second_interrupt_ends_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who presses Ctrl-C twice does not want to wait."""
    container = Container()
    container.provide(asyncio.Event, asyncio.Event())
    async with served(caplog, HttpSection(port=0, shutdown_s=600), container) as (client, task):
        answer = asyncio.create_task(client.get("/v1/gate"))
        await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.05)
        assert not task.done()
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait_for(task, 2)
        answer.cancel()
        await asyncio.wait([answer])


async def test_a_wish_for_another_protocol_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """The request is served as any other, and a stranger writes no warnings with it."""
    async with served(caplog) as (client, _):
        answers = [
            await client.get("/livez", headers={"Connection": "Upgrade", "Upgrade": name})
            for name in ("websocket", "h2c")
        ]

    assert [200, 200] == [answer.status_code for answer in answers]
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_taken_port_is_told() -> None:
    """The message names the address; no socket stays open."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        app = build_app(load(FEATURES), FEATURES, Container())
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{port} cannot be bound \(Address already in use\)"):
            await serve(app, HttpSection(port=port), Stopping())


@pytest.mark.parametrize("host", ["256.1.1.1.", "x" * 70, "a..b", "203.0.113.1"])
async def test_an_impossible_host_is_told(host: str) -> None:
    """A name that cannot be one, or an address of another machine, is an error with one line; no port is to blame."""
    app = build_app(load(FEATURES), FEATURES, Container())

    with pytest.raises(AddressError, match="cannot be bound") as caught:
        await serve(app, HttpSection(host=host, port=0), Stopping())

    assert AddressError is caught.type
