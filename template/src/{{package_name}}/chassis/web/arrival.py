"""Arrival: how slowly the body of a request may come."""

import asyncio
import math
import time

from starlette.types import Message, Receive

from ..contracts.context import current
from .settings import HttpSection


async def nothing() -> Message:
    """Receive for an answer that reads nothing of its request."""
    return {"type": "http.disconnect"}


class LateBodyError(Exception):
    """A body comes too slowly; carries the code and the text of the problem."""

    def __init__(self, code: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.code = code
        self.text = text


class Arrival:
    """The messages of one request, each within the time that its body is given.

    A part has to come within `body_idle_s` and before the caller's deadline. Together the parts may be waited for
    `body_idle_s` longer than `body_min_bytes_per_s` allows, so that drops of a byte do not hold a place for ever;
    time in which the service itself reads nothing does not count.
    """

    def __init__(self, receive: Receive, section: HttpSection) -> None:
        """Wrap what receives messages."""
        self._receive = receive
        self._idle_s = section.body_idle_s
        self._bytes_per_s = section.body_min_bytes_per_s
        self._arriving = True
        self._bytes = 0
        self._waited_s = 0.0

    async def next(self) -> Message:
        """Return the next message; once the body is complete, without a limit.

        Raises:
            LateBodyError: if it did not come in time; what comes later is not part of a body any more.
        """
        if not self._arriving:
            return await self._receive()
        left_s = current().remaining_s()
        due_s = self._due_s()
        begun = time.monotonic()
        try:
            async with asyncio.timeout(min(due_s, self._idle_s, math.inf if left_s is None else left_s)):
                message = await self._receive()
        except TimeoutError:
            self._arriving = False
            raise self._late(due_s, left_s) from None
        self._waited_s += time.monotonic() - begun
        self._bytes += len(message.get("body", b""))
        self._arriving = bool(message.get("more_body", False))
        return message

    def _due_s(self) -> float:
        """Return how long the body may be waited for from now on."""
        if not self._bytes_per_s:
            return math.inf
        return max(0.0, self._idle_s + self._bytes / self._bytes_per_s - self._waited_s)

    def _late(self, due_s: float, left_s: float | None) -> LateBodyError:
        if left_s is not None and left_s <= min(due_s, self._idle_s):
            text = "The time allowed for the request ran out while its body arrived."
            return LateBodyError("deadline_exceeded", text)
        if due_s < self._idle_s:
            text = f"Expected at least {self._bytes_per_s} bytes of the body per second."
            return LateBodyError("invalid_request", text)
        return LateBodyError("invalid_request", f"Expected the next part of the body within {self._idle_s:g} s.")
