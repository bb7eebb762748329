"""Uploads to a URL that a provider gave: whole, without its credential, and with nothing left open."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from object_service.chassis.contracts.errors import AdapterConnectionError, AdapterError, AdapterResponseError
from object_service.chassis.http_client import put_file

CONTENT = b"sound" * 500_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of several pieces."""
    path = tmp_path / "upload"
    path.write_bytes(CONTENT)
    return path


async def test_a_file_arrives_as_it_is(file: Path) -> None:
    """Its length is known before; no header of our own goes along."""
    seen: list[httpx2.Request] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        seen.append(request)
        return httpx2.Response(200)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        await put_file(client, "https://storage.example/a?key=hidden", file, adapter="mine", operation="start")

    (request,) = seen
    assert ("PUT", CONTENT) == (request.method, request.content)
    assert str(len(CONTENT)) == request.headers["content-length"]
    assert not {"authorization", "x-request-id", "transfer-encoding"} & set(request.headers)


async def test_a_refusal_says_nothing_of_the_url(file: Path) -> None:
    """The URL is a secret: who knows it may write."""

    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(403)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        with pytest.raises(AdapterError, match="HTTP 403") as failure:
            await put_file(client, "https://storage.example/a?key=hidden", file, adapter="mine", operation="start")
    assert "hidden" not in f"{failure.value} {failure.value!r}"


@pytest.mark.parametrize("url", ["https://h\n/?key=hidden", "https://h:port/?key=hidden"], ids=["lines", "port"])
async def test_a_url_that_cannot_be_used_is_an_unreadable_answer(file: Path, url: str) -> None:
    """A provider gave it; the client's own error would quote it, so it is not kept."""
    async with httpx2.AsyncClient() as client:
        with pytest.raises(AdapterResponseError, match="cannot be used") as failure:
            await put_file(client, url, file, adapter="mine", operation="start")

    assert None is failure.value.__cause__
    assert "hidden" not in f"{failure.value} {failure.value!r}"


class _BreakingTransport(httpx2.AsyncBaseTransport):
    """A connection that breaks after the first piece; it remembers where the pieces come from."""

    content: Any = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        stream: Any = request.stream
        self.content = vars(stream)["_stream"]
        async for _ in stream:
            raise httpx2.WriteError("x", request=request)
        return httpx2.Response(200)


async def test_an_upload_that_breaks_off_leaves_no_open_file(file: Path) -> None:
    """The pieces that were not asked for are given up at once."""
    transport = _BreakingTransport()
    async with httpx2.AsyncClient(transport=transport) as client:
        with pytest.raises(AdapterConnectionError):
            await put_file(client, "https://storage.example/a", file, adapter="mine", operation="start")

    assert transport.content is not None
    assert transport.content.ag_frame is None
