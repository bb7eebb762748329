"""Network: connections that lead to the addresses that were checked, and to no other.

A name is resolved once for each connection. Resolved again, it might lead somewhere else.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread

import httpcore2

from ..contracts.call import HELD
from .addresses import Network, may_be_reached
from .failures import RefusedError

type Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns every address of a host, as text."""

_UNKNOWN = "The host of the URL is unknown, or not all of its addresses are public."
"""One text for both: whoever asks learns nothing about names that only the inside knows."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return every address of a host; an address stands for itself.

    A resolver may hang for as long as it likes: no other look-up waits for its thread, and neither does the exit.
    """
    try:
        return [str(ip_address(host))]
    except ValueError:
        answer = Future[list[str]]()
    answer.set_running_or_notify_cancel()
    Thread(target=_look_up, args=(host, port, answer), name="resolver", daemon=True).start()
    if (held := HELD.get()) is not None:
        held.append(answer)
    return await asyncio.wrap_future(answer)


def _look_up(host: str, port: int, answer: Future[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
        answer.set_exception(error)
    else:
        answer.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to hosts all of whose addresses may be reached; TLS still verifies the name of the host."""

    def __init__(self, resolve: Resolve, allowed: Sequence[Network]) -> None:
        """Take what resolves names, and networks that are allowed although they are not public."""
        self._resolve, self._allowed = resolve, allowed
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of the library
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            RefusedError: if the name is unknown, or any of its addresses may not be reached.
        """
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise RefusedError(_UNKNOWN, detail=f"{host}: {error}") from error
        if not addresses or not all(may_be_reached(address, self._allowed) for address in addresses):
            raise RefusedError(_UNKNOWN, detail=f"{host}: {', '.join(addresses)}")
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)
