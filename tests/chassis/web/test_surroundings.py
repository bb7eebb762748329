"""What surrounds every request: its correlation id, its limits, its deadline, and the last word on a crash."""

import asyncio
import logging
import re
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from chassis.web.app import client_of, get, problem_of, raising
from object_service.chassis.contracts.context import current_or_none
from object_service.chassis.web.settings import HttpSection
from object_service.chassis.web.surroundings import MAX_HEADER_BYTES, Surroundings

LOGGER = "object_service.chassis.web.surroundings"


def _lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize("id_", ["3f0c", "a" * 128, "A-b_c.9", "."], ids=["short", "longest", "signs", "dot"])
async def test_a_correlation_id_is_taken_and_echoed(id_: str) -> None:
    """Inside and outside, the request has the id that its caller gave."""
    response = await get("/v1/context", {"X-Request-ID": id_})

    assert [id_] == response.headers.get_list("x-request-id")
    assert {"correlation_id": id_} == response.json()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Request-ID", "")],
        [("X-Request-ID", "a" * 129)],
        [("X-Request-ID", "a b")],
        [("X-Request-ID", "a\tb")],
        [("X-Request-ID", "<script>")],
        [("X-Request-ID", '{"a":1}')],
        [("X-Request-ID", "one"), ("X-Request-ID", "two")],
        [("X-Request-ID", "one,two")],
    ],
    ids=["none", "empty", "long", "space", "tab", "markup", "json", "twice", "list"],
)
async def test_any_other_correlation_id_is_replaced(headers: list[tuple[str, str]]) -> None:
    """An id that could do harm in a log is not used; the request goes on with a new one."""
    response = await get("/v1/context", headers)

    assert 200 == response.status_code
    assert re.fullmatch(r"req_[a-z0-9]{1,60}", response.headers["x-request-id"])
    assert response.headers["x-request-id"] == response.json()["correlation_id"]


@given(st.binary(max_size=40))
def test_no_header_gets_past_the_rule(value: bytes) -> None:
    """Whatever bytes stand in the header, only plain ids come back."""
    messages = _serve(_answer, [(b"x-request-id", value)])

    (echoed,) = [header for name, header in messages[0]["headers"] if name == b"x-request-id"]
    assert re.fullmatch(rb"[A-Za-z0-9._-]{1,128}", echoed)
    assert echoed == value.strip(b" \t") or echoed.startswith(b"req_")


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _serve(app: Any, headers: list[tuple[bytes, bytes]], kind: str = "http") -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": "/x", "headers": headers, "query_string": b""}
    asyncio.run(Surroundings(app, HttpSection())(scope, receive, send))
    return sent


SECONDS = ["2.5", "1", "1e3", "0.75", "1E+2", "5.", ".5", "0.30000000000000004", "2.3999999999999999", "1e12", "9" * 64]


@pytest.mark.parametrize("text", SECONDS, ids=repr)
async def test_a_time_limit_is_taken(text: str) -> None:
    """Any finite number of seconds above zero."""
    response = await get("/v1/remaining", {"X-Request-Timeout": text})

    assert 0 < response.json()["remaining_s"] <= float(text)


async def test_without_a_time_limit_there_is_none() -> None:
    """The caller decides whether to hurry."""
    assert {} == {k: v for k, v in (await get("/v1/context")).json().items() if k == "deadline"}


@pytest.mark.parametrize(
    "text",
    ["0", "0.0", "-1", "nan", "inf", "1_0", "", " ", "1,5", "0x10", "abc", ".", "1e999", "1e-999", "9" * 65],
    ids=repr,
)
async def test_any_other_time_limit_is_refused(text: str) -> None:
    """Zero, negative, endless or no number: 400, before anything is done."""
    response = await get("/v1/remaining", {"X-Request-Timeout": text})

    assert (400, "invalid_header") == (response.status_code, problem_of(response)["code"])
    assert problem_of(response)["detail"].startswith("X-Request-Timeout: expected one finite number")


@pytest.mark.parametrize("name", ["X-Request-Timeout", "Idempotency-Key"])
async def test_a_header_that_must_stand_once_is_refused_twice(name: str) -> None:
    """Two different wishes cannot both be met."""
    response = await get("/v1/remaining", [(name, "1"), (name, "2")])

    assert (400, "invalid_header") == (response.status_code, problem_of(response)["code"])
    assert problem_of(response)["detail"].startswith(f"{name}: ")


