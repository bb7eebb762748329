"""Deprecations: which operations of the document will go, and when."""

from typing import Any

from fastapi import FastAPI

from ..web.deprecation import deprecations
from .operations import operations


def mark_deprecated(document: dict[str, Any], app: FastAPI) -> None:
    """Say of each operation that will go since when, until when, and where to read what to use."""
    rows = list(deprecations(app))
    for operation in operations(document):
        for path, methods, found in rows:
            if operation.method in methods and path.match(operation.path):
                told = operation.document.get("description", "")
                text = f"Deprecated since {found.since}, gone on {found.sunset}: see <{found.link}>."
                more = {"deprecated": True, "description": f"{told}\n\n{text}".strip()}
                dates = {"x-deprecated-since": str(found.since), "x-sunset": str(found.sunset)}
                operation.document.update(more | dates)
