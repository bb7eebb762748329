"""Call: what the pipeline has to know about an operation of a port, and what it did for one call."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a port.

    `idempotent`: repeating it changes nothing and costs nothing that matters.
    `control`: it steers long work (submit, poll, cancel) and gets the short time limits.
    `returns`: an answer that is awaited, a stream (an async iterator), or a session (an async context manager).
    `check_request` gets the arguments of the method and raises RequestError; `check_answer` gets the answer and
    raises ValueError for one that cannot be right. Both are pure.
    """

    name: str
    idempotent: bool
    control: bool = False
    returns: Literal["answer", "stream", "session"] = "answer"
    check_request: Callable[..., None] | None = None
    check_answer: Callable[[Any], None] | None = None

    @property
    def bound(self) -> bool:
        """Tell whether it refers to work that one provider has begun and no other knows."""
        return self.control and self.idempotent


@dataclass(slots=True)
class CallRecord:
    """Filled in by the pipeline while the call runs.

    `attempts` counts the times a provider was called; `provider` and `kind` are set when another one than
    the chosen one answered.
    """

    attempts: int = 0
    fallback_used: bool = False
    provider: str | None = None
    kind: str | None = None


_CURRENT: ContextVar[CallRecord | None] = ContextVar("call_record", default=None)


def current_record() -> CallRecord | None:
    """Return the record that is being filled, if any."""
    return _CURRENT.get()


HELD: ContextVar[list[Future[Any]] | None] = ContextVar("held", default=None)
"""Threads of the current attempt: its place in the bulkhead is taken until they have ended."""


@contextmanager
def recording(record: CallRecord | None = None) -> Iterator[CallRecord]:
    """Collect what the pipeline does inside the block, in a new record or in the given one."""
    record = record or CallRecord()
    token = _CURRENT.set(record)
    try:
        yield record
    finally:
        _CURRENT.reset(token)
