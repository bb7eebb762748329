"""Requests: what routes ask of a request before their own work."""

from collections.abc import Callable

from fastapi import Request
from fastapi.routing import APIRoute

from ..contracts.errors import RequestError
from ..contracts.suggestion import did_you_mean


def provided[T](type_: type[T]) -> Callable[[Request], T]:
    """Return a dependency that yields the running service's instance of a type."""

    def instance(request: Request) -> T:
        found: T = request.app.state.container[type_]
        return found

    return instance


def media_type(request: Request, *accepted: str) -> str:
    """Return the media type of the body without its parameters.

    Raises:
        RequestError: `unsupported_media`, if it is not one of those accepted.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in accepted:
        message = f"Expected a body of type {' or '.join(accepted)}."
        raise RequestError(message, code="unsupported_media", location="header")
    return found


def require_json(request: Request) -> None:
    """Refuse a body that does not call itself JSON."""
    media_type(request, "application/json")


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know."""
    route = request.scope.get("route")
    known = [parameter.alias for parameter in route.dependant.query_params] if isinstance(route, APIRoute) else []
    for name in request.query_params:
        if name not in known:
            expected = f" Known: {', '.join(known)}." if known else " The route takes none."
            message = f"No parameter is named {name[:64]!r}.{did_you_mean(name[:64], known)}{expected}"
            raise RequestError(message, code="unknown_parameter", pointer=f"/{name[:64]}", location="query")
