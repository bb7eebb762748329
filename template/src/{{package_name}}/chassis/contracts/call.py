"""Call: what the pipeline has to know about an operation of a port, and what it did for one call."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a port.

    `idempotent`: repeating it changes nothing and costs nothing that matters.
    `control`: it steers long work (submit, poll, cancel) and gets the short time limits.
    """

    name: str
    idempotent: bool
    control: bool = False


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


@contextmanager
def recording() -> Iterator[CallRecord]:
    """Collect what the pipeline does inside the block."""
    record = CallRecord()
    token = _CURRENT.set(record)
    try:
        yield record
    finally:
        _CURRENT.reset(token)
