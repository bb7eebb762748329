"""State shared through a real Redis: rates, probes and values that every replica agrees on."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from object_service.chassis.resilience.limits import RateLimiter
from object_service.chassis.resilience.shared import SharedState
from redis_server import RedisServer, clients_of, command, replica, reserve


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running server."""
    with RedisServer(tmp_path) as server:
        yield server


async def test_two_replicas_share_the_rate(server: RedisServer) -> None:
    """No window of w seconds has more than burst + rate x w begun calls, counted over both replicas."""
    begun: list[float] = []

    async def call(state: SharedState) -> None:
        taken, wait_s = await reserve(state, rate=40, burst=5, wait=5)
        assert taken
        await asyncio.sleep(wait_s)
        begun.append(time.monotonic())

    async with replica(server.url) as one, replica(server.url) as other:
        await asyncio.gather(*(call(state) for state in (one, other) * 20))

    begun.sort()
    jitter_s = 0.05
    for (i, first), (j, last) in itertools.combinations(enumerate(begun), 2):
        assert j - i + 1 <= 5 + 40 * (last - first + jitter_s)
    assert begun[-1] - begun[0] < 35 / 40 + 0.3


async def test_the_rate_is_that_of_the_limiter_in_one_process(server: RedisServer) -> None:
    """Places, waits and refusals are what the local limiter says, to the time that asking takes."""
    limiter = RateLimiter(0.5, 3, lambda: 0.0)
    async with replica(server.url) as state:
        for wait in (0, 0, 0, 0, 1.5, 2.5, 3, 9, 5, 100):
            taken, wait_s = await reserve(state, rate=0.5, burst=3, wait=wait)

            expected, expected_s = limiter.reserve(wait)
            assert (expected, pytest.approx(expected_s, abs=0.3)) == (taken, wait_s)


async def test_a_burst_is_full_again_when_its_time_has_passed(server: RedisServer) -> None:
    """A place comes back after one interval, on the clock of Redis; a longer pause does not add to the burst."""
    async with replica(server.url) as state:
        assert (True, 0) == await reserve(state, rate=5, burst=1)
        refused, again_s = await reserve(state, rate=5, burst=1)
        assert not refused

        await asyncio.sleep(again_s + 0.002)
        assert (True, 0) == await reserve(state, rate=5, burst=1)

        await asyncio.sleep(0.5)
        assert (True, 0) == await reserve(state, rate=5, burst=1)
        assert (False, pytest.approx(0.2, abs=0.05)) == await reserve(state, rate=5, burst=1)


async def test_many_questions_share_one_connection(server: RedisServer) -> None:
    """A thousand questions at once are all answered, each with its own answer, over one connection."""
    async with replica(server.url) as state:
        answers = await asyncio.gather(*(reserve(state, rate=1, burst=1, wait=5000) for _ in range(1000)))

        assert [True] * 1000 == [taken for taken, _ in answers]
        waits = [wait_s for _, wait_s in answers]
        assert pytest.approx(list(range(1000)), abs=1) == waits
        assert len(await clients_of(server.url)) == 1


async def test_probes_are_counted_over_all_replicas(server: RedisServer) -> None:
    """Two probes run at once, whoever they belong to; a third begins when one ends."""
    async with replica(server.url) as one, replica(server.url) as other:
        asked = [(one, "a"), (other, "b"), (one, "c"), (other, "a")]
        admitted = [await state.admit_probe("p", token, probes=2, lease_s=60) for state, token in asked]
        assert [True, True, False, True] == admitted

        one.end_probe("p", "b")
        await reserve(one, rate=1, burst=1, wait=0)  # on the same line, so it comes after

        assert await other.admit_probe("p", "c", probes=2, lease_s=60)
        assert not await one.admit_probe("p", "b", probes=2, lease_s=60)


async def test_a_lost_probe_counts_until_its_lease_ends(server: RedisServer) -> None:
    """A probe that nobody ends gives its place back by itself, and those with a longer lease keep theirs."""
    async with replica(server.url) as state:
        assert await state.admit_probe("p", "long", probes=2, lease_s=60)
        assert await state.admit_probe("p", "lost", probes=2, lease_s=0.2)
        assert not await state.admit_probe("p", "next", probes=2, lease_s=60)

        await asyncio.sleep(0.25)

        assert await state.admit_probe("p", "next", probes=2, lease_s=60)
        assert not await state.admit_probe("p", "last", probes=2, lease_s=60)


async def test_a_probe_cancelled_while_it_asks_takes_no_place(server: RedisServer) -> None:
    """Whoever is cancelled before the answer came leaves the place to others."""
    async with replica(server.url) as one, replica(server.url) as other:
        asking = asyncio.create_task(one.admit_probe("p", "a", probes=1, lease_s=60))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await reserve(one, rate=1, burst=1, wait=0)

        assert await other.admit_probe("p", "b", probes=1, lease_s=60)


async def test_a_value_is_there_for_every_replica_until_its_time_ends(server: RedisServer) -> None:
    """Bytes come back as they were stored, empty ones too."""
    content = bytes(range(256)) * 1000
    async with replica(server.url) as one, replica(server.url) as other:
        await one.store("v", content, 60)
        await one.store("empty", b"", 60)
        await one.store("brief", b"x", 0.1)
        assert [content, b"", b"x", None] == [await other.load(key) for key in ("v", "empty", "brief", "absent")]

        await asyncio.sleep(0.15)

        assert await other.load("brief") is None


async def test_every_key_has_the_prefix_and_expires(server: RedisServer) -> None:
    """Nothing is left behind: each key ends soon after what it says, and other prefixes have their own."""
    async with replica(server.url) as state, replica(server.url, prefix="yours") as other:
        await reserve(state, rate=1, burst=4)
        await state.admit_probe("p", "long", probes=2, lease_s=20)
        await state.admit_probe("p", "short", probes=2, lease_s=3)
        await state.store("v", b"x", 40)
        await other.store("v", b"y", 80)

    names = sorted(str(name, "utf-8") for name in await command(server.url, "KEYS", "*"))
    left_s = {name: await command(server.url, "PTTL", name) / 1000 for name in names}

    expected = {"mine:probe:p": 21, "mine:rate:ask": 2, "mine:value:v": 40, "yours:value:v": 80}
    assert pytest.approx(expected, abs=0.9) == left_s
