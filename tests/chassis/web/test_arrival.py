"""Bodies that do not arrive, and requests that are cut off: the caller learns of it in time, and the log as well."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from chassis.web.app import client_of, problem_of
from object_service.chassis.web.arrival import Arrival
from object_service.chassis.web.settings import HttpSection
from object_service.chassis.web.surroundings import Surroundings

JSON = {"Content-Type": "application/json"}
SCOPE: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
STALLED = pytest.mark.parametrize("path", ["/v1/things", "/v1/read"], ids=["by-the-framework", "by-the-route"])


async def _stalling() -> AsyncIterator[bytes]:
    yield b'{"name": '
    await asyncio.Event().wait()


async def _slow() -> AsyncIterator[bytes]:
    for piece in (b'{"name"', b": ", b'"a"', b"}"):
        await asyncio.sleep(0.03)
        yield piece


async def _post(path: str, content: AsyncIterator[bytes], headers: dict[str, str] | None = None) -> httpx2.Response:
    async with client_of() as client, asyncio.timeout(10):
        return await client.post(path, content=content, headers=JSON | (headers or {}))


@STALLED
async def test_the_deadline_counts_while_the_body_arrives(path: str) -> None:
    """A caller who gives a second gets an answer after a second, even if the caller is what is slow."""
    response = await _post(path, _stalling(), {"X-Request-Timeout": "0.1"})

    document = problem_of(response)
    assert (504, "deadline_exceeded", False) == (response.status_code, document["code"], document["retryable"])
    assert "close" == response.headers["connection"]


@STALLED
async def test_a_body_that_stalls_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Without a deadline, a pause in the body is bounded by a setting."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__BODY_IDLE_S", "0.1")

    response = await _post(path, _stalling())

    assert (422, "invalid_request") == (response.status_code, problem_of(response)["code"])
    assert "Expected the next part of the body within 0.1 s." == problem_of(response)["detail"]
    assert "close" == response.headers["connection"]


async def test_a_body_that_is_only_slow_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no lowest rate, what counts is the pause, not the sum."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__BODY_IDLE_S", "0.1")
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__BODY_MIN_BYTES_PER_S", "0")

    assert 200 == (await _post("/v1/things", _slow())).status_code


async def test_the_limits_end_with_the_body() -> None:
    """Work may take longer than a body may pause; who waits for the caller to leave is not told so too early."""
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]
    told: list[Message] = []

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def send(message: Message) -> None:
        told.append(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await receive()
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait([leaving], timeout=0.1)
        await send({"type": "http.response.start", "status": 409 if leaving.done() else 200, "headers": []})
        leaving.cancel()

    await Surroundings(app, HttpSection(body_idle_s=0.02))(SCOPE, receive, send)

    assert [200] == [message["status"] for message in told]


async def _cut_off(messages: list[Message], *, left: bool = False) -> list[Message]:
    """Cancel a request in the middle; return what its caller was sent."""
    sent: list[Message] = []
    begun = asyncio.Event()

    async def receive() -> Message:
        if left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await receive()
        for message in messages:
            await send(message)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Surroundings(waiting, HttpSection())(SCOPE, receive, send))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return sent


def _abandoned(caplog: pytest.LogCaptureFixture) -> list[int | None]:
    return [vars(record)["status"] for record in caplog.records if record.message == "request_abandoned"]


async def test_a_request_that_is_cut_off_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Who still waits when the service stops is told to try again; the log says that the request was given up."""
    caplog.set_level(logging.INFO)

    start, body = await _cut_off([])

    assert 503 == start["status"]
    assert b'"code":"overloaded"' in body["body"]
    assert (b"retry-after", b"1") in start["headers"]
    assert [503] == _abandoned(caplog)
    assert [] == [record for record in caplog.records if record.exc_info]


async def test_an_answer_that_is_cut_off_gets_no_second_head(caplog: pytest.LogCaptureFixture) -> None:
    """Half an answer stays half an answer."""
    caplog.set_level(logging.INFO)
    begun = {"type": "http.response.start", "status": 200, "headers": []}

    assert [200] == [message["status"] for message in await _cut_off([begun])]
    assert [200] == _abandoned(caplog)


async def test_a_stream_that_is_cut_off_ends_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Who reads events learns that no more will come, and that asking again helps."""
    caplog.set_level(logging.INFO)
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    begun = {"type": "http.response.start", "status": 200, "headers": headers}
    piece = {"type": "http.response.body", "body": b"event: delta\ndata: 1\n\n", "more_body": True}
    end = {"type": "http.response.body", "body": b""}

    _, _, last = await _cut_off([begun, piece])

    assert last["body"].startswith(b"event: error\ndata: {")
    assert b'"code":"overloaded"' in last["body"]
    assert not last.get("more_body", False)
    assert [200] == _abandoned(caplog)
    assert 3 == len(await _cut_off([begun, piece, end])), "a stream that has ended gets nothing more"


async def test_a_caller_who_left_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    """Work that is cancelled because nobody waits for it ends with a line in the log."""
    caplog.set_level(logging.INFO)

    assert [] == await _cut_off([], left=True)
    assert [None] == _abandoned(caplog)


async def _drops() -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0.02)
        yield b" "


@STALLED
async def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Each drop comes in time, but all together they are too slow."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__BODY_IDLE_S", "0.3")

    response = await _post(path, _drops())

    assert (422, "invalid_request") == (response.status_code, problem_of(response)["code"])
    assert "Expected at least 500 bytes of the body per second." == problem_of(response)["detail"]


async def test_time_in_which_the_service_reads_nothing_does_not_count() -> None:
    """A service that is slow to take a body does not blame its caller."""
    pieces = [b"a", b"b", b"c"]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(), "more_body": True}

    arrival = Arrival(receive, HttpSection(body_idle_s=0.5))
    for expected in (b"c", b"b", b"a"):
        assert expected == (await arrival.next())["body"]
        await asyncio.sleep(0.3)
