"""A request has a longest time until its answer begins; a body that arrives and an answer that has begun have none."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.web.app import client_of, problem_of
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.web.deadline import Deadline

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.mark.parametrize(
    ("variable_s", "headers"),
    [("0.1", {}), ("60", {"X-Request-Timeout": "0.05"})],
    ids=["setting", "caller"],
)
async def test_a_request_that_takes_too_long_is_ended(
    monkeypatch: pytest.MonkeyPatch, variable_s: str, headers: dict[str, str]
) -> None:
    """Also on a route that never looks at its deadline: the caller gets 504, and its work is cancelled."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__REQUEST_TIMEOUT_S", variable_s)
    container = Container()
    container.provide(asyncio.Event, asyncio.Event())
    async with client_of(container) as client, asyncio.timeout(20):
        response = await client.get("/v1/gate", headers=headers)

    assert (504, "deadline_exceeded") == (response.status_code, problem_of(response)["code"])


async def test_the_time_begins_with_the_last_part_of_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long upload does not use up the time for its answer."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__REQUEST_TIMEOUT_S", "2")

    async def slow() -> AsyncIterator[bytes]:
        for piece in (b'{"name"', b": ", b'"a"', b"}"):
            await asyncio.sleep(0.6)
            yield piece

    async with client_of() as client:
        response = await client.post("/v1/things", content=slow(), headers={"Content-Type": "application/json"})

    assert 200 == response.status_code


async def test_the_wait_for_the_last_part_is_not_the_time_of_the_work() -> None:
    """It counts from the last part on, not from the one before it."""
    parts = iter([(0.0, True), (1.2, False)])

    async def receive() -> Message:
        pause_s, more = next(parts)
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": b"a", "more_body": more}

    async def working(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        while (await receive())["more_body"]:
            pass
        await asyncio.sleep(1.2)
        await send(START)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await Deadline(working, 2)(SCOPE, receive, send)
    assert [START] == sent


async def _run(app: ASGIApp, timeout_s: float = 0.05, kind: str = "http") -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(20):
        await Deadline(app, timeout_s)({**SCOPE, "type": kind}, receive, send)
    return sent


async def test_an_answer_that_has_begun_is_not_cut_off() -> None:
    """A stream may take longer than a request."""

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send(START)
        await asyncio.sleep(0.2)
        await receive()
        await send({"type": "http.response.body", "body": b"late"})

    assert [200, None] == [message.get("status") for message in await _run(streaming)]


async def test_an_error_of_the_work_stays_its_own() -> None:
    """A TimeoutError from within says nothing about this request's time."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        raise TimeoutError("inner")

    with pytest.raises(TimeoutError, match="inner"):
        await _run(failing, 60)


async def test_work_that_answers_on_its_way_out_is_heard() -> None:
    """Whoever is cancelled and still answers has said all there is to say."""

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({**START, "status": 409})
            raise

    with pytest.raises(TimeoutError):
        await _run(late)


async def test_a_deadline_never_comes_later() -> None:
    """The time of the setting does not lengthen the caller's."""
    waited: list[float] = []

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive, send
        begun = asyncio.get_running_loop().time()
        try:
            await asyncio.Event().wait()
        finally:
            waited.append(asyncio.get_running_loop().time() - begun)

    with entered(Context("3f0c").shortened(0.01)):
        assert [504, None] == [message.get("status") for message in await _run(waiting, 600)]
    assert waited[0] < 15


async def test_other_protocols_pass_untouched() -> None:
    """Only HTTP has requests."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        await send({"type": scope["type"]})

    assert ["lifespan"] == [message["type"] for message in await _run(app, kind="lifespan")]
