"""Doubles, each named after the port it stands in for."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from object_service.chassis.contracts.call import Operation
from object_service.chassis.resilience.pipeline import Call, Proceed

MOMENT = datetime(2026, 11, 21, 1, 2, 3, 100, tzinfo=UTC)


class VirtualClock:
    """A clock that only moves when somebody sleeps; it remembers every pause."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.seconds = 0.0
        self.pauses: list[float] = []

    def now(self) -> datetime:
        """Return a fixed moment."""
        return MOMENT

    def monotonic(self) -> float:
        """Return the seconds slept so far."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move the time without waiting."""
        self.pauses.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class Spy:
    """A middleware that notes when it is entered and left."""

    def __init__(self, name: str, notes: list[str], change: Callable[[Call], Call] = lambda call: call) -> None:
        """Take a name, the list to write to, and what to do with the call."""
        self.name = name
        self._notes = notes
        self._change = change

    async def __call__(self, call: Call, proceed: Proceed) -> Any:
        """Pass the changed call on."""
        self._notes.append(f"enter {self.name}")
        try:
            return await proceed(self._change(call))
        finally:
            self._notes.append(f"leave {self.name}")


class Greeter:
    """A port with one costly operation, one that steers, and one that reads."""

    def __init__(self) -> None:
        """Begin open and never called."""
        self.calls: list[str] = []
        self.closed = False
        self.label = "greeter"

    async def greet(self, name: str, *, loud: bool = False) -> str:
        """Return a greeting."""
        self.calls.append(name)
        return f"HELLO {name}" if loud else f"hello {name}"

    async def begin(self) -> str:
        """Start something."""
        return "job"

    async def read(self) -> str:
        """Read something."""
        return "done"

    async def aclose(self) -> None:
        """Remember having been closed."""
        self.closed = True


OPERATIONS = {
    "greet": Operation("greet", idempotent=False),
    "begin": Operation("begin", idempotent=False, control=True),
    "read": Operation("read", idempotent=True, control=True),
}
