"""The context of a trace that comes with a request goes on, or a new one begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from object_service.chassis.web.traces import trace_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LAWFUL = f"00-{TRACE}-{PARENT}-01"


def _trace(parent: str, *states: str) -> tuple[str | None, str | None]:
    headers = [(b"traceparent", parent.encode("latin-1"))]
    headers += [(b"tracestate", state.encode("latin-1")) for state in states]
    return trace_of({"headers": headers})


@pytest.mark.parametrize(
    ("expected", "given_"),
    [
        (LAWFUL, LAWFUL),
        (LAWFUL, f" {LAWFUL}\t"),
        (f"00-{TRACE}-{PARENT}-03", f"00-{TRACE}-{PARENT}-03"),
        (LAWFUL, f"01-{TRACE}-{PARENT}-01"),
        (LAWFUL, f"cc-{TRACE}-{PARENT}-ff-what-comes-later"),
        (None, f"cc-{TRACE}-{PARENT}-01.later"),
        (None, f"ff-{TRACE}-{PARENT}-01"),
        (None, f"00-{TRACE}-{PARENT}-01-more"),
        (None, f"0-{TRACE}-{PARENT}-01"),
    ],
)
def test_later_versions_are_understood_as_far_as_they_are_known(expected: str | None, given_: str) -> None:
    """What goes on has the form of version 00, with the one flag that all versions share."""
    assert expected == _trace(given_)[0]


@pytest.mark.parametrize(
    ("expected", "states"),
    [
        ("a=1", ["a=1"]),
        ("a=1,b=2", ["a=1, b=2"]),
        ("a=1,b=2,c@d=3", ["a=1,,b=2", "c@d=3"]),
        ("rojo=00f067aa0ba902b7", ["rojo=00f067aa0ba902b7"]),
        (None, []),
        (None, [""]),
        (None, ["a=1", "a=2"]),
        (None, ["A=1"]),
        (None, ["a"]),
        (None, ["a=b=c"]),
        (None, ["a=\xe4"]),
        (None, [",".join(f"a{number}=1" for number in range(33))]),
        (None, [f"a={'v' * 256},b={'v' * 255}"]),
    ],
    ids=lambda value: str(value)[:24],
)
def test_the_state_goes_on_as_it_is_or_not_at_all(expected: str | None, states: list[str]) -> None:
    """Several headers are one list; a list that breaks the rules is worth nothing to whoever reads it."""
    assert (LAWFUL, expected) == _trace(LAWFUL, *states)


def test_a_state_belongs_to_its_trace() -> None:
    """Where the trace begins anew, the state of another one is not passed on."""
    assert (None, None) == _trace(f"00-{'0' * 32}-{PARENT}-01", "a=1")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_nothing_else_goes_on(parent: bytes, state: bytes) -> None:
    """Whatever bytes come."""
    found, _ = trace_of({"headers": [(b"traceparent", parent), (b"tracestate", state)]})

    assert found is None or found[:3] == "00-"


def test_the_span_of_the_request_goes_before_what_was_sent() -> None:
    """With tracing on, whatever is done for the request is done inside of its span."""
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("request") as span:
        found, _ = _trace(LAWFUL, "a=1")

    own = span.get_span_context()
    assert f"00-{own.trace_id:032x}-{own.span_id:016x}" == str(found)[:-3]
    assert not trace.get_current_span().get_span_context().is_valid
