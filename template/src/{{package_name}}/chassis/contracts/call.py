"""Call record: what the pipeline did for a call, told to the provenance of its result."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


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
