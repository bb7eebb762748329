"""Routes: what they ask of a request before their own work, and how they answer.

Dependencies are coroutines although they wait for nothing: FastAPI sends plain functions to a thread.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from ..contracts.envelope import Failed, Finished
from ..contracts.errors import RequestError
from ..contracts.json import to_json
from ..contracts.providers import did_you_mean
from .problems import STATUS, CallFailed

DEFAULT_MAX_BODY_BYTES = 64 * 1024
"""Longest body of a route that does not state its own limit."""


def provided[T](type_: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Return a dependency that yields the running service's instance of a type."""

    async def instance(request: Request) -> T:
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


async def require_json(request: Request) -> None:
    """Refuse a body that does not call itself JSON."""
    media_type(request, "application/json")


async def read_body(request: Request, max_bytes: int = DEFAULT_MAX_BODY_BYTES) -> bytes:
    """Return the body of a request; for routes of which only some bodies may be long.

    Raises:
        RequestError: `body_too_large`, as soon as more than `max_bytes` have arrived.
    """
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > max_bytes:
            message = f"The body is larger than {max_bytes} bytes."
            raise RequestError(message, code="body_too_large")
    return bytes(content)


async def end_with_caller(request: Request) -> AsyncIterator[None]:
    """Cancel the work for a request when its caller hangs up; the body has been read by then."""
    task = asyncio.current_task()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know: those of its function and of its OpenAPI document."""
    if not request.scope["query_string"]:
        return
    route = request.scope.get("route")
    known = _parameters(route) if isinstance(route, APIRoute) else []
    for name in request.query_params:
        if name not in known:
            expected = f" Known: {', '.join(known)}." if known else " The route takes none."
            message = f"No parameter is named {name[:64]!r}.{did_you_mean(name[:64], known)}{expected}"
            raise RequestError(message, code="unknown_parameter", pointer=f"/{name[:64]}", location="query")


def _parameters(route: APIRoute) -> list[str]:
    documented = (route.openapi_extra or {}).get("parameters", ())
    return [
        *(parameter.alias for parameter in route.dependant.query_params),
        *(parameter["name"] for parameter in documented if parameter["in"] == "query"),
    ]


class ProblemItem(BaseModel):
    """One wrong part of a request."""

    place: Literal["body", "query", "path", "header"] = Field(alias="in")
    pointer: str
    code: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457, with the members that every problem of this service has."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    correlation_id: str
    retryable: bool
    errors: list[ProblemItem] | None = None
    provenance: dict[str, Any] | None = None


REF_TEMPLATE = "#/components/schemas/{model}"
"""Where the OpenAPI document keeps the schemas that models of a route refer to."""

type Answers = dict[int | str, dict[str, Any]]


def problems(*codes: str) -> Answers:
    """Return what a route says in the OpenAPI document about failures of its own.

    What any route can answer, or every one with a body, with an id and so on, is added to the document by its rules.
    """
    found: Answers = {}
    for code in codes:
        answer = found.setdefault(STATUS[code], {"description": "Problem document", "x-codes": []})
        answer["x-codes"].append(code)
    return found


def headed(status: int, *names: str, description: str = "Successful Response") -> Answers:
    """Return what a route says in the OpenAPI document about headers of an answer that only it sends."""
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {status: {"description": description, "headers": headers}}


CALLING = (
    *("unknown_provider", "invalid_request", "provider_error", "provider_timeout", "deadline_exceeded"),
    *("provider_unavailable", "provider_rate_limited", "provider_quota_exhausted", "circuit_open", "overloaded"),
)
"""The codes of routes that call a provider."""

TAGS: Mapping[str, Any] = {
    "anyOf": [{"const": "*"}, {"type": "string", "pattern": r'^(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*$'}]
}
"""What a header with entity tags looks like, as the document says it. Source: RFC 9110, section 8.8.3."""

PROBLEMS = problems(*CALLING)
"""What routes that call a provider say in the OpenAPI document about failures."""


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a contract value as JSON: absent when unknown, times with six decimals."""
    content = json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return Response(content, status, dict(headers or {}), media_type="application/json")


def finished(envelope: Finished[Any], pointer: str | None = None) -> Response:
    """Return a succeeded envelope.

    Raises:
        CallFailed: for a failed one, which is answered as a problem; `pointer` leads to what the provider refused.
    """
    if isinstance(envelope, Failed):
        raise CallFailed(envelope, pointer)
    return json_response(envelope)
