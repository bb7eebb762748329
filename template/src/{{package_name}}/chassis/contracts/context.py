"""Context: what accompanies a call through every layer without being an argument of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        return self.until(time.monotonic() + seconds)

    def until(self, limit: float) -> "Context":
        """Return the context with a deadline at `limit`, unless it has a nearer one."""
        if self.deadline is not None and self.deadline <= limit:
            return self
        # A third of the time of `_replace`; the deadline is the last field.
        return tuple.__new__(Context, (*self[:-1], limit))

    def remaining_s(self) -> float | None:
        """Return the seconds left, at least 0, or None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


CURRENT: ContextVar[Context | None] = ContextVar("context", default=None)
"""Set and reset by `entered`, and by hand on the way of every call."""


def current_or_none() -> Context | None:
    """Return the context of this task, or None outside any call."""
    return CURRENT.get()


def current() -> Context:
    """Return the context of this task; outside any call a fresh one with a correlation id of its own."""
    return CURRENT.get() or Context(correlation_id=new_id("cor"))


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Make `context` the current one for the block and everything it starts."""
    token = CURRENT.set(context)
    try:
        yield context
    finally:
        CURRENT.reset(token)
