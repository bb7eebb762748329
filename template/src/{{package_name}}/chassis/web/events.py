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
    async with aclosing(events):
        waiting: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(events, None))
                await asyncio.wait([waiting], timeout=KEEP_ALIVE_S)
                if not waiting.done():
                    yield _KEEP_ALIVE
                    continue
                content, waiting = waiting.result(), None
                if content is None:
                    return
                yield content
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait([waiting])
