"""Security: which credentials each operation asks for, as the routes themselves say it."""

from typing import Any

from fastapi import FastAPI

from ..web.access import AccessTable
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
    table = AccessTable(app, app.state.scopes)
    for operation in operations(document):
        found = table.find(operation.method, operation.path)
        scope = None if found is None else found[0].scope
        operation.document["security"] = [] if scope is None else [{name: []} for name in SCHEMES]
        if scope is not None:
            operation.document["x-required-scope"] = scope  # the standard has scopes for OAuth only
