"""Shared state: what replicas agree on through Redis. Only state; what to do without Redis is the caller's choice.

The scripts take the time from Redis, so that the clocks of the replicas do not matter; they need Redis 5 or later.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..redis import Reach, RedisLine
from .settings import Timeouts

if TYPE_CHECKING:
    from ..redis import Redis
    from .pipeline import Call

_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = 1000000 / tonumber(ARGV[1])
local tolerance = (tonumber(ARGV[2]) - 1) * interval
local next_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local wait = math.max(0, next_at - tolerance - now)
local too_long = wait - tonumber(ARGV[3]) * 1000000
if too_long > 0 then return {0, math.ceil(too_long), math.ceil(next_at - now)} end
next_at = next_at + interval
redis.call('SET', KEYS[1], string.format('%.17g', next_at), 'PX', math.ceil((next_at - now) / 1000) + 1000)
return {1, math.ceil(wait), math.ceil(next_at - now)}
"""
"""In microseconds. The key outlives its meaning by a second: expiry follows a coarser clock than TIME.

Source: ITU-T I.371, generic cell rate algorithm (virtual scheduling), as in `limits.RateLimiter`.
"""

_ADMIT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] + 1000)
return 1
"""
"""In milliseconds: the tokens that probe, sorted by the end of their lease."""

_SCRIPTS_AT_ONCE = 200
_VALUES_AT_ONCE = 20
"""Values can be large, so they go over a line of their own and hold no limit up."""

_LONGEST_S = 10 * 365 * 24 * 3600.0


class SharedState:
    """What replicas agree on through Redis; every method returns None when Redis is away, and never raises.

    Methods with different names never share a key. Being cancelled leaves the connection whole; a place in the rate
    that was asked for stays taken, a probe's is given back. Belongs to one event loop.
    """

    def __init__(
        self, redis: "Redis", prefix: str, *, timeout_s: float = 0.1, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take a client to own, what every key begins with, the longest time for a question, and a monotonic clock."""
        self._prefix = prefix
        self._redis = redis
        reach, check_key = Reach(now), f"{prefix}:check"
        self._line = RedisLine(redis, reach, check_key, timeout_s=timeout_s, most_at_once=_SCRIPTS_AT_ONCE)
        self._values = RedisLine(redis, reach, check_key, timeout_s=timeout_s, most_at_once=_VALUES_AT_ONCE)

    async def reserve(self, key: str, *, rate_per_s: float, burst: int, max_wait_s: float) -> tuple[bool, float] | None:
        """Take the next place in the rate; the answer means what `limits.RateLimiter.reserve` returns."""
        name = f"{self._prefix}:rate:{key}"
        reserved = await self._line.ask(_reservation, "EVAL", _RESERVE, 1, name, rate_per_s, burst, max_wait_s)
        return None if reserved is None else reserved[:2]

    async def take(self, key: str, *, rate_per_s: float, burst: int) -> tuple[bool, float, float] | None:
        """Take a place in the rate that is free now.

        Returns:
            Whether there was one, the seconds until the next one if not, and those until all of them are free.
        """
        name = f"{self._prefix}:caller:{key}"
        return await self._line.ask(_reservation, "EVAL", _RESERVE, 1, name, rate_per_s, burst, 0)

    async def admit_probe(self, key: str, token: str, *, probes: int, lease_s: float) -> bool | None:
        """Tell whether this probe may run: `probes` at once over all replicas, each for `lease_s` at most.

        A token that probes already is let in again, with a new lease.
        """
        name = f"{self._prefix}:probe:{key}"
        try:
            return await self._line.ask(_admission, "EVAL", _ADMIT, 1, name, token, probes, _milliseconds(lease_s))
        except asyncio.CancelledError:
            self._line.tell("ZREM", name, token)
            raise

    def end_probe(self, key: str, token: str) -> None:
        """Give the place of a probe back, without waiting."""
        self._line.tell("ZREM", f"{self._prefix}:probe:{key}", token)

    async def load(self, key: str) -> bytes | None:
        """Return what is stored, None also when there is nothing."""
        return await self._values.ask(_content, "GET", f"{self._prefix}:value:{key}")

    async def store(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for a time; done even when the caller is cancelled meanwhile."""
        name = f"{self._prefix}:value:{key}"
        await self._values.ask(_nothing, "SET", name, value, "PX", _milliseconds(ttl_s))

    async def aclose(self) -> None:
        """Wait for what is under way and close the connection; can be repeated."""
        await self._line.aclose()
        await self._values.aclose()
        with suppress(Exception):  # a connection that cannot be closed is gone
            await self._redis.aclose()


class SharedAdmission:
    """Leave to probe by Redis; while that is away, every replica probes for itself."""

    def __init__(self, shared: SharedState, probes: int, timeouts: Timeouts) -> None:
        """Take the probes that run at once over all replicas, and the limits after which a lost one counts no more."""
        self._shared = shared
        self._probes = probes
        self._timeouts = timeouts

    async def admit(self, call: "Call", token: str) -> bool:
        """Tell whether this probe may run."""
        key = _probe_key(call)
        lease_s = self._timeouts.of_probe(control=call.operation.control, stream=call.pipe is not None)
        admitted = await self._shared.admit_probe(key, token, probes=self._probes, lease_s=lease_s)
        return admitted is not False

    def end(self, call: "Call", token: str) -> None:
        """Give the place of a probe back, without waiting; a second time does nothing."""
        self._shared.end_probe(_probe_key(call), token)


def _probe_key(call: "Call") -> str:
    return f"probe:{call.provider}:{call.operation.name}"


def _reservation(answer: Any) -> tuple[bool, float, float]:
    match answer:
        case [int(taken), int(wait), int(all_free)]:
            return taken == 1, wait / 1_000_000, all_free / 1_000_000
        case _:
            raise TypeError(answer)


def _admission(answer: Any) -> bool:
    if not isinstance(answer, int):
        raise TypeError(answer)
    return answer == 1


def _content(answer: Any) -> bytes | None:
    if not isinstance(answer, bytes | None):
        raise TypeError(answer)
    return answer


def _nothing(answer: Any) -> None:
    del answer


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * min(seconds, _LONGEST_S)))
