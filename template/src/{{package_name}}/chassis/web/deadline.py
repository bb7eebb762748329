"""Deadline: how long a request may take until its answer begins."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.context import current
from .problems import problem

_LAST_WORDS_S = 2.0
"""What is inside ends at the caller's deadline, and says more about it than can be said here, on a busy machine too."""


class Deadline:
    """Pure ASGI middleware that ends a request which takes too long.

    A body has limits of its own while it arrives, and so has an answer that has begun: the time of a stream is its
    provider's. `X-Request-Timeout` can only shorten the time.
    """

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        """Wrap an application; `timeout_s` counts from the last part of the body."""
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or tell its caller that the time is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        asked = current().deadline
        last = None if asked is None else asked + _LAST_WORDS_S
        begun = over = False

        def end() -> float:
            own = loop.time() + self._timeout_s
            return own if last is None else min(own, last)

        async def arriving() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not (begun or over or timer.expired()):
                timer.reschedule(end())
            return message

        async def leaving(message: Message) -> None:
            nonlocal begun
            if not (begun or over or timer.expired()):
                timer.reschedule(None)
            begun = True
            await send(message)

        timer = asyncio.timeout_at(end())
        try:
            async with timer:
                await self._app(scope, arriving, leaving)
        except TimeoutError:
            if begun or not timer.expired():
                raise
            over = True
            text = "The time allowed for the request ran out before it was answered."
            await problem("deadline_exceeded", text, instance=scope["path"])(scope, receive, send)
        finally:
            over = True
