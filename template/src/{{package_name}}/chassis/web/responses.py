"""Responses: contract values as JSON, and failed envelopes as problems."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel

from ..contracts.envelope import Failed, Finished
from ..contracts.json import to_json
from .problems import CallFailed


class ProblemItem(BaseModel):
    """One wrong part of a request."""

    code: str
    message: str
    pointer: str


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


PROBLEMS: dict[int | str, dict[str, Any]] = {
    name: {
        "description": "Problem document",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    for name in ("4XX", "5XX")
}
"""What routes say in the OpenAPI document about failures."""


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a contract value as JSON: absent when unknown, times with six decimals."""
    content = json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, dict(headers or {}), media_type="application/json")


def finished(envelope: Finished[Any]) -> Response:
    """Return a succeeded envelope.

    Raises:
        CallFailed: for a failed one, which is answered as a problem.
    """
    if isinstance(envelope, Failed):
        raise CallFailed(envelope)
    return json_response(envelope)
