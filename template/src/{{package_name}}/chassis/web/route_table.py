"""Route table: which route of an application serves a request, and what that route states among its dependencies."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute


@dataclass(frozen=True, slots=True)
class Row:
    """One route: what its paths look like, as a pattern and as in the OpenAPI document, and what it states."""

    pattern: re.Pattern[str]
    path: str
    methods: Collection[str]
    route: BaseRoute
    stated: tuple[object, ...]

    def serves(self, method: str) -> bool:
        """Tell whether the route answers a method; one that names none answers all."""
        return not self.methods or method in self.methods

    def nearest[T](self, type_: type[T]) -> T | None:
        """Return what the route states of a kind; it comes before what its routers state."""
        return next((one for one in reversed(self.stated) if isinstance(one, type_)), None)


class RouteTable:
    """The routes of an application, found as the application finds them: the first that fits."""

    def __init__(self, app: FastAPI) -> None:
        """Take the routes.

        Raises:
            TypeError: if a kind of route has no pattern: it could not be guarded.
        """
        self._rows = [_row(context) for context in iter_route_contexts(app.routes)]

    def find(self, method: str, path: str) -> Row | None:
        """Return the route of a request, or one with its path and other methods; None if the path leads nowhere."""
        return _first(method, [row for row in self._rows if row.pattern.match(path)])

    def documented(self, method: str, path: str) -> Row | None:
        """Return the route of an operation of the OpenAPI document."""
        return _first(method, [row for row in self._rows if row.path == path])


def _first(method: str, rows: list[Row]) -> Row | None:
    return next((row for row in rows if row.serves(method)), rows[0] if rows else None)


def _row(context: RouteContext) -> Row:
    for holder in (context, getattr(context, "starlette_route", None)):
        pattern = getattr(holder, "path_regex", None)
        if isinstance(pattern, re.Pattern):
            stated = tuple(item.dependency for item in getattr(context, "dependencies", None) or ())
            path = getattr(holder, "path_format", None) or ""
            return Row(pattern, path, frozenset(context.methods or ()), context.original_route, stated)
    message = f"{context.original_route!r}: a route without a pattern of its path cannot be guarded"
    raise TypeError(message)
