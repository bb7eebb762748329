"""Events: answers that come in pieces, as server-sent events.

Source: HTML Living Standard, server-sent events.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

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


def events_of(**schemas: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return what a route says in the OpenAPI document about the events that it sends, by their names."""
    events = [
        {
            "type": "object",
            "required": ["event", "data"],
            "properties": {
                "event": {"const": name},
                "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": schema},
            },
        }
        for name, schema in schemas.items()
    ]
    return {
        200: {
            "description": "Events",
            "content": {EventStream.media_type: {"schema": {"type": "object", "oneOf": events}}},
        }
    }


def event(name: str, value: object) -> bytes:
    """Return one event with a contract value as its data."""
    text = json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return format_sse_event(event=name, data_str=text)


def event_stream(events: AsyncGenerator[bytes]) -> EventStream:
    """Return a response that sends the events as they come; they are closed when the caller hangs up."""
    return EventStream(pumped(events, (KEEP_ALIVE_S, _KEEP_ALIVE)), headers=_HEADERS)


async def pumped(
    pieces: AsyncGenerator[bytes], silence: tuple[float | None, bytes] = (None, b""), *, stall_s: float | None = None
) -> AsyncGenerator[bytes]:
    """Yield the pieces; after `silence` in seconds, what fills it, and an error if nobody takes one for `stall_s`.

    A task of its own reads and closes the pieces: nothing has to be awaited when the caller leaves, so that being
    cancelled again on the way out does no harm. However that task ends, its last piece is followed by the end.
    """
    ready: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    silence_s, filler = silence

    async def read() -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                async with asyncio.timeout(stall_s):
                    await ready.put(piece)

    def wake(_: asyncio.Task[None]) -> None:
        if ready.empty():
            ready.put_nowait(None)

    reader = asyncio.create_task(read())
    reader.add_done_callback(wake)
    try:
        while not (reader.done() and ready.empty()):
            try:
                piece = await asyncio.wait_for(ready.get(), silence_s)
            except TimeoutError:
                piece = filler
            if piece is not None:
                yield piece
        reader.result()
    finally:
        reader.cancel()
        reader.add_done_callback(lambda task: task.cancelled() or task.exception())
