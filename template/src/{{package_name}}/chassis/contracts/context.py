"""Context: what accompanies a call through every layer without being an argument of it."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .identity import new_id

MAX_KEY_CHARS = 255
"""Longest idempotency key."""

EVERY_SCOPE = "*"


class Principal(NamedTuple):
    """Who makes a call, as its credentials show: an id that stays when the credentials are renewed, and its scopes."""

    id: str
    scopes: frozenset[str] = frozenset()

    def has(self, scope: str) -> bool:
        """Tell whether the principal may do what needs this scope; `*` stands for every scope."""
        return scope in self.scopes or EVERY_SCOPE in self.scopes


class Context(NamedTuple):
    """The surroundings of one call; a tuple because each call to a provider makes one.

    `deadline` is absolute, in seconds of `time.monotonic()`; None means that the caller set none. `traceparent` is
    the caller's, in the form of version 00, or the span of this request where it is traced; `tracestate` is what came
    along with it. `caller` tells callers apart: the id of the principal, else a digest of the credentials that nobody
    checked, None without. `principal` is None where nobody was identified: without credentials, outside a request, and
    in a job, which acts for its `caller` and has no scopes.
    Source: W3C Trace Context, sections 3.2 and 3.3.
    """

    correlation_id: str
    idempotency_key: str | None = None
    traceparent: str | None = None
    deadline: float | None = None
    caller: str | None = None
    principal: Principal | None = None
    tracestate: str | None = None

    @property
    def trace_id(self) -> str:
        """The trace that the call belongs to; where nobody began one, it follows from the correlation id."""
        if self.traceparent is not None:
            return self.traceparent.split("-")[1]
        return hashlib.sha256(self.correlation_id.encode()).hexdigest()[:32]

    def shortened(self, seconds: float) -> "Context":
        """Return the context with at most so many seconds left; a deadline only ever comes nearer."""
        return self.until(time.monotonic() + seconds)

    def until(self, limit: float) -> "Context":
        """Return the context with a deadline at `limit`, unless it has a nearer one."""
        if self.deadline is not None and self.deadline <= limit:
            return self
        # A third of the time of `_replace`: this is on the way of every call.
        return tuple.__new__(Context, (*self[:3], limit, *self[4:]))

    def part(self, index: int) -> "Context":
        """Return the context of one of several calls made for this one: each has an idempotency key of its own.

        A key that would become too long is replaced by its SHA-256 in hex.
        """
        key = self.idempotency_key
        if key is None:
            return self
        own = f"{key}-{index}"
        short = own if len(own) <= MAX_KEY_CHARS else f"{hashlib.sha256(key.encode()).hexdigest()}-{index}"
        return self._replace(idempotency_key=short)

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


def id_of_key(prefix: str, *parts: str) -> str | None:
    """Return the id that belongs to the Idempotency-Key of this task, its caller and `parts`; None without a key."""
    context = current_or_none()
    if context is None or context.idempotency_key is None:
        return None
    whole = "\0".join((*parts, context.caller or "", context.idempotency_key))
    return f"{prefix}_{hashlib.sha256(whole.encode()).hexdigest()[:32]}"


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Make `context` the current one for the block and everything it starts."""
    token = CURRENT.set(context)
    try:
        yield context
    finally:
        CURRENT.reset(token)
