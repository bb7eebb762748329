"""Access: who may use which route. Closed where nothing says otherwise, paths that lead nowhere included."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from fastapi.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth.authentication import Authentication
from ..contracts.context import Principal, current, entered
from ..contracts.errors import ServiceError
from ..identity import SERVICE
from .arrival import nothing
from .problems import problem
from .route_table import RouteTable, Row

OPERATIONS = "ops"
"""Scope of what operators ask: metrics, details of readiness, what runs here."""

UNIDENTIFIED = "unidentified"
"""Stands in the scope of a request whose credentials identify nobody, unless everybody is served."""

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)")


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks of its callers: a scope; without one nothing, or (`signed`) that it checks a signature itself.

    It stands among the dependencies of routes, and does nothing there.
    """

    scope: str | None = None
    signed: bool = False

    async def __call__(self) -> None:
        """Do nothing: access is decided before anything of a request is read."""


def needs(scope: str) -> Any:
    """Return a dependency that says which scope a route, or every route of a router, needs: the nearest one holds."""
    return Depends(Access(scope))


OPEN: Any = Depends(Access())
"""A dependency: everybody may call the route."""

SIGNED: Any = Depends(Access(signed=True))
"""A dependency: the route checks a signature of its own; its callers show no credentials."""


def access_of(row: Row, scopes: Mapping[int, str]) -> Access:
    """Return what a route needs; `scopes` is what each that says nothing itself needs, by its `id`."""
    return row.nearest(Access) or Access(scopes.get(id(row.route), OPERATIONS))


class Authenticated:
    """Pure ASGI middleware: identifies the caller, and refuses whom a route is not for before reading the body."""

    def __init__(self, app: ASGIApp, authentication: Authentication, scopes: Mapping[int, str]) -> None:
        """Wrap an application; `scopes` is what routes that say nothing themselves need, by their `id`."""
        self._app = app
        self._authentication = authentication
        self._scopes = scopes
        self._table: RouteTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request for its principal."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "reason": "nothing is served here"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        principal, refusal = await self._decided(scope)
        if refusal is not None:
            await refusal(scope, nothing, send)
        elif principal is None:
            await self._app(scope, receive, send)
        else:
            with entered(current()._replace(principal=principal, caller=principal.id)):
                await self._app(scope, receive, send)

    async def _decided(self, scope: Scope) -> tuple[Principal | None, Response | None]:
        """Return who calls, and the refusal of a request that is not let through."""
        everybody = self._authentication.open
        access, route = (None, None) if everybody else self._needed(scope)
        if access is not None and access.signed:
            return None, None
        free = everybody or (access is not None and access.scope is None)
        principal = refusal = None
        try:
            principal = await self._identified(scope)
        except ServiceError as error:
            refusal = _unavailable(scope, error)
        # A path that leads nowhere is told as such to whoever is known.
        if free or (principal is not None and (access is None or principal.has(access.scope or ""))):
            return principal, None
        if route is not None:
            scope["route"] = route  # metrics and the access line tell refusals apart by it
        if refusal is None:
            refusal = _unauthenticated(scope) if principal is None or access is None else _forbidden(scope, access)
        return None, refusal

    def _needed(self, scope: Scope) -> tuple[Access, BaseRoute] | tuple[None, None]:
        if self._table is None:
            self._table = RouteTable(scope["app"])
        row = self._table.find(scope["method"], scope["path"])
        return (None, None) if row is None else (access_of(row, self._scopes), row.route)

    async def _identified(self, scope: Scope) -> Principal | None:
        """Return who calls, and note in the scope who that is, or that what was shown identifies nobody."""
        shown = credentials(scope) if self._authentication.possible else ()
        principal = await self._authentication.identify(shown[0]) if len(shown) == 1 else None
        if principal is not None:
            scope["principal"] = principal.id
        elif shown and not self._authentication.open:
            scope[UNIDENTIFIED] = True
        return principal


def credentials(scope: Scope) -> list[str]:
    """Return what a caller shows, each once: bearer credentials, and the value of `X-API-Key`."""
    shown: dict[str, None] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1").strip(" \t")
        if name == b"authorization":
            bearer = _BEARER.fullmatch(text)
            shown[bearer[1] if bearer else ""] = None
        elif name == b"x-api-key":
            shown[text] = None
    return list(shown)


def _unavailable(scope: Scope, error: ServiceError) -> Response:
    return problem(
        error.code,
        error.user_message,
        instance=scope["path"],
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
    )


def _unauthenticated(scope: Scope) -> Response:
    shown = bool(credentials(scope))
    text = (
        "The credentials are not valid, or not any more."
        if shown
        else "Expected credentials in the header Authorization or X-API-Key."
    )
    error = ', error="invalid_token"' if shown else ""  # RFC 6750, section 3.1
    headers = {"WWW-Authenticate": f'Bearer realm="{SERVICE}"{error}'}
    return problem("unauthenticated", text, instance=scope["path"], headers=headers)


def _forbidden(scope: Scope, access: Access) -> Response:
    text = f"The credentials lack the scope {access.scope}."
    challenge = f'Bearer realm="{SERVICE}", error="insufficient_scope", scope="{access.scope}"'
    return problem("forbidden", text, instance=scope["path"], headers={"WWW-Authenticate": challenge})
