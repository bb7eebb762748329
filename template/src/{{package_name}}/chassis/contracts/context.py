"""Context: what accompanies a call through every layer without being an argument of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from .identity import new_id


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one call.

    `deadline` is absolute, in seconds of `time.monotonic()`; None means that the caller set none.
    """

    correlation_id: str
    idempotency_key: str | None = None
    deadline: float | None = None

    def shortened(self, seconds: float) -> "Context":
        """Return the context with at most so many seconds left; a deadline only ever comes nearer."""
        limit = time.monotonic() + seconds
        return replace(self, deadline=limit if self.deadline is None else min(self.deadline, limit))

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


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Make `context` the current one for the block and everything it starts."""
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)