@pytest.mark.parametrize("key", ["a", "k" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"'])
async def test_an_idempotency_key_is_taken(key: str) -> None:
    """Visible ASCII of up to 255 characters reaches the provider."""
    assert key == (await get("/v1/context", {"Idempotency-Key": key})).json()["idempotency_key"]


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\tb"], ids=["empty", "long", "space", "tab"])
async def test_any_other_idempotency_key_is_refused(key: str) -> None:
    """A key that cannot be passed on is refused, not dropped."""
    response = await get("/v1/context", {"Idempotency-Key": key})

    assert (400, "invalid_header") == (response.status_code, problem_of(response)["code"])


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_a_trace_is_taken() -> None:
    """The caller's trace accompanies the request, as it was given."""
    given = f"00-{TRACE}-{PARENT}-01"

    assert given == (await get("/v1/context", {"traceparent": given})).json()["traceparent"]


@pytest.mark.parametrize(
    "given",
    [
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        "",
    ],
    ids=["no-trace", "no-parent", "version", "upper-case", "longer", "shorter", "empty"],
)
async def test_any_other_trace_is_ignored(given: str) -> None:
    """A trace that cannot be followed is no reason to refuse the request."""
    assert "traceparent" not in (await get("/v1/context", {"traceparent": given})).json()


async def test_two_traces_are_none() -> None:
    """Nobody can say which one is meant."""
    given = [("traceparent", f"00-{TRACE}-{PARENT}-0{number}") for number in (0, 1)]

    assert "traceparent" not in (await get("/v1/context", given)).json()


def _large(extra: int) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-request-id", b"3f0c"), (b"a", b"")]
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    return [headers[0], (b"a", b"v" * (MAX_HEADER_BYTES - size + extra))]


def test_headers_at_the_limit_are_served() -> None:
    """16 KB are fine, one byte more is not."""
    assert [200] == [message["status"] for message in _serve(_answer, _large(0)) if "status" in message]
    assert [431] == [message["status"] for message in _serve(_answer, _large(1)) if "status" in message]


async def test_headers_over_the_limit_are_refused() -> None:
    """Too much is a 431 problem, with the correlation id of the caller."""
    headers = [("X-Request-ID", "3f0c"), ("a", "v" * MAX_HEADER_BYTES)]
    response = await get("/v1/context", headers)

    assert (431, "headers_too_large") == (response.status_code, problem_of(response)["code"])
    assert "3f0c" == response.headers["x-request-id"]


async def test_a_crash_is_a_problem_without_internals(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the correlation id; the log gets the trace."""
    path = raising("crash", RuntimeError("password=hunter2 in /etc/app"))

    response = await get(path, {"X-Request-ID": "3f0c"})

    document = problem_of(response)
    assert (500, "internal_error", False) == (response.status_code, document["code"], document["retryable"])
    assert not re.search("hunter2|RuntimeError|/etc", response.text)
    (line,) = [record for record in _lines(caplog) if record.message == "request_crashed"]
    assert line.exc_info is not None
    assert ("GET", "/v1/raise/{name}") == (vars(line)["method"], vars(line)["route"])


def test_a_crash_after_the_answer_began_breaks_the_connection() -> None:
    """Half an answer must not look like a whole one."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _answer(scope, receive, send)
        raise RuntimeError("late")

    with pytest.raises(RuntimeError, match="late"):
        _serve(app, [])


def test_a_caller_who_left_is_not_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing failed here, and nobody is left to be answered; the line says so."""
    caplog.set_level(logging.INFO)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        raise ClientDisconnect

    assert [] == _serve(app, [])
    assert ["request_abandoned"] == [record.message for record in _lines(caplog)]


def test_other_protocols_pass_untouched() -> None:
    """Only HTTP has surroundings."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(f"{scope['type']} {current_or_none()}")

    assert [] == _serve(app, [], kind="lifespan")
    assert ["lifespan None"] == seen


async def test_one_line_tells_of_each_request(caplog: pytest.LogCaptureFixture) -> None:
    """Method, template of the path, status and duration; refused and unmatched requests as well."""
    caplog.set_level(logging.INFO)
    async with client_of() as client:
        await client.get("/v1/things/secret-id?page=2")
        await client.get("/nowhere/at-all")
        await client.get("/v1/things/1", headers={"X-Request-Timeout": "0"})

    lines = [vars(record) for record in _lines(caplog)]
    assert [
        ("GET", "/v1/things/{id}", 200),
        ("GET", "unmatched", 404),
        ("GET", "unmatched", 400),
    ] == [(line["method"], line["route"], line["status"]) for line in lines]
    assert not re.search("secret-id|at-all", str([(line["message"], line["route"]) for line in lines]))
    assert all(0 <= line["duration_ms"] < 10_000 for line in lines)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_leave_no_line(caplog: pytest.LogCaptureFixture, path: str) -> None:
    """What is asked every second would bury everything else."""
    caplog.set_level(logging.INFO)

    assert 200 == (await get(path)).status_code
    assert [] == _lines(caplog)


async def test_requests_do_not_share_their_context() -> None:
    """Requests at the same time keep their ids apart, and nothing stays behind."""
    async with client_of() as client:

        async def ask(number: int) -> httpx2.Response:
            return await client.get("/v1/context", headers={"X-Request-ID": f"id-{number}"})

        responses = await asyncio.gather(*(ask(number) for number in range(20)))

    assert [f"id-{n}" for n in range(20)] == [response.json()["correlation_id"] for response in responses]
    assert current_or_none() is None
