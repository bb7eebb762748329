"""Sampling: lines that tell of nothing wrong are held back until it is known how their request ends.

Warnings and errors are never held back, and the lines of a request that failed come out after all, with the time at
which they were logged.
"""

import json
import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from typing import TextIO, override

MAX_HELD = 1000
"""Lines that are kept of one request at most, the newest."""


class Held:
    """The lines of one request that are held back, those of the work that it began included."""

    __slots__ = ("_lines", "released")

    def __init__(self) -> None:
        """Begin without lines."""
        self.released = False
        self._lines: deque[tuple[SampledHandler, logging.LogRecord, Context]] = deque(maxlen=MAX_HELD)

    def hold(self, handler: "SampledHandler", record: logging.LogRecord) -> None:
        """Keep a line, with the context that it speaks of."""
        self._lines.append((handler, record, copy_context()))

    def release(self) -> None:
        """Write what was held back, and hold nothing back from now on."""
        self.released = True
        while self._lines:
            handler, record, context = self._lines.popleft()
            context.run(handler.write, record)

    def forget(self) -> None:
        """Drop what was held back; lines that are still to come are held back as before."""
        self._lines.clear()


_HELD: ContextVar[Held | None] = ContextVar("held", default=None)


@contextmanager
def holding() -> Iterator[Held]:
    """Hold back the lines of the block, and of what it starts."""
    held = Held()
    token = _HELD.set(held)
    try:
        yield held
    finally:
        _HELD.reset(token)


class SampledHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, unless they are held back."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        held = _HELD.get()
        if held is not None and not held.released:
            if record.levelno < logging.WARNING:
                held.hold(self, record)
                return
            held.release()
        self.write(record)

    def write(self, record: logging.LogRecord) -> None:
        """Write a line that was held back, or never was."""
        super().emit(record)

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Say that a line was lost, and why; the standard library would print what it was to tell, unredacted."""
        lost = {"event": "line_lost", "level": "error", "logger": record.name, "error": type(sys.exception()).__name__}
        with suppress(Exception):
            self.stream.write(f"{json.dumps(lost)}\n")
