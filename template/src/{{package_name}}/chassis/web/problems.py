"""Problems: every failure of a route as `application/problem+json` (RFC 9457)."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from ..contracts.context import current
from ..contracts.envelope import Failed
from ..contracts.errors import RequestError, ServiceError
from ..contracts.json import to_json
from ..redaction import redact_text

STATUS: Mapping[str, int] = {
    "malformed_json": 400,
    "invalid_header": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "already_finished": 409,
    "conflict": 409,
    "precondition_failed": 412,
    "body_too_large": 413,
    "unsupported_media": 415,
    "invalid_request": 422,
    "unknown_field": 422,
    "unknown_parameter": 422,
    "unknown_provider": 422,
    "prompt_too_long": 422,
    "unreadable_audio": 422,
    "unsupported_source": 422,
    "precondition_required": 428,
    "too_many_requests": 429,
    "headers_too_large": 431,
    "internal_error": 500,
    "provider_error": 502,
    "provider_unavailable": 503,
    "provider_rate_limited": 503,
    "provider_quota_exhausted": 503,
    "circuit_open": 503,
    "overloaded": 503,
    "storage_unavailable": 503,
    "provider_timeout": 504,
    "deadline_exceeded": 504,
}
"""The HTTP status of every error code."""

_OF_STATUS = {
    404: ("not_found", "Nothing is served under this path."),
    405: ("method_not_allowed", "The path does not take this method."),
    413: ("body_too_large", "The body is larger than this path takes."),
    415: ("unsupported_media", "The path does not take this type of body."),
}
_NO_JSON = "The body cannot be read as JSON."
_NO_BODY = "Expected a JSON object as the body."
_PLAIN = {
    "extra_forbidden": "No field has this name.",
    "missing": "The field is required.",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "dataclass_type"), "Expected an object."),
}
_EXPECTED = re.compile("^Input should be (a valid )?")
"""How the validator begins most of its messages, in words of its own."""
_MAX_ERRORS = 20
_MAX_POINTER_CHARS = 256


class ValidationProblem(Exception):  # noqa: N818 - it is answered, not handled
    """A request that does not have the expected form; `errors` are those of the document, which lists `most`."""

    def __init__(self, errors: Sequence[Mapping[str, Any]], most: int = _MAX_ERRORS) -> None:
        """Keep the errors."""
        super().__init__("the request does not have the expected form")
        self.errors = errors
        self.most = most


class CallFailed(Exception):  # noqa: N818 - it is answered, not handled
    """A synchronous call ended in a failed envelope."""

    def __init__(self, envelope: Failed, pointer: str | None = None) -> None:
        """Keep the envelope; `pointer` leads to the part of the body that the provider refused."""
        super().__init__(envelope.error.code)
        self.envelope = envelope
        self.pointer = pointer


def problem(
    code: str,
    detail: str,
    *,
    instance: str,
    retryable: bool = False,
    retry_after_s: float | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    provenance: object = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document with the status of its code; `Retry-After` when it helps."""
    document = _document(code, detail, instance, retryable=retryable, errors=errors, provenance=provenance)
    all_headers = dict(headers or {})
    if retryable and retry_after_s is not None:
        all_headers["Retry-After"] = str(math.ceil(retry_after_s))
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, document["status"], all_headers, media_type="application/problem+json")


def problem_of(envelope: Failed, instance: str) -> dict[str, Any]:
    """Return the document of a failed envelope, for an answer that has begun already."""
    error = envelope.error
    return _document(error.code, error.message, instance, retryable=error.retryable, provenance=envelope.provenance)


def title_of(code: str) -> str:
    """Return the title of a problem with this code."""
    return code.replace("_", " ").capitalize().replace("json", "JSON")


def _document(
    code: str,
    detail: str,
    instance: str,
    *,
    retryable: bool,
    errors: Sequence[Mapping[str, Any]] = (),
    provenance: object = None,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": f"urn:problem:{code}",
        "title": title_of(code),
        "status": STATUS.get(code, 500),
        "detail": redact_text(detail),
        "instance": redact_text(instance),
        "code": code,
        "correlation_id": current().correlation_id,
        "retryable": retryable,
    }
    if errors:
        document["errors"] = [{name: redact_text(text) for name, text in error.items()} for error in errors]
    if provenance is not None:
        document["provenance"] = to_json(provenance)
    return document


