"""Events: answers that come in pieces, as server-sent events.

Source: HTML Living Standard, server-sent events.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from ..contracts.json import to_json

KEEP_ALIVE_S = 15.0
"""Silence after which a comment keeps proxies from closing the connection."""

_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = "text/event-stream"


def event(name: str, value: object) -> bytes:
    """Return one event with a contract value as its data."""
    text = json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(event=name, data_str=text)


def event_stream(events: AsyncGenerator[bytes]) -> EventStream:
    """Return a response that sends the events as they come; they are closed when the caller hangs up."""
    return EventStream(_kept_alive(events), headers=_HEADERS)


async def _kept_alive(events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Yield the events and, in silence, comments.

    A task of its own reads and closes the events: nothing has to be awaited when the caller leaves, so that being
    cancelled again on the way out does no harm.
    """
    ready: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    failures: list[Exception] = []

    async def read() -> None:
        try:
            async with aclosing(events):
                async for content in events:
                    await ready.put(content)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
        await ready.put(None)

    reader = asyncio.create_task(read())
    try:
        while True:
            try:
                content = await asyncio.wait_for(ready.get(), KEEP_ALIVE_S)
            except TimeoutError:
                content = _KEEP_ALIVE
            if content is None:
                break
            yield content
    finally:
        reader.cancel()
    if failures:
        raise failures[0]
