"""The end of a listening socket: the queue is emptied, newcomers wait, and quiet connections have a moment."""

import asyncio
import socket
import sys
from types import SimpleNamespace

import pytest

from object_service.chassis.web import draining
from object_service.chassis.web.draining import last_connections, wait_while


def _never() -> bool:
    return False


def _always() -> bool:
    return True


async def test_whoever_waits_in_the_queue_is_let_in() -> None:
    """It returns when the server has taken everybody, not earlier."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        waiting = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        ending = asyncio.create_task(last_connections([listener], [], _never))
        await asyncio.sleep(0.1)
        assert not ending.done()
        for _ in waiting:
            listener.accept()[0].close()
        await asyncio.wait_for(ending, 10)
        for connection in waiting:
            connection.close()


async def test_a_server_that_takes_nobody_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue of a server that hangs is given up."""
    monkeypatch.setattr(draining, "QUIET_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        await asyncio.wait_for(last_connections([listener], [], _never), 10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters what comes to a listening socket")
async def test_newcomers_are_not_let_in() -> None:
    """Who begins to connect waits until the socket is closed, and is not reset; who is connected already speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as known:
        accepted, _ = listener.accept()
        with accepted:
            await last_connections([listener], [], _never)
            with pytest.raises(TimeoutError):
                socket.create_connection(listener.getsockname(), timeout=0.2)
            known.sendall(b"hello")
            assert b"hello" == accepted.recv(5)


async def test_quiet_connections_have_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request is waited for until it brings one; busy ones are not waited for here."""
    monkeypatch.setattr(draining, "QUIET_S", 60)
    fresh, between = SimpleNamespace(cycle=None), SimpleNamespace(cycle=SimpleNamespace(response_complete=True))
    busy = SimpleNamespace(cycle=SimpleNamespace(response_complete=False))
    connections = {1: fresh, 2: between, 3: busy}
    ending = asyncio.create_task(last_connections([], connections.values(), _never))
    await asyncio.sleep(0.1)
    assert not ending.done()
    del connections[1]
    between.cycle.response_complete = False

    await asyncio.wait_for(ending, 10)


async def test_quiet_connections_are_given_up() -> None:
    """Neither silence nor impatience is waited for."""
    quiet = SimpleNamespace(cycle=None)
    begun = asyncio.get_running_loop().time()
    await asyncio.wait_for(last_connections([], [quiet], _never), 10)
    assert draining.QUIET_S <= asyncio.get_running_loop().time() - begun
    await asyncio.wait_for(last_connections([], [quiet], _always), 10)


async def test_waiting_ends_with_its_condition_or_its_time() -> None:
    """No time is no waiting."""
    await wait_while(_always, 0)
    await asyncio.wait_for(wait_while(_never, 600), 10)