def install_problems(app: FastAPI) -> None:
    """Answer every failure of a route with a problem document."""

    @app.exception_handler(ServiceError)
    async def of_service(request: Request, error: ServiceError) -> Response:
        return problem(
            error.code,
            error.user_message,
            instance=request.url.path,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
            errors=_located(error),
        )

    @app.exception_handler(CallFailed)
    async def of_envelope(request: Request, failed: CallFailed) -> Response:
        error = failed.envelope.error
        return problem(
            error.code,
            error.message,
            instance=request.url.path,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
            errors=_items("body", failed.pointer, error.code, error.message),
            provenance=failed.envelope.provenance,
        )

    @app.exception_handler(RequestValidationError)
    async def of_validation(request: Request, error: RequestValidationError) -> Response:
        return _of_errors(request, [_error(detail) for detail in error.errors()])

    @app.exception_handler(ValidationProblem)
    async def of_form(request: Request, error: ValidationProblem) -> Response:
        return _of_errors(request, error.errors, error.most)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        code, detail = _OF_STATUS.get(error.status_code) or _unreadable(request, error)
        allowed = {"Allow": ", ".join(_methods(request))} if code == "method_not_allowed" else {}
        return problem(code, detail, instance=request.url.path, headers={**(error.headers or {}), **allowed})


def _methods(request: Request) -> list[str]:
    """Return all methods of the path (RFC 9110, 10.2.1), of its template with the fewest parameters if it has more."""
    by_path: dict[str, set[str]] = {}
    for route in (found.original_route for found in iter_route_contexts(request.app.routes)):
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            by_path.setdefault(route.path, set()).update(route.methods or ())
    return sorted(by_path[min(by_path, key=lambda path: path.count("{"))]) if by_path else []


def _unreadable(request: Request, error: HTTPException) -> tuple[str, str]:
    is_json = request.headers.get("content-type", "").lower().startswith("application/json")
    return ("malformed_json", _NO_JSON) if is_json else ("invalid_request", str(error.detail))


def _located(error: ServiceError) -> Sequence[Mapping[str, Any]]:
    if not isinstance(error, RequestError):
        return ()
    return _items(error.location, error.pointer, error.code, error.user_message)


def _items(place: str, pointer: str | None, code: str, message: str) -> Sequence[Mapping[str, Any]]:
    return [] if pointer is None else [{"in": place, "pointer": pointer, "code": code, "message": message}]


def validation_problem(error: ValidationError, above: str = "") -> ValidationProblem:
    """Return what a model that was filled by hand has against its input; `above` is the pointer of the input."""
    details = error.errors(include_url=False, include_input=False)
    return ValidationProblem([_error({**detail, "loc": ("body", *detail["loc"])}, above) for detail in details])


def _error(detail: Mapping[str, Any], above: str = "") -> dict[str, str]:
    place, *path = detail["loc"] or ("body",)
    if detail["type"] == "json_invalid":
        message = "The text cannot be read as JSON." if above else _NO_JSON
        return {"in": "body", "pointer": above, "code": "malformed_json", "message": message}
    if detail["type"] == "missing" and (place, path) == ("body", []):
        return {"in": "body", "pointer": "", "code": "malformed_json", "message": _NO_BODY}
    code = {"extra_forbidden": "unknown_field"}.get(detail["type"], "invalid_request")
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    pointer = above + "".join(f"/{part}" for part in escaped)
    message = _PLAIN.get(detail["type"]) or _EXPECTED.sub("Expected ", str(detail["msg"]), 1)
    return {"in": str(place), "pointer": pointer[:_MAX_POINTER_CHARS], "code": code, "message": message}


def _of_errors(request: Request, errors: Sequence[Mapping[str, Any]], most: int = _MAX_ERRORS) -> Response:
    codes = {error["code"] for error in errors}
    code = codes.pop() if len(codes) == 1 else "invalid_request"
    first = errors[0]
    detail = f"{first['pointer']}: {first['message']}" if first["pointer"] else str(first["message"])
    more = len(errors) - 1
    if more:
        detail += f" ({more} more)"
    listed = errors[:most] if code != "malformed_json" or first["pointer"] else []
    return problem(code, detail, instance=request.url.path, errors=listed)
