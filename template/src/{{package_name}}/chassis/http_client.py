"""HTTP client: one per provider; sends one request and reads its answer, whole or in events."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contracts.context import current
from .contracts.errors import AdapterError, AdapterResponseError
from .http_failures import Where, failure_of, translated

if TYPE_CHECKING:
    import httpx2

    from .providers import HttpProviderConfig


MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Longest answer that is read; a longer one is an error, not a full memory."""

MAX_FAILURE_BYTES = 64 * 1024
"""How much of an answer that tells of a failure is read."""

type Explain = Callable[[bytes], tuple[str | None, type[AdapterError] | None]]
"""Reads the vendor's own code from the body of a failure, and the class of error where the status says too little."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_END_S = 0.1
"""How long a stream whose last event has come may take to end, so that its connection can be used again."""

_PIECE_BYTES = 1024 * 1024
_LEAST_S = 1e-6


def open_http(config: "HttpProviderConfig", headers: Mapping[str, str] | None = None) -> "httpx2.AsyncClient":
    """Return a client for the base URL of a provider, with its credential as bearer token.

    Vendors that want the credential elsewhere, or further headers, get `headers` instead of that token. It never
    retries and never follows redirects (the credential would follow too). Proxies and certificates come from the usual
    environment variables. Time limits of the whole call are the pipeline's.
    """
    import httpx2  # noqa: PLC0415 - 0.07 s that a service without HTTP providers does not pay

    timeouts, pool = config.resilience.timeouts, config.resilience.http
    most = config.resilience.max_connections()
    return httpx2.AsyncClient(
        base_url=str(config.base_url),
        headers={"Authorization": f"Bearer {config.api_key.get_secret_value()}"} if headers is None else headers,
        timeout=httpx2.Timeout(None, connect=timeouts.connect_s, pool=timeouts.connect_s),
        limits=httpx2.Limits(
            max_connections=most,
            max_keepalive_connections=most,
            keepalive_expiry=pool.keepalive_s,
        ),
        follow_redirects=False,
    )


async def post_json(
    client: "httpx2.AsyncClient",
    path: str,
    body: Mapping[str, Any],
    *,
    adapter: str,
    operation: str,
    explain: Explain | None = None,
) -> bytes:
    """Send one JSON request and return the bytes of a successful answer.

    Correlation id, trace, idempotency key and the time that is left go along as headers.

    Raises:
        AdapterError: of the class that fits; the vendor's exception is its cause.
    """
    where = Where(adapter=adapter, operation=operation)
    return await _send(client, "POST", path, where, explain, headers=_headers(), json=body)


async def get_json(
    client: "httpx2.AsyncClient", path: str, *, adapter: str, operation: str, explain: Explain | None = None
) -> bytes:
    """Ask for a JSON document and return the bytes of a successful answer, like `post_json`.

    Raises:
        AdapterError: of the class that fits; the vendor's exception is its cause.
    """
    where = Where(adapter=adapter, operation=operation)
    return await _send(client, "GET", path, where, explain, headers=_headers())


async def put_file(client: "httpx2.AsyncClient", url: str, file: Path, *, adapter: str, operation: str) -> None:
    """Send a file piece by piece, to a path of the provider or to a URL that it gave.

    Correlation id, trace and the like go along to the provider only: a URL leads to somebody else.

    Raises:
        AdapterError: of the class that fits; the vendor's exception is its cause.
    """
    where = Where(adapter=adapter, operation=operation)
    headers = {"Content-Length": str((await asyncio.to_thread(file.stat)).st_size)}
    headers |= {} if "://" in url else _headers()
    async with aclosing(_pieces(file)) as content:  # also what breaks off
        await _send(client, "PUT", url, where, None, headers=headers, content=content)


async def _pieces(file: Path) -> AsyncGenerator[bytes]:
    begin = 0
    while piece := await asyncio.to_thread(_piece, file, begin):
        begin += len(piece)
        yield piece


def _piece(file: Path, begin: int) -> bytes:
    """Return a part of a file; it is open in this thread only, where nobody's cancellation leaves it so."""
    with file.open("rb") as source:
        source.seek(begin)
        return source.read(_PIECE_BYTES)


