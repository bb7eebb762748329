"""Security: which credentials each operation asks for, as the routes themselves say it."""

from typing import Any

from fastapi import FastAPI

from ..web.access import OPERATIONS, access_of
from ..web.route_table import RouteTable
from .operations import operations

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of an issuer that the service trusts.",
    },
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
"""One of these is shown; each operation names the scope that the caller needs in `x-required-scope`."""


def secure(document: dict[str, Any], app: FastAPI) -> None:
    """State of every operation what its callers have to show; an empty list means nothing."""
    table = RouteTable(app)
    for operation in operations(document):
        row = table.documented(operation.method, operation.path)
        scope = OPERATIONS if row is None else access_of(row, app.state.scopes).scope
        operation.document["security"] = [] if scope is None else [{name: []} for name in SCHEMES]
        if scope is not None:
            operation.document["x-required-scope"] = scope  # the standard has scopes for OAuth only
