"""Deprecations: which operations of the document will go, and when."""

from typing import Any

from fastapi import FastAPI

from ..web.deprecation import Deprecation
from ..web.route_table import RouteTable
from .operations import operations


def mark_deprecated(document: dict[str, Any], app: FastAPI) -> None:
    """Say of each operation that will go since when, until when, and where to read what to use."""
    table = RouteTable(app)
    for operation in operations(document):
        row = table.documented(operation.method, operation.path)
        found = row.nearest(Deprecation) if row is not None else None
        if found is not None:
            told = operation.document.get("description", "")
            text = f"Deprecated since {found.since}, gone on {found.sunset}: see <{found.link}>."
            more = {"deprecated": True, "description": f"{told}\n\n{text}".strip()}
            dates = {"x-deprecated-since": str(found.since), "x-sunset": str(found.sunset)}
            operation.document.update(more | dates)