async def _send(
    client: "httpx2.AsyncClient", method: str, url: str, where: Where, explain: Explain | None, **request: Any
) -> bytes:
    with translated(where):
        async with client.stream(method, url, **request) as response:
            content = await _bounded(response, where)
    if not response.is_success:
        raise _failure(response, content, where, explain)
    return content


async def post_events(
    client: "httpx2.AsyncClient",
    path: str,
    body: Mapping[str, Any],
    *,
    adapter: str,
    operation: str,
    last: Callable[[str], bool],
    explain: Explain | None = None,
) -> AsyncGenerator[str]:
    """Send one JSON request and yield the data of each server-sent event of the answer; `last` knows that of the last.

    Raises:
        AdapterError: like `post_json`, and for an answer that is no stream of events.
    """
    where = Where(adapter=adapter, operation=operation)
    with translated(where):
        async with client.stream("POST", path, json=body, headers=_headers()) as response:
            if not response.is_success:
                raise _failure(response, await _bounded(response, where), where, explain)
            if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
                raise AdapterResponseError("the answer is no stream of events", **where)
            async with aclosing(_events(response, where)) as events:
                async for data in events:
                    yield data
                    if last(data):
                        await _read_on(events)
                        return


def _failure(response: "httpx2.Response", content: bytes, where: Where, explain: Explain | None) -> AdapterError:
    known = explain(content) if explain else ()
    return failure_of(response.status_code, response.headers, where, *known)


async def _read_on(events: AsyncGenerator[str]) -> None:
    """Read what may follow the last event; its end leaves the connection whole, anything else closes it."""
    import httpx2  # noqa: PLC0415 - see open_http

    with suppress(TimeoutError, AdapterResponseError, httpx2.HTTPError):
        async with asyncio.timeout(_END_S):
            async for _ in events:
                pass


async def _events(response: "httpx2.Response", where: Where) -> AsyncGenerator[str]:
    """Yield the data of each event.

    Source: HTML Living Standard, parsing an event stream.
    """
    data, mark = list[bytes](), _BYTE_ORDER_MARK
    async with aclosing(_lines(response, where)) as lines:
        async for line in lines:
            name, _, value = line.removeprefix(mark).partition(b":")
            mark = b""
            if name == b"data":
                data.append(value.removeprefix(b" "))
            elif not line:
                if any(data):
                    yield _text(data)
                data = []
    if any(data):
        yield _text(data)


async def _lines(response: "httpx2.Response", where: Where) -> AsyncGenerator[bytes]:
    """Yield lines as soon as they end: with CR, LF or both, and with nothing else."""
    size, begun, after_cr = 0, list[bytes](), False
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise AdapterResponseError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", **where)
        content = piece.removeprefix(b"\n") if after_cr else piece
        after_cr = piece.endswith(b"\r")
        first, *lines = _LINE_END.split(content)
        begun.append(first)
        if lines:
            yield b"".join(begun)
            for line in lines[:-1]:
                yield line
            begun = lines[-1:]
    yield b"".join(begun)


def _text(data: list[bytes]) -> str:
    return b"\n".join(data).decode(errors="replace")


def _headers() -> dict[str, str]:
    context = current()
    along = {"traceparent": context.traceparent, "tracestate": context.tracestate}
    along["Idempotency-Key"] = context.idempotency_key
    headers = {"X-Request-ID": context.correlation_id}
    headers |= {name: value for name, value in along.items() if value is not None}
    remaining_s = context.remaining_s()
    if remaining_s is not None:
        # Never 0, which no receiver could use.
        headers["X-Request-Timeout"] = f"{max(remaining_s, _LEAST_S):.6f}"
    return headers


async def _bounded(response: "httpx2.Response", where: Where) -> bytes:
    content = bytearray()
    most = MAX_ANSWER_BYTES if response.is_success else min(MAX_ANSWER_BYTES, MAX_FAILURE_BYTES)
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > most:
            if not response.is_success:
                break  # its status says enough
            message = f"the answer is longer than {MAX_ANSWER_BYTES} bytes"
            raise AdapterResponseError(message, **where)
    return bytes(content)
