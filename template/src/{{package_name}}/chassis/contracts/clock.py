"""Clock: the only way to ask for the time or to wait, so that tests can move it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """Return the wall clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, on the event loop's scale."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellation ends the wait at once."""
        ...
