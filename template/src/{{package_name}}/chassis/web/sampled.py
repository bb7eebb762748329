"""Sampled: the middleware that decides of which requests the lines are written, once per request."""

import random
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..sampling import holding

FAILED_FROM = 400
"""Requests that end with this status, or a higher one, are never left out."""


class Sampled:
    """Pure ASGI middleware, outermost: a share of the requests is logged as a whole, of the others what went wrong."""

    def __init__(self, app: ASGIApp, share: float, draw: Callable[[], float] = random.random) -> None:
        """Wrap an application; `draw` returns a number from 0 to below 1, and below `share` all lines are written."""
        self._app = app
        self._share = share
        self._draw = draw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or self._draw() < self._share:
            await self._app(scope, receive, send)
            return
        complete, status = False, 0

        async def watched(message: Message) -> None:
            nonlocal complete, status
            status = message.get("status", status)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with holding() as held:
            try:
                await self._app(scope, receive, watched)
            except BaseException:
                held.release()
                raise
            if complete and status < FAILED_FROM:
                held.forget()
            else:
                held.release()
