"""Rules: which problems an operation can answer, beside those that its route states by itself."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from ..web.problems import STATUS, title_of
from .operations import CODES, Operation

_PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}

type When = Callable[[Operation], bool]


def _always(_: Operation) -> bool:
    return True


RULES: Sequence[tuple[tuple[str, ...], When]] = (
    # What is read of every request: the headers that steer it, and parameters, of which no unknown one is accepted.
    (("invalid_header", "headers_too_large", "unknown_parameter"), _always),
    # What may befall every request: a fault of the service, its end, and the end of the time allowed.
    (("internal_error", "overloaded", "deadline_exceeded"), _always),
    # Limits of callers are settings; a caller has to know what comes when they are set.
    (("too_many_requests",), _always),
    (("unauthenticated", "forbidden"), lambda operation: operation.secured),
    (("not_found",), lambda operation: operation.takes("path")),
    (("invalid_request",), lambda operation: bool(operation.media_types) or operation.takes("path", "query", "header")),
    (("body_too_large", "unsupported_media"), lambda operation: bool(operation.media_types)),
    (("malformed_json",), lambda operation: bool(operation.media_types)),
    (("unknown_field",), lambda operation: bool(operation.media_types)),
    (("precondition_failed",), lambda operation: operation.takes_header("If-Match")),
)
"""Codes, and when an operation can answer them."""

_LIKELY = {
    "unauthenticated": "Who calls is not known.",
    "forbidden": "The caller may not do this.",
    "not_found": "Nothing has this id.",
    "internal_error": "The service failed; the correlation id leads to the reason in its log.",
}
"""What examples of problems say; for the others their title is enough."""


def codes_of(operation: Operation) -> set[str]:
    """Return every code with which an operation can fail."""
    by_rule = {code for codes, applies in RULES if applies(operation) for code in codes}
    common = operation.common if operation.versioned else {}
    return by_rule | {*operation.stated, *common.get("*", ()), *common.get(operation.method, ())}


def describe_problems(operation: Operation) -> set[str]:
    """State every problem of an operation in the document, under its status; return the codes."""
    answers = operation.document["responses"]
    found = codes_of(operation)
    for status in [status for status, answer in answers.items() if CODES in answer or _is_frameworks(answer)]:
        del answers[status]
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in sorted(found):
        by_status[STATUS[code]].append(code)
    for status, codes in by_status.items():
        # A route that describes an answer of this status, such as what is not ready, keeps its description.
        content = answers.setdefault(str(status), {"description": _description(status, codes)}).setdefault(
            "content", {}
        )
        content["application/problem+json"] = _content(status, codes)
    operation.document["responses"] = dict(sorted(answers.items()))
    return found


def example_of(code: str) -> Mapping[str, Any]:
    """Return a problem document with this code."""
    title = title_of(code)
    value = {
        "type": f"urn:problem:{code}",
        "title": title,
        "status": STATUS[code],
        "detail": _LIKELY.get(code, f"{title}."),
        "instance": "/v1/things",
        "code": code,
        "correlation_id": "req_01k",
        "retryable": STATUS[code] >= HTTPStatus.BAD_GATEWAY,
    }
    return {"summary": title, "value": value}


def _content(status: int, codes: Sequence[str]) -> Mapping[str, Any]:
    own = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {"schema": {"allOf": [_PROBLEM, own]}, "examples": examples}


def _description(status: int, codes: Sequence[str]) -> str:
    return f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in codes)}"


def _is_frameworks(answer: Mapping[str, Any]) -> bool:
    """Tell whether the framework describes here how it would refuse a request; this service answers problems."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).endswith("/HTTPValidationError")
