"""Redis away: every question is answered with None in time, and the log says once that it went and that it came."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from object_service.chassis.resilience.shared import SharedState
from redis_server import TIMEOUT_S, RedisServer, broken_server, clients_of, command, replica, reserve

IN_TIME_S = TIMEOUT_S * 1.9
AT_ONCE_S = TIMEOUT_S / 2
LOST, FOUND = "redis_unavailable", "redis_available"
METHODS: dict[str, Callable[[SharedState], Awaitable[Any]]] = {
    "reserve": reserve,
    "admit_probe": lambda state: state.admit_probe("p", "a", probes=1, lease_s=60),
    "load": lambda state: state.load("v"),
    "store": lambda state: state.store("v", b"x", 60),
}
WRONG = {
    "read-only": ("reserve", b"-READONLY You can't write against a read only replica.\r\n"),
    "loading": ("load", b"-LOADING Redis is loading the dataset in memory\r\n"),
    "full": ("store", b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    "not-allowed": ("reserve", b"-NOPERM this user has no permissions to run the 'eval' command\r\n"),
    "no-scripts": ("admit_probe", b"-ERR unknown command `EVAL`\r\n"),
    "no-reservation": ("reserve", b"+OK\r\n"),
    "no-admission": ("admit_probe", b"+OK\r\n"),
    "no-content": ("load", b"*1\r\n:1\r\n"),
    "too-short": ("reserve", b"*1\r\n:1\r\n"),
    "other-protocol": ("reserve", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "no-number": ("reserve", b"$x\r\n"),
}


class _Clock:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running server."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def clock() -> _Clock:
    """Return the clock that says when Redis is asked again."""
    return _Clock()


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what lists the log's events about Redis, in order."""
    caplog.set_level(logging.DEBUG)
    return lambda: [record.getMessage() for record in caplog.records if "redis" in record.name]


async def _timed(question: Awaitable[Any]) -> tuple[Any, float]:
    begun = time.monotonic()
    return await question, time.monotonic() - begun


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_nothing_listens(
    method: Callable[[SharedState], Awaitable[Any]], tmp_path: Path, events: Callable[[], list[str]]
) -> None:
    """Without a server every method returns None at once, and one line says so."""
    async with replica(RedisServer(tmp_path).url) as state:
        for _ in range(3):
            answer, took_s = await _timed(method(state))

            assert answer is None
            assert took_s < AT_ONCE_S
    assert [LOST] == events()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_a_server_that_stalls(
    method: Callable[[SharedState], Awaitable[Any]], events: Callable[[], list[str]]
) -> None:
    """Where connections are accepted and nothing answers, a hundred callers wait for one time limit together."""
    async with broken_server(b"") as (url, _), replica(url) as state:
        answers, took_s = await _timed(asyncio.gather(*(method(state) for _ in range(100))))

        assert [None] * 100 == answers
        assert TIMEOUT_S * 0.9 < took_s < IN_TIME_S
        assert (await _timed(method(state)))[1] < AT_ONCE_S
    assert [LOST] == events()


async def test_the_end_of_a_probe_waits_for_nobody(tmp_path: Path, events: Callable[[], list[str]]) -> None:
    """Without a server it is lost, like the probe's place will be when its lease is over."""
    async with replica(RedisServer(tmp_path).url) as state:
        state.end_probe("p", "a")
    assert [LOST] == events()


async def test_a_server_that_is_slow() -> None:
    """An answer that comes too late is none, however often something came in between."""
    late = broken_server(b"*3\r\n:1\r\n:0\r\n:0\r\n", pause_s=0.75 * TIMEOUT_S)
    async with late as (url, _), replica(url) as state:
        answer, took_s = await _timed(reserve(state))

        assert answer is None
        assert took_s < IN_TIME_S


async def test_a_server_that_is_away_is_asked_once_a_second(clock: _Clock) -> None:
    """One caller in a second waits for an answer, the others do not."""
    async with broken_server(b"") as (url, opened), replica(url, clock) as state:
        await reserve(state)
        for passed_s, expected in ((0.5, 0), (0.499, 0), (0.002, 1), (0.9, 0), (0.2, 1)):
            clock.seconds += passed_s
            before = len(opened)
            asked = await asyncio.gather(*(_timed(reserve(state)) for _ in range(10)))

            assert expected == len(opened) - before
            assert expected == len([took_s for _, took_s in asked if took_s > AT_ONCE_S])


