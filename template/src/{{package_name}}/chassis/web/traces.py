"""Traces: the context of a trace that came with a request, in the form in which it goes on.

Source: W3C Trace Context, sections 3.2 (traceparent), 3.3 (tracestate) and 4.3 (a context that cannot be read).
"""

import re
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

MAX_STATE_CHARS = 512
MAX_STATE_MEMBERS = 32

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<ids>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.{0,400})?"
)
_KEY = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER = re.compile(rf"(?:{_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


def trace_of(scope: Scope) -> tuple[str | None, str | None]:
    """Return what goes on as `traceparent` and `tracestate`: the span of this request, else what the caller sent.

    A context that cannot be read is as good as none; then the request begins a trace of its own.
    """
    if trace.get_current_span().get_span_context().is_valid:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier["traceparent"], carrier.get("tracestate")
    given = values_of(scope, b"traceparent")
    parent = _traceparent(given[0]) if len(given) == 1 else None
    return parent, None if parent is None else _tracestate(values_of(scope, b"tracestate"))


def values_of(scope: Scope, name: bytes) -> Sequence[str]:
    """Return every value of a header, without the spaces around it."""
    return [value.decode("latin-1").strip(" \t") for key, value in scope["headers"] if key == name]


def _traceparent(given: str) -> str | None:
    """Return the parent in the form of version 00; of a later version, the part that is known is taken."""
    found = _TRACEPARENT.fullmatch(given)
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return f"00-{found['ids']}-{found['flags'] if found['version'] == '00' else f'0{int(found["flags"], 16) & 1}'}"


def _tracestate(given: Sequence[str]) -> str | None:
    """Return the members of all headers in one line; a list that breaks the rules is left out as a whole."""
    members = [member for value in given for one in value.split(",") if (member := one.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    line = ",".join(members)
    lawful = len(keys) == len(members) <= MAX_STATE_MEMBERS and len(line) <= MAX_STATE_CHARS
    return line if members and lawful and all(map(_MEMBER.fullmatch, members)) else None
