"""Deprecation: routes that will go, said with every answer of theirs and in the OpenAPI document."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import pattern_of

MIN_DAYS = 180
"""How long something deprecated works at least: six months."""


@dataclass(frozen=True, slots=True)
class Deprecation:
    """When a route was deprecated, when it goes, and the page that says what to use.

    It stands among the dependencies of routes, and does nothing there.
    """

    since: date
    sunset: date
    link: str

    async def __call__(self) -> None:
        """Do nothing: the headers are added to whatever is answered."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what answers say. Source: RFC 9745, RFC 8594, RFC 8288."""
        found = {
            "deprecation": f"@{int(_midnight(self.since).timestamp())}",
            "sunset": format_datetime(_midnight(self.sunset), usegmt=True),
            "link": f'<{self.link}>; rel="deprecation"; type="text/html"',
        }
        return [(name.encode(), value.encode()) for name, value in found.items()]


def deprecated(*, since: str, sunset: str, link: str) -> Any:
    """Return a dependency that deprecates a route, or every route of a router; dates such as 2026-11-22, in UTC.

    Raises:
        ValueError: if a date is none, or callers had less than six months.
    """
    found = Deprecation(date.fromisoformat(since), date.fromisoformat(sunset), link)
    if (found.sunset - found.since).days < MIN_DAYS:
        message = f"deprecated: expected a sunset {MIN_DAYS} days after {since} or later, not {sunset}"
        raise ValueError(message)
    return Depends(found)


def deprecations(app: FastAPI) -> Iterator[tuple[re.Pattern[str], Sequence[str], Deprecation]]:
    """Yield the deprecated routes: what their paths look like, their methods, and the nearest deprecation."""
    for context in iter_route_contexts(app.routes):
        stated = [item.dependency for item in getattr(context, "dependencies", None) or ()]
        found = [one for one in stated if isinstance(one, Deprecation)]
        if found:
            yield pattern_of(context), tuple(context.methods or ()), found[-1]


class Deprecated:
    """Pure ASGI middleware: adds the headers of deprecated routes to all that they answer, problems included."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app
        self._rows: Sequence[tuple[re.Pattern[str], Sequence[str], Deprecation]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._rows is None and scope["type"] == "http":
            self._rows = list(deprecations(scope["app"]))
        rows = self._rows if scope["type"] == "http" else None
        headers = next((found.headers() for path, methods, found in rows or () if _is(scope, path, methods)), None)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *(headers or ())]}
            await send(message)

        await self._app(scope, receive, send if headers is None else marked)


def _is(scope: Scope, path: re.Pattern[str], methods: Sequence[str]) -> bool:
    return scope["method"] in methods and path.match(scope["path"]) is not None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
