"""Deadlines: what a caller waits for here ends with the time that the caller allows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, override

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ...chassis.contracts.context import current
from ...chassis.contracts.errors import ServiceError


class TimedRoute(APIRoute):
    """A route that answers until the deadline of the request, whatever it waits for: a lock, a connection, a statement.

    An answer that comes in pieces has begun by then, and is not cut off.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        serve = super().get_route_handler()

        async def in_time(request: Request) -> Response:
            if current().deadline is None:
                return await serve(request)
            async with until_deadline():
                return await serve(request)

        return in_time


@asynccontextmanager
async def until_deadline() -> AsyncIterator[None]:
    """Cut a block off at the deadline of the request.

    Raises:
        ServiceError: `deadline_exceeded`.
    """
    limit = asyncio.timeout(current().remaining_s())
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        text = "The time allowed for the request ran out."
        raise ServiceError(text, code="deadline_exceeded", user_message=text) from error
