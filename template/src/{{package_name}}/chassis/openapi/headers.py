"""Headers: those that requests may have and answers bring, named once, and where each of them stands."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..contracts.context import MAX_KEY_CHARS
from ..web.routes import TAGS
from .operations import Operation, operations

_IN_TIME = frozenset({"202", "409", "429", "502", "503", "504"})


class Named(NamedTuple):
    """A header, and when it stands in an answer or may stand in a request; None when only routes say so."""

    description: str
    schema: Mapping[str, Any]
    when: Callable[[Operation, str], bool] | None = None


_TEXT = {"type": "string"}

ANSWERED: Mapping[str, Named] = {
    "X-Request-ID": Named("The correlation id of the request, in every line of the log.", _TEXT, lambda *_: True),
    "Retry-After": Named(
        "Seconds after which to try again, when that is known.",
        {"type": "integer", "minimum": 0},
        lambda _, status: status in _IN_TIME,
    ),
    "Location": Named("Path of what was made.", _TEXT, lambda _, status: status in ("201", "202")),
    "ETag": Named("The version of the record, for If-Match and If-None-Match.", _TEXT),
    "Link": Named(
        "Related parts of a collection (RFC 8288): first, prev, next, last; of a deprecated route, what to use.",
        _TEXT,
        lambda one, _: one.deprecated,
    ),
    "Idempotency-Replayed": Named(
        "`true` on an answer that repeats the first one to its Idempotency-Key.",
        {"const": "true"},
        lambda operation, status: "POST" in operation.common and operation.method == "POST" and status[0] == "2",
    ),
    "Deprecation": Named("Since when the route is deprecated (RFC 9745).", _TEXT, lambda one, _: one.deprecated),
    "Sunset": Named("When it goes (RFC 8594).", _TEXT, lambda one, _: one.deprecated),
    "RateLimit-Policy": Named("The limits of the caller: quota `q` in `w` seconds.", _TEXT, lambda *_: True),
    "RateLimit": Named("What is left of them, and in how many seconds it grows.", _TEXT, lambda *_: True),
    "WWW-Authenticate": Named(
        "How to say who calls.", _TEXT, lambda operation, status: operation.secured and status in ("401", "403")
    ),
}
"""What stands in answers. Routes name those that only they send, see `web.routes.headed`."""

ASKED: Mapping[str, Named] = {
    "X-Request-ID": Named(
        "A correlation id of the caller: letters, digits, `.`, `_` and `-`, at most 128; otherwise one is made.",
        _TEXT,
        lambda *_: True,
    ),
    "X-Request-Timeout": Named(
        "Seconds that the caller waits. It can only shorten the time that a request has.",
        {"type": "number", "exclusiveMinimum": 0, "examples": [2.5]},
        lambda *_: True,
    ),
    "Idempotency-Key": Named(
        "Chosen by the caller, one for each request: it is handed to the provider, so that a repeat is no second call.",
        {"type": "string", "pattern": f"^[!-~]{{1,{MAX_KEY_CHARS}}}$", "maxLength": MAX_KEY_CHARS},
        lambda operation, _: operation.versioned and operation.method == "POST",
    ),
    "If-None-Match": Named(
        "ETags that the caller has: one of them is answered with 304.",
        TAGS,
        lambda operation, _: "304" in operation.document["responses"],
    ),
}
"""What requests may have."""


def describe_headers(operation: Operation) -> None:
    """State the headers of an operation and of each of its answers."""
    for status, answer in operation.document["responses"].items():
        for name, header in ANSWERED.items():
            if header.when is not None and header.when(operation, status):
                answer.setdefault("headers", {})[name] = {"$ref": f"#/components/headers/{name}"}
    for name, header in ASKED.items():
        if header.when is not None and header.when(operation, "") and not operation.takes_header(name):
            parameters = operation.document.setdefault("parameters", [])
            parameters.append({"$ref": f"#/components/parameters/{name}"})


def header_components(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the components that the operations of a document refer to."""
    found = [operation.document for operation in operations(document)]
    sent = {name for operation in found for answer in operation["responses"].values() for name in answer["headers"]}
    read = {parameter.get("$ref", "").rpartition("/")[2] for one in found for parameter in one["parameters"]}
    return {
        "headers": {name: _component(header) for name, header in ANSWERED.items() if name in sent},
        "parameters": {
            name: {"name": name, "in": "header", **_component(header)} for name, header in ASKED.items() if name in read
        },
    }


def _component(header: Named) -> dict[str, Any]:
    return {"description": header.description, "schema": header.schema}
