"""Server-sent events: sent as they come, kept alive in silence, closed when the caller leaves."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from object_service.chassis.web import events
from object_service.chassis.web.events import event, event_stream


async def _body(source: AsyncGenerator[bytes]) -> list[bytes]:
    stream: Any = event_stream(source).body_iterator
    return [content async for content in stream]


def test_an_event_has_a_name_and_one_line_of_json() -> None:
    """Line breaks in the data cannot end the event."""
    assert b'event: delta\ndata: {"text":"a\\nb \xc3\xa4"}\n\n' == event("delta", {"text": "a\nb ä"})


async def test_events_are_sent_in_order() -> None:
    """Nothing is added where nothing is late; no cache and no proxy holds them back."""

    async def source() -> AsyncGenerator[bytes]:
        yield b"one"
        yield b"two"

    assert [b"one", b"two"] == await _body(source())
    headers = event_stream(source()).headers
    assert ("no-cache", "no") == (headers["cache-control"], headers["x-accel-buffering"])


async def test_silence_is_bridged_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event that was waited for is not lost."""
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.01)

    async def source() -> AsyncGenerator[bytes]:
        await asyncio.sleep(0.035)
        yield b"one"

    *comments, last = await _body(source())

    assert {b": keep-alive\n\n"} == set(comments)
    assert b"one" == last


async def test_an_error_passes_through() -> None:
    """After the events before it."""

    async def source() -> AsyncGenerator[bytes]:
        yield b"one"
        raise KeyError

    stream: Any = event_stream(source()).body_iterator

    assert b"one" == await anext(stream)
    with pytest.raises(KeyError):
        await anext(stream)


async def test_a_source_that_is_cancelled_ends() -> None:
    """It does not turn into silence for ever."""

    async def source() -> AsyncGenerator[bytes]:
        yield b"one"
        raise asyncio.CancelledError

    stream: Any = event_stream(source()).body_iterator

    assert b"one" == await anext(stream)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(anext(stream), 1)


@pytest.mark.parametrize("waits", [True, False], ids=["in-silence", "between-events"])
async def test_leaving_closes_the_source(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a case
    """Whatever the source is doing."""
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.01)
    closed = []

    async def source() -> AsyncGenerator[bytes]:
        try:
            yield b"one"
            if waits:
                await asyncio.Event().wait()
            yield b"two"
        finally:
            closed.append(True)

    stream: Any = event_stream(source()).body_iterator
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0.01)

    assert [True] == closed
