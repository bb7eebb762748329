"""Draining: the end of a listening socket, so that nobody who was let in is turned away."""

import array
import asyncio
import select
import socket
import struct
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

QUIET_S = 0.5
"""How long a connection without a request may still bring one; it may be on its way."""

_LOOK_AGAIN_S = 0.02
_SO_ATTACH_FILTER = 26
_ONLY_FIRST_PACKETS = (  # load the flags of TCP; keep SYN and ACK; a lone SYN goes on, others jump; drop; accept
    (0x30, 0, 0, 13),
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)
"""Classic BPF: op code, jump if true, jump if false, operand. Source: Linux, networking/filter; RFC 9293, 3.1."""


async def last_connections(
    listeners: Sequence[socket.socket], connections: Collection[object], enough: Callable[[], bool]
) -> None:
    """Let nobody in any more, and return when everybody who was let in has been heard, or `enough` says so.

    Closing a listening socket resets whoever waits in its queue: the queue is emptied first, by the server that still
    listens. Then connections without a request have a moment to bring the one that may be on its way.
    """
    for listener in listeners:
        _turn_newcomers_away(listener)
    await wait_while(lambda: any(map(_has_queue, listeners)), QUIET_S)
    await asyncio.sleep(_LOOK_AGAIN_S)  # whoever came from the queue becomes a connection
    await wait_while(lambda: any(map(_is_quiet, connections)) and not enough(), QUIET_S)


async def wait_while(condition: Callable[[], bool], limit_s: float) -> None:
    """Wait as long as a condition holds, and no longer than the limit."""
    now = asyncio.get_running_loop().time
    end = now() + limit_s
    while condition() and (left_s := end - now()) > 0:  # noqa: ASYNC110 - neither the kernel nor uvicorn tells
        await asyncio.sleep(min(left_s, _LOOK_AGAIN_S))


def _turn_newcomers_away(listener: socket.socket) -> None:
    """Have the kernel ignore who begins to connect; they try again, and find the socket closed or its successor.

    Elsewhere than on Linux there is no such filter: who comes in the microseconds before the end is reset.
    """
    if sys.platform != "linux":
        return
    steps = array.array("B", b"".join(struct.pack("HBBI", *step) for step in _ONLY_FIRST_PACKETS))
    program = struct.pack("HL", len(_ONLY_FIRST_PACKETS), steps.buffer_info()[0])
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _has_queue(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def _is_quiet(connection: object) -> bool:
    """Tell whether a connection of uvicorn's has no request under way."""
    cycle = getattr(connection, "cycle", None)
    return cycle is None or bool(cycle.response_complete)
