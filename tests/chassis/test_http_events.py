"""Events of a provider: read one by one from a real client, with every failure translated."""

import asyncio
from collections.abc import AsyncIterator, Callable
from unittest.mock import Mock

import httpx2
import pytest
from pydantic import HttpUrl, SecretStr

from object_service.chassis import http_client
from object_service.chassis.contracts.errors import (
    AdapterConnectionError,
    AdapterError,
    AdapterQuotaError,
    AdapterRateLimitedError,
    AdapterResponseError,
    AdapterTimeoutError,
    RequestState,
)
from object_service.chassis.http_client import open_http, post_events
from object_service.chassis.providers import HttpProviderConfig

CONFIG = HttpProviderConfig(base_url=HttpUrl("https://api.example/v1/"), api_key=SecretStr("key-abc"))
EVENTS = {"Content-Type": "text/event-stream"}


class _Parts(httpx2.AsyncByteStream):
    """A body that comes in parts; an error among them is raised."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self._parts = parts
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self) -> None:
        self.closed = True


async def _told(
    handler: Callable[[httpx2.Request], httpx2.Response], events: list[str], known: type[AdapterError] | None = None
) -> None:
    async with open_http(CONFIG) as real:
        client = httpx2.AsyncClient(
            transport=httpx2.MockTransport(handler), base_url=real.base_url, headers=real.headers
        )
        async with client:
            async for data in post_events(
                client,
                "chat",
                {"a": 1},
                adapter="mine",
                operation="stream",
                last="[DONE]".__eq__,
                explain=lambda _: ("no_money", known),
            ):
                events.append(data)  # noqa: PERF401 - what came before an error counts


async def test_the_data_of_each_event_is_yielded() -> None:
    """Comments, names and blank lines are not; a piece of the body need not end where an event does."""
    body = _Parts(b": hello\n\nevent: x\ndata: {", b'"a": 1}\n\nda', b"ta:two\r\n\r\nid: 7\n\n")

    events: list[str] = []
    await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=body), events)

    assert ['{"a": 1}', "two"] == events
    assert body.closed


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"], ids=ascii)
async def test_only_line_ends_end_a_line(mark: str) -> None:
    """What other systems take for the end of a line is text."""
    events: list[str] = []
    stream = _Parts(f"data: a{mark}b\n\n".encode())
    await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=stream), events)

    assert [f"a{mark}b"] == events


async def test_lines_of_one_event_belong_together() -> None:
    """Whichever way lines end, and wherever the body is cut."""
    events: list[str] = []
    stream = _Parts(b"data: a\r", b"\ndata: b\r\n\r", b"\ndata:c\r\rdata: d\n\ndata: e")
    await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=stream), events)

    assert ["a\nb", "c", "d", "e"] == events


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"\xef\xbb\xbfdata: a\n\n"], ["a"]),
        ([b"data\ndata: a\n\ndata\n\ndata: b\n\n"], ["\na", "b"]),
        (["data: \u00e4\n\n".encode()[:7], "data: \u00e4\n\n".encode()[7:]], ["\u00e4"]),
    ],
    ids=["byte-order-mark", "no-colon", "half-a-character"],
)
async def test_the_standard_is_kept(parts: list[bytes], expected: list[str]) -> None:
    """Also where senders rarely go."""
    events: list[str] = []
    await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=_Parts(*parts)), events)

    assert expected == events


async def test_a_line_ends_when_it_ends() -> None:
    """Whoever ends lines with CR alone is not heard one event late."""
    events: list[str] = []
    stream = _Parts(b"data: a\r\r", httpx2.ReadError("x"))
    with pytest.raises(AdapterConnectionError):
        await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=stream), events)

    assert ["a"] == events


async def test_every_byte_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line in many small parts must not keep the service busy: the work grows with its length only."""
    split = Mock(wraps=http_client._LINE_END.split)
    monkeypatch.setattr(http_client, "_LINE_END", Mock(split=split))
    events: list[str] = []
    stream = _Parts(b"data: ", *[b"x" * 100] * 2000, b"\n\n")
    await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=stream), events)

    assert ["x" * 200_000] == events
    assert 200_008 == sum(len(call.args[0]) for call in split.call_args_list)


class _Silent(_Parts):
    """A body that does not end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in super().__aiter__():
            yield part
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "body",
    [
        _Parts(b"data: [DONE]\n\n", b"data: more\n\n"),
        _Parts(b"data: [DONE]\n\n", httpx2.ReadError("x")),
        _Silent(b"data: [DONE]\n\n"),
    ],
    ids=["more", "reset", "silence"],
)
async def test_after_the_last_event_nothing_counts(body: _Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the body is waited for, but not for long: with it the connection can be used again."""
    monkeypatch.setattr(http_client, "_END_S", 0.01)
    events: list[str] = []
    await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=body), events)

    assert ["[DONE]"] == events
    assert body.closed


async def test_a_line_that_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded while it arrives."""
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1000)
    with pytest.raises(AdapterResponseError, match="longer than 1000 bytes"):
        await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=_Parts(*[b"x" * 100] * 11)), [])


async def test_a_failure_has_its_class() -> None:
    """Like an ordinary call: by its status, with the time to come back and the code of the body."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(429, headers={"Retry-After": "7"}, content=b"{}")

    with pytest.raises(AdapterRateLimitedError) as caught:
        await _told(handler, [])

    assert (7, "no_money") == (caught.value.retry_after_s, caught.value.provider_code)


async def test_a_body_may_tell_the_class() -> None:
    """A used-up quota comes as a rate limit otherwise."""
    with pytest.raises(AdapterQuotaError):
        await _told(lambda _: httpx2.Response(429, content=b"{}"), [], AdapterQuotaError)


async def test_the_type_of_events_has_no_case() -> None:
    """Header values of this kind may be written either way."""
    events: list[str] = []
    headers = {"Content-Type": "Text/Event-Stream; charset=UTF-8"}
    await _told(lambda _: httpx2.Response(200, headers=headers, stream=_Parts(b"data: a\n\n")), events)

    assert ["a"] == events


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}], ids=["none", "json"])
async def test_what_is_no_stream_is_unreadable(headers: dict[str, str]) -> None:
    """A success with something else than events."""
    with pytest.raises(AdapterResponseError, match="no stream of events"):
        await _told(lambda _: httpx2.Response(200, headers=headers, content=b"{}"), [])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx2.ReadError("x"), AdapterConnectionError),
        (httpx2.ReadTimeout("x"), AdapterTimeoutError),
        (httpx2.RemoteProtocolError("x"), AdapterConnectionError),
    ],
    ids=["reset", "silence", "protocol"],
)
async def test_what_breaks_in_the_middle_is_translated(error: Exception, expected: type[AdapterError]) -> None:
    """The events before it have been handed on; nobody knows how far the provider came."""
    events: list[str] = []
    stream = _Parts(b"data: one\n\n", error)
    with pytest.raises(expected) as caught:
        await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=stream), events)

    assert (["one"], RequestState.UNKNOWN) == (events, caught.value.request_state)
    assert error is caught.value.__cause__


async def test_an_endless_stream_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and so does what is read in all."""
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1000)
    events: list[str] = []
    stream = _Parts(*[b"data: " + b"x" * 94 + b"\n\n"] * 100)
    with pytest.raises(AdapterResponseError, match="longer than 1000 bytes"):
        await _told(lambda _: httpx2.Response(200, headers=EVENTS, stream=stream), events)

    assert 9 == len(events)
