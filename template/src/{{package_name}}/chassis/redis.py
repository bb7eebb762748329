"""Redis: its settings, its client, and the line over which questions reach it; what they mean is decided elsewhere.

The client belongs to the extra `redis` and is imported when it is opened, not before.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import Context
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from pydantic import Field, RedisDsn

from .config.section import Section
from .identity import SERVICE

_log = logging.getLogger(__name__)

_ASK_AGAIN_S = 1.0
"""How long Redis is left alone after a question went unanswered."""

_BUSY = 2
"""A time limit that ends this many times too late says nothing about Redis."""

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
    answer: "asyncio.Future[Any] | None" = None


class Reach:
    """Whether Redis can be reached; says so in the log when that changes."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Believe that it can; `now` is a monotonic clock in seconds."""
        self._now = now
        self._ask_at = 0.0
        self.away = False

    def may_ask(self) -> bool:
        """Tell whether to ask: always while Redis can be reached, once in `_ASK_AGAIN_S` while it cannot."""
        if self.away:
            if self._now() < self._ask_at:
                return False
            self._ask_at = self._now() + _ASK_AGAIN_S
        return True

    def lost(self, error: Exception) -> None:
        """Note a question that went unanswered; the error's text is not logged, for it can quote a password."""
        self._ask_at = self._now() + _ASK_AGAIN_S
        if not self.away:
            self.away = True
            _log.warning("redis_unavailable", extra={"reason": type(error).__name__})

    def found(self) -> None:
        """Note that whoever tried again was answered as it should be."""
        self.away = False
        _log.info("redis_available")


class RedisLine:
    """A line to Redis: questions that come together are sent together, in order, over one connection.

    Whoever asks only waits: being cancelled neither stops what was sent nor costs the connection. When Redis does
    not answer, or not as it should, it is away: every question is answered with None, at once but for one in
    `_ASK_AGAIN_S` that tries again. Belongs to one event loop.
    """

    def __init__(self, redis: Redis, reach: Reach, check_key: str, *, timeout_s: float, most_at_once: int) -> None:
        """Take what lines to one Redis share, a key to write when Redis comes back, and the bounds of a message."""
        self._redis = redis
        self._reach = reach
        self._check = _Question((*_CHECK, check_key), lambda _: None)
        self._timeout_s = timeout_s
        self._most_at_once = most_at_once
        self._waiting: list[_Question] = []
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    async def ask[T](self, read: Callable[[Any], T], *command: Argument) -> T | None:
        """Return what `read` makes of the answer to a command; None when Redis is away.

        While Redis is away, `timeout_s` at most go by, twice that when it went away right after an answer. `read`
        raises TypeError at what cannot be an answer.
        """
        answer = self._put(read, command)
        return None if answer is None else await answer

    def tell(self, *command: Argument) -> None:
        """Send a command without waiting for its answer; it comes before whatever is asked later on this line."""
        self._put(lambda _: None, command)

    async def aclose(self) -> None:
        """Wait for what is under way; for whoever asks later, Redis is away. The client stays open."""
        self._closed = True
        if self._sending is not None:
            await asyncio.wait({self._sending})

    def _put(self, read: Callable[[Any], Any], command: tuple[Argument, ...]) -> "asyncio.Future[Any] | None":
        if self._closed or not self._reach.may_ask():
            return None
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.append(_Question(command, read, answer))
        if self._sending is None:
            self._sending = loop.create_task(self._send(), context=Context())  # an outage belongs to no call
        return answer

    async def _send(self) -> None:
        """Send what waits until nothing does; nobody is left without an answer."""
        batch: list[_Question] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most_at_once], self._waiting[self._most_at_once :]
                await self._exchange(batch)
        finally:
            self._sending = None
            _give_up([*batch, *self._waiting])

    async def _exchange(self, batch: list[_Question]) -> None:
        checked = self._reach.away
        questions = [*batch, self._check] if checked else batch
        pipeline = self._redis.pipeline(transaction=False)
        for question in questions:
            pipeline.execute_command(*question.command)
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001 - what a client raises at garbage is not all its own
            _give_up(batch)
            if time.monotonic() - begun < _BUSY * self._timeout_s:  # otherwise this process was late, not Redis
                self._lost(error)
            return
        problems = [_settle(question, answer) for question, answer in zip(questions, answers, strict=True)]
        problem = next(filter(None, problems), None)
        if problem is not None:
            self._lost(problem)
        elif checked:
            self._reach.found()

    def _lost(self, error: Exception) -> None:
        unanswered, self._waiting = self._waiting, []
        _give_up(unanswered)
        self._reach.lost(error)


def _settle(question: _Question, answer: Any) -> Exception | None:
    """Give an answer to whoever asked; return what is wrong with it."""
    value, problem = None, None
    if isinstance(answer, Exception):
        problem = answer
    else:
        try:
            value = question.read(answer)
        except TypeError as error:
            problem = error
    if question.answer is not None and not question.answer.done():
        question.answer.set_result(value)
    return problem


def _give_up(questions: list[_Question]) -> None:
    for question in questions:
        if question.answer is not None and not question.answer.done():
            question.answer.set_result(None)