@pytest.mark.parametrize(("method", "answer"), WRONG.values(), ids=WRONG)
async def test_a_server_that_answers_wrong(
    method: str, answer: bytes, clock: _Clock, events: Callable[[], list[str]]
) -> None:
    """Refusals and answers that cannot be are as good as none."""
    async with broken_server(answer) as (url, _), replica(url, clock) as state:
        for _ in range(3):
            clock.seconds += 1
            said, took_s = await _timed(METHODS[method](state))

            assert said is None
            assert took_s < IN_TIME_S
    assert [LOST] == events()


async def test_a_server_that_is_killed_and_comes_back(
    server: RedisServer, clock: _Clock, events: Callable[[], list[str]]
) -> None:
    """A crash in the middle of questions is noticed at once; a second after the restart the state is shared again."""
    async with replica(server.url, clock) as state, replica(server.url) as other:
        assert (True, 0) == await reserve(state)
        server.pause()
        asking = [asyncio.ensure_future(method(state)) for method in METHODS.values()]
        await asyncio.sleep(TIMEOUT_S / 4)
        server.kill()
        answers, took_s = await _timed(asyncio.gather(*asking))
        assert [None] * len(METHODS) == answers
        assert took_s < AT_ONCE_S
        server.start()
        assert await reserve(state) is None
        assert [LOST] == events()
        clock.seconds += 1

        assert (True, 0) == await reserve(state, rate=0.1, burst=1)

        assert [LOST, FOUND] == events()
        assert (False, pytest.approx(10, abs=0.5)) == await reserve(other, rate=0.1, burst=1)


async def test_a_restart_between_questions_is_no_outage(server: RedisServer, events: Callable[[], list[str]]) -> None:
    """A connection that ended while nobody asked is replaced without a word."""
    async with replica(server.url) as state:
        await reserve(state)
        server.kill()
        server.start()
        await asyncio.sleep(0)

        assert (True, 0) == await reserve(state)
    assert [] == events()


async def test_a_server_that_only_reads_stays_away(tmp_path: Path, events: Callable[[], list[str]]) -> None:
    """What can be read from a full server does not make it available; it is when there is room again."""
    clock = _Clock()
    with RedisServer(tmp_path, "--maxmemory", "1") as server:
        async with replica(server.url, clock) as state:
            assert await reserve(state) is None
            for _ in range(3):
                clock.seconds += 1
                assert await state.load("v") is None
                assert await reserve(state) is None
            assert [LOST] == events()
            await command(server.url, "CONFIG", "SET", "maxmemory", 0)
            clock.seconds += 1

            assert (True, 0) == await reserve(state)
    assert [LOST, FOUND] == events()


async def test_being_cancelled_costs_no_connection(server: RedisServer, events: Callable[[], list[str]]) -> None:
    """Callers that are cancelled while they wait leave connection, other callers and what they sent untouched."""
    async with replica(server.url) as state:
        await asyncio.gather(*(method(state) for method in METHODS.values()))
        before = await clients_of(server.url)
        for method in METHODS.values():
            asking = [asyncio.ensure_future(method(state)) for _ in range(20)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in asking[::2]:
                task.cancel()
            ended = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ended[::2])
            assert not any(isinstance(end, BaseException) for end in ended[1::2])

        assert (True, 0) == await reserve(state, burst=1000)
        assert before == await clients_of(server.url)
    assert [] == events()


async def test_a_value_is_stored_even_when_the_caller_is_cancelled(server: RedisServer) -> None:
    """What was asked for happens, though nobody waits for it any more."""
    async with replica(server.url) as state:
        storing = asyncio.ensure_future(state.store("v", b"x", 60))
        await asyncio.sleep(0)
        storing.cancel()

        assert await state.load("v") == b"x"


async def test_a_process_that_was_busy_does_not_blame_redis(
    server: RedisServer, events: Callable[[], list[str]]
) -> None:
    """A time limit that passes because this process did something else is no outage."""
    async with replica(server.url) as state:
        await reserve(state)
        asking = asyncio.ensure_future(reserve(state))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(3 * TIMEOUT_S)  # noqa: ASYNC251 - it is the blocked loop that is tested
        await asking

        assert (True, 0) == await reserve(state)
    assert [] == events()
