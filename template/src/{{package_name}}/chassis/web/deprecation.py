"""Deprecation: routes that will go, said with every answer of theirs and in the OpenAPI document."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any

from fastapi import Depends
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .route_table import RouteTable

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


class Deprecated:
    """Pure ASGI middleware: adds the headers of deprecated routes to all that they answer, problems included."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app
        self._table: RouteTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._deprecation(scope) if scope["type"] == "http" else None
        headers = found.headers() if found is not None else []

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        await self._app(scope, receive, marked if headers else send)

    def _deprecation(self, scope: Scope) -> Deprecation | None:
        if self._table is None:
            self._table = RouteTable(scope["app"])
        row = self._table.find(scope["method"], scope["path"])
        return row.nearest(Deprecation) if row is not None and row.serves(scope["method"]) else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
