"""Redis: its settings, its client, and the line over which questions reach it; what they mean is decided elsewhere.

The client belongs to the extra `redis` and is imported when it is opened, not before.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from pydantic import Field, RedisDsn

from .config.section import Section
from .identity import SERVICE

_log = logging.getLogger(__name__)

_ASK_AGAIN_S = 1.0
"""How long Redis is left alone after a question went unanswered."""

_MOST_AT_ONCE = 200
"""Questions in one message: a few milliseconds of work for this process."""

_CHECK = ("EVAL", "redis.call('TIME'); return redis.call('SET', KEYS[1], 1, 'PX', 1000)", 1)
"""Proves that Redis runs scripts and writes: one that only reads, or is full, is still away."""

type Argument = str | bytes | int | float


class MissingExtraError(Exception):
    """A package is missing that an extra of this service brings."""


class RedisSection(Section):
    """Where Redis is, and how long to wait for it."""

    url: RedisDsn = Field(
        default=RedisDsn("redis://127.0.0.1:6379/0"),
        repr=False,
        description="Where the Redis is that replicas share: redis://user:password@host:port/0, or rediss:// with TLS.",
    )
    timeout_s: float = Field(default=0.1, gt=0, description="Longest time for one question to Redis, in seconds.")


class Pipeline(Protocol):
    """Commands that are sent together."""

    def execute_command(self, *arguments: Argument) -> object:
        """Add a command."""
        ...

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        """Send the commands; return the answers, with errors among them unless they are raised."""
        ...


class Redis(Protocol):
    """What is needed of a client; `redis.asyncio.Redis` is one."""

    def pipeline(self, *, transaction: bool) -> Pipeline:
        """Return an empty list of commands."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def open_redis(section: RedisSection) -> Redis:
    """Return a client that never repeats a command; it connects with the first one.

    Raises:
        MissingExtraError: without the extra `redis`.
    """
    try:
        client, backoff, retry = (import_module(f"redis.{name}") for name in ("asyncio", "backoff", "asyncio.retry"))
    except ImportError as error:
        message = "Redis needs the extra 'redis': uv sync --extra redis"
        raise MissingExtraError(message) from error
    redis: Redis = client.Redis.from_url(
        str(section.url),
        protocol=2,  # no greeting of its own, and nothing here needs more
        retry=retry.Retry(backoff.NoBackoff(), 0),
        socket_timeout=section.timeout_s,
        socket_connect_timeout=section.timeout_s,
        client_name=SERVICE,
        driver_info=None,
    )
    return redis


class _Question(NamedTuple):
    command: tuple[Argument, ...]
    read: Callable[[Any], Any]
    answer: "asyncio.Future[Any]"


class RedisLine:
    """The line to one Redis: questions that come together are sent together, in order, over one connection.

    Whoever asks only waits: being cancelled neither stops what was sent nor costs the connection. When Redis does
    not answer, or not as it should, it is away: every question is answered with None, at once but for one in
    `_ASK_AGAIN_S` that tries again. Belongs to one event loop.
    """

    def __init__(self, redis: Redis, key: str, timeout_s: float, now: Callable[[], float]) -> None:
        """Take a client to own, a key to prove that Redis is back, and a monotonic clock in seconds."""
        self._redis = redis
        self._check = _Question((*_CHECK, key), lambda answer: answer, asyncio.Future())
        self._timeout_s = timeout_s
        self._now = now
        self._waiting: list[_Question] = []
        self._sending: asyncio.Task[None] | None = None
        self._away = False
        self._closed = False
        self._ask_at = 0.0

    async def ask[T](self, read: Callable[[Any], T], *command: Argument) -> T | None:
        """Return what `read` makes of the answer to a command; None when Redis is away.

        Waits `timeout_s` at most, twice that when Redis goes away right after it answered the question before.
        `read` raises TypeError at an answer that cannot be.
        """
        question = self._put(read, command)
        return None if question is None else await question.answer

    def tell(self, *command: Argument) -> None:
        """Send a command without waiting for the answer; it stands before everything that is asked later."""
        self._put(lambda _: None, command)

    async def aclose(self) -> None:
        """Wait for what is under way and close the connection; whoever asks later hears that Redis is away."""
        self._closed = True
        if self._sending is not None:
            await asyncio.wait({self._sending})
        with suppress(Exception):
            await self._redis.aclose()
