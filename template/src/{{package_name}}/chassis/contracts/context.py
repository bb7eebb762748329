"""Context: what accompanies a call through every layer without being an argument of it."""

import time
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import NamedTuple

from .identity import new_id


class Context(NamedTuple):
    """The surroundings of one call; a tuple because each call to a provider makes one.

    `deadline` is absolute, in seconds of `time.monotonic()`; None means that the caller set none.
    """

    correlation_id: str
    idempotency_key: str | None = None
    deadline: float | None = None

    def shortened(self, seconds: float) -> "Context":
        """Return the context with at most so many seconds left; a deadline only ever comes nearer."""
        limit = time.monotonic() + seconds
        return self if self.deadline is not None and self.deadline <= limit else self._replace(deadline=limit)

    def remaining_s(self) -> float | None:
        """Return the seconds left, at least 0, or None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


_CURRENT: ContextVar[Context | None] = ContextVar("context", default=None)


def current_or_none() -> Context | None:
    """Return the context of this task, or None outside any call."""
    return _CURRENT.get()


def current() -> Context:
    """Return the context of this task; outside any call a fresh one with a correlation id of its own."""
    return _CURRENT.get() or Context(correlation_id=new_id("cor"))


class _Entered:
    """A context manager by hand: each call to a provider enters one, and a generator would cost three times as much."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> Context:
        self._token = _CURRENT.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)


def entered(context: Context) -> AbstractContextManager[Context]:
    """Make `context` the current one for the block and everything it starts."""
    return _Entered(context)
