"""Rates: exact for each caller, bounded in memory, shared by replicas, and never the reason for a failed request."""

import asyncio
import logging
import random
from collections import deque
from pathlib import Path

import pytest

from chassis.doubles import VirtualClock
from object_service.chassis.web.rates import Buckets, CallerLimits, Decision
from object_service.chassis.web.settings import LimitsSection
from redis_server import RedisServer, replica


def _limits(**rates: dict[str, float]) -> LimitsSection:
    return LimitsSection.model_validate(rates)


def test_a_burst_then_the_rate() -> None:
    """After a rest the whole burst at once, then one whenever its time has come; each caller for itself."""
    clock = VirtualClock()
    buckets = Buckets(2, 3, 100, clock.monotonic)

    assert [True, True, True, False] == [buckets.take("a").allowed for _ in range(4)]
    assert Decision(allowed=False, wait_s=0.5, full_s=1.5) == buckets.take("a")
    assert buckets.take("b").allowed
    clock.seconds += 0.5
    assert [True, False] == [buckets.take("a").allowed for _ in range(2)]
    clock.seconds += 100
    assert [True, True, True, False] == [buckets.take("a").allowed for _ in range(4)]


def test_no_window_ever_has_more() -> None:
    """In any stretch of time: the burst and the rate, whatever the pattern; and no less is let through."""
    chance = random.Random(7)  # noqa: S311 - the same pattern in every run
    clock = VirtualClock()
    buckets = Buckets(5, 4, 100, clock.monotonic)
    taken: deque[float] = deque()
    for _ in range(5000):
        clock.seconds += chance.choice([0, 0, 0.01, 0.3, 2])
        if buckets.take("a").allowed:
            taken.append(clock.monotonic())
    times = list(taken)

    for first in range(0, len(times), 7):
        for last in range(first, min(first + 40, len(times))):
            assert last - first + 1 <= 4 + 5 * (times[last] - times[first]) + 1e-6
    assert len(times) > 1000


def test_memory_has_a_ceiling() -> None:
    """However many addresses an attacker has; whoever is busy is remembered, and old ones go by themselves."""
    clock = VirtualClock()
    buckets = Buckets(0.001, 1, 100, clock.monotonic)
    buckets.take("busy")
    for number in range(10_000):
        buckets.take(str(number))
        assert not buckets.take("busy").allowed

    assert 100 == len(buckets)
    quick = Buckets(1000, 1, 100_000, clock.monotonic)
    for number in range(1000):
        quick.take(str(number))
        clock.seconds += 0.002
    assert len(quick) <= 2


async def test_without_a_rate_there_is_no_limit() -> None:
    """Addresses and principals are limited when somebody says how; wrong credentials always, unless told otherwise."""
    limits = CallerLimits(LimitsSection())
    off = CallerLimits(_limits(failures={"rate_per_s": 0}))

    assert (None, None, True) == (limits.address, limits.principal, limits.failures is not None)
    assert off.failures is None


async def test_headers_tell_what_is_left() -> None:
    """Quota, the time in which it comes back, the rest, and the time until it is whole."""
    clock = VirtualClock()
    limit = CallerLimits(_limits(address={"rate_per_s": 0.5, "burst": 10}), now=clock.monotonic).address
    assert limit is not None

    seen = [dict(limit.headers(await limit.take("a"))) for _ in range(11)]

    assert {b'"address";q=10;w=20'} == {headers[b"ratelimit-policy"] for headers in seen}
    assert [b'"address";r=9;t=2', b'"address";r=8;t=4'] == [headers[b"ratelimit"] for headers in seen[:2]]
    assert [b'"address";r=0;t=20'] * 2 == [headers[b"ratelimit"] for headers in seen[9:]]


async def test_a_blocked_address_is_free_after_its_time(caplog: pytest.LogCaptureFixture) -> None:
    """Those who go on guessing wait, and are told of once; the number of addresses has a ceiling."""
    clock = VirtualClock()
    section = _limits(failures={"rate_per_s": 0.1, "burst": 2}, max_callers=5)  # type: ignore[arg-type] # a number
    failures = CallerLimits(section, now=clock.monotonic).failures
    assert failures is not None
    assert [None, None] == [await failures.wrong("a") for _ in range(2)]

    for _ in range(3):
        assert Decision(allowed=False, wait_s=10, full_s=20) == await failures.wrong("a")
        clock.seconds += 4
        assert Decision(allowed=False, wait_s=6, full_s=16) == await failures.wrong("a")
        clock.seconds += 6
        assert await failures.wrong("a") is None, "one more"
    assert ["a"] == [vars(record)["address"] for record in caplog.records]
    clock.seconds += 20
    assert [None, None] == [await failures.wrong("a") for _ in range(2)]
    await failures.wrong("a")
    assert 2 == len(caplog.records), "a second time"

    for number in range(20):
        for _ in range(3):
            await failures.wrong(str(number))
    assert 5 == len(failures)


async def test_replicas_share_a_rate_and_survive_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two replicas let through what one may; with Redis away each lets its part through, and that is said once."""
    section = _limits(address={"rate_per_s": 0.01, "burst": 10}, replicas=2)  # type: ignore[arg-type] # a number
    with RedisServer(tmp_path) as server:
        async with replica(server.url) as one, replica(server.url) as other:
            limits = [CallerLimits(section, shared).address for shared in (one, other)]
            decisions = [await limit.take("a") for _ in range(8) for limit in limits if limit]
            assert 10 == sum(decision.allowed for decision in decisions)
            refused = decisions[-1]
            assert 90 < refused.wait_s <= 100
            assert 990 < refused.full_s <= 1000
            server.kill()
            with caplog.at_level(logging.WARNING):
                away = await asyncio.gather(*(limit.take("a") for _ in range(8) for limit in limits if limit))

    assert 10 == sum(decision.allowed for decision in away), "5 of each"
    assert ["redis_unavailable"] * 2 == [record.message for record in caplog.records], "once for each replica"
