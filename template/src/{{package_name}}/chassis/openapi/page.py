"""Page: the OpenAPI document as HTML that needs no script and nothing from elsewhere, and the routes that show both."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from .document import openapi_document
from .operations import Operation, operations

_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { overflow: auto; padding: .5rem; border: 1px solid #8886 }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #8886; padding: .25rem .5rem; text-align: left; vertical-align: top }
summary { cursor: pointer; padding: .25rem 0 }
.gone { text-decoration: line-through }
"""
_POLICY = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


def add_pages(app: FastAPI) -> None:
    """Serve the document under `/openapi.json` and its page under `/docs`, made when first asked for."""

    @cache
    def document() -> dict[str, Any]:
        return openapi_document(app)

    @app.get("/openapi.json", include_in_schema=False)
    async def as_json() -> Response:
        """Return the OpenAPI document."""
        return Response(json.dumps(document(), ensure_ascii=False), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def as_page() -> Response:
        """Return the document as a page."""
        return Response(page(document()), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document; whatever stands in it is text, never markup."""
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    parts = [f"<h1>{title}</h1><p>{escape(info.get('description', ''))}</p>", "<p><a href='openapi.json'>JSON</a></p>"]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>")
        found = [one for one in operations(document) if tag["name"] in one.document.get("tags", ())]
        parts += [part for operation in found for part in _operation(operation)]
    parts.append("<h2>Schemas</h2>")
    parts += [
        f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>"
        for name, schema in document["components"]["schemas"].items()
    ]
    head = f"<meta charset='utf-8'><title>{title}</title><link rel='icon' href='data:,'><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def _operation(operation: Operation) -> Iterator[str]:
    told = operation.document
    name = f"<code class='{'gone' if operation.deprecated else ''}'>{operation.method} {escape(operation.path)}</code>"
    yield f"<details id='{escape(told['operationId'])}'><summary>{name} {escape(told.get('summary', ''))}</summary>"
    scope = f" Needs the scope <code>{escape(told['x-required-scope'])}</code>." if operation.secured else ""
    yield f"<p>{escape(told.get('description', ''))}{scope}</p>"
    rows = [
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for one in told.get("parameters", ())
        if "name" in one
    ]
    yield f"<table>{''.join(rows)}</table>" if rows else ""
    for kind, content in told.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code></p>{_json(content.get('schema', {}))}"
    answers = (
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td>"
        f"<td>{' '.join(f'<code>{escape(kind)}</code>' for kind in answer.get('content', ()))}</td></tr>"
        for status, answer in told["responses"].items()
    )
    yield f"<table>{''.join(answers)}</table></details>"


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, ensure_ascii=False, indent=2))}</pre>"
