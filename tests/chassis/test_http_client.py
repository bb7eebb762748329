"""One request to a provider, and every way in which it can fail."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.samples.kinds.remote import RemoteConfig
from object_service.chassis import http_client
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import AdapterError, AdapterQuotaError
from object_service.chassis.http_client import Explain, open_http, post_json
from object_service.chassis.http_failures import retry_after

CONFIG = RemoteConfig.model_validate({"base_url": "https://api.example/v1", "api_key": "key-abc", "model": "m"})
STATUSES = {
    300: ("AdapterResponseError", False),
    302: ("AdapterResponseError", False),
    400: ("AdapterInvalidRequestError", False),
    402: ("AdapterQuotaError", False),
    401: ("AdapterAuthenticationError", False),
    403: ("AdapterAuthenticationError", False),
    404: ("AdapterNotFoundError", False),
    408: ("AdapterTimeoutError", True),
    409: ("AdapterConflictError", False),
    418: ("AdapterInvalidRequestError", False),
    422: ("AdapterInvalidRequestError", False),
    425: ("AdapterTransientError", True),
    429: ("AdapterRateLimitedError", True),
    499: ("AdapterInvalidRequestError", False),
    500: ("AdapterTransientError", True),
    501: ("AdapterPermanentError", False),
    502: ("AdapterTransientError", True),
    503: ("AdapterUnavailableError", True),
    504: ("AdapterTimeoutError", True),
    529: ("AdapterTransientError", True),
}
REQUEST = httpx2.Request("POST", "https://api.example/v1?key=hidden")
EXCEPTIONS: dict[str, tuple[Exception, str, str]] = {
    "refused": (httpx2.ConnectError("x", request=REQUEST), "AdapterConnectionError", "not_sent"),
    "connect-timeout": (httpx2.ConnectTimeout("x", request=REQUEST), "AdapterConnectionError", "not_sent"),
    "pool-timeout": (httpx2.PoolTimeout("x", request=REQUEST), "AdapterOverloadedError", "not_sent"),
    "read-timeout": (httpx2.ReadTimeout("x", request=REQUEST), "AdapterTimeoutError", "unknown"),
    "write-timeout": (httpx2.WriteTimeout("x", request=REQUEST), "AdapterTimeoutError", "unknown"),
    "reset": (httpx2.ReadError("x", request=REQUEST), "AdapterConnectionError", "unknown"),
    "hung-up": (httpx2.RemoteProtocolError("x", request=REQUEST), "AdapterConnectionError", "unknown"),
    "garbled": (httpx2.DecodingError("x", request=REQUEST), "AdapterResponseError", "unknown"),
}

type Handler = Callable[[httpx2.Request], httpx2.Response]


async def _post(handler: Handler, explain: Explain | None = None) -> bytes:
    async with open_http(CONFIG) as real:
        client = httpx2.AsyncClient(
            transport=httpx2.MockTransport(handler), base_url=real.base_url, headers=real.headers
        )
        async with client:
            return await post_json(
                client, "chat/completions", {"a": "é"}, adapter="mine", operation="generate", explain=explain
            )


async def _failure(handler: Handler, explain: Explain | None = None) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        await _post(handler, explain)
    return caught.value


def _raising(error: Exception) -> Handler:
    def handler(request: httpx2.Request) -> httpx2.Response:
        del request
        raise error

    return handler


async def test_a_request_carries_body_and_credential() -> None:
    """The path stands below the base URL, the body is JSON, the credential a bearer token."""
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(201, content=b"answer")

    assert b"answer" == await _post(handler)
    (request,) = seen
    assert ("POST", "https://api.example/v1/chat/completions") == (request.method, str(request.url))
    assert {"a": "é"} == json.loads(request.content)
    assert "Bearer key-abc" == request.headers["authorization"]


async def test_the_surroundings_of_the_call_go_along() -> None:
    """Correlation id, idempotency key, trace and the time that is left."""
    seen: list[httpx2.Headers] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers)
        return httpx2.Response(200)

    with entered(Context("3f0c", "key-1", "00-trace", tracestate="a=1").shortened(5)):
        await _post(handler)
    with entered(Context("3f0d")):
        await _post(handler)

    names = ("x-request-id", "idempotency-key", "traceparent", "tracestate")
    assert ["3f0c", "key-1", "00-trace", "a=1"] == [seen[0][name] for name in names]
    assert 4 < float(seen[0]["x-request-timeout"]) <= 5
    assert "3f0d" == seen[1]["x-request-id"]
    assert not {"idempotency-key", "traceparent", "tracestate", "x-request-timeout"} & set(seen[1])


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.0004, 0.3])
async def test_the_time_that_is_left_is_never_zero(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """However little is left, the receiver gets a number that it can use."""
    monkeypatch.setattr(Context, "remaining_s", lambda _: seconds)
    seen: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["x-request-timeout"])
        return httpx2.Response(200)

    await _post(handler)

    assert 0 < float(seen[0]) <= max(seconds, 1e-6)


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"no-money", "AdapterQuotaError", "no-money"),
        (b"slow-down", "AdapterRateLimitedError", "slow-down"),
        (b"", "AdapterRateLimitedError", None),
    ],
    ids=["class-and-code", "code", "nothing"],
)
async def test_the_body_of_a_failure_may_say_more(content: bytes, name: str, code: str | None) -> None:
    """An adapter reads the vendor's own code, which may change the class; the code stays inside."""

    def explain(body: bytes) -> tuple[str | None, type[AdapterError] | None]:
        return body.decode() or None, AdapterQuotaError if body == b"no-money" else None

    error = await _failure(lambda _: httpx2.Response(429, content=content, headers={"Retry-After": "7"}), explain)

    assert (name, code, 7.0) == (type(error).__name__, error.provider_code, error.retry_after_s)
    assert f"mine.generate: HTTP 429{f' ({code})' if code else ''}" == str(error)


async def test_only_the_beginning_of_a_failure_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that goes on for ever is cut much earlier than an answer."""
    monkeypatch.setattr(http_client, "MAX_FAILURE_BYTES", 1000)
    stream = _Stream(pieces=1000, size=100)

    await _failure(lambda _: httpx2.Response(500, stream=stream))

    assert 11 == stream.read


@pytest.mark.parametrize(("status", "expected"), STATUSES.items(), ids=[str(status) for status in STATUSES])
async def test_a_status_becomes_an_error(status: int, expected: tuple[str, bool]) -> None:
    """Each status has one class; only 408, 425, 429 and 5xx except 501 may be tried again."""
    error = await _failure(lambda _: httpx2.Response(status, text="vendor text", headers={"Location": "/x"}))

    assert (*expected, "rejected") == (type(error).__name__, error.retryable, error.request_state.value)
    assert f"mine.generate: HTTP {status}" == str(error)
    assert error.retry_after_s is None


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_the_time_to_wait_is_kept(status: int) -> None:
    """What the provider says about trying again goes outward."""
    error = await _failure(lambda _: httpx2.Response(status, headers={"Retry-After": "7"}))

    assert 7.0 == error.retry_after_s


@pytest.mark.parametrize(("raised", "name", "state"), EXCEPTIONS.values(), ids=EXCEPTIONS)
async def test_an_exception_becomes_an_error(raised: Exception, name: str, state: str) -> None:
    """Class and request state say whether anything can have happened; the vendor's exception is the cause."""
    error = await _failure(_raising(raised))

    assert (name, state) == (type(error).__name__, error.request_state.value)
    assert raised is error.__cause__
    assert "hidden" not in f"{error} {error.user_message}"


class _Stream(httpx2.AsyncByteStream):
    """Pieces of an answer, counted while they are read."""

    def __init__(self, pieces: int, size: int) -> None:
        self.read = 0
        self._pieces, self._size = pieces, size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._pieces):
            self.read += 1
            yield bytes(self._size)


@pytest.mark.parametrize(
    ("status", "said"), [(200, "the answer is longer than 1000 bytes"), (500, "HTTP 500")], ids=["success", "failure"]
)
async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch, status: int, said: str) -> None:
    """Memory stays bounded, whatever a provider sends; the rest is not read. A failure is known by its status."""
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1000)
    stream = _Stream(pieces=1000, size=100)

    error = await _failure(lambda _: httpx2.Response(status, stream=stream))

    assert f"mine.generate: {said}" == str(error)
    assert 11 == stream.read


async def test_an_answer_at_the_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself is allowed."""
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1000)

    assert 1000 == len(await _post(lambda _: httpx2.Response(200, stream=_Stream(pieces=10, size=100))))


async def test_the_limit_counts_what_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small answer that unpacks to a large one is cut; one that cannot be unpacked is unreadable."""
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1000)
    headers = {"Content-Encoding": "gzip"}

    large = await _failure(lambda _: httpx2.Response(200, content=gzip.compress(bytes(5000)), headers=headers))

    assert "longer than 1000 bytes" in str(large)
    # The mock unpacks at once when it is given bytes, so the broken answer comes as a stream.
    broken = await _failure(lambda _: httpx2.Response(200, stream=_Stream(1, 100), headers=headers))
    assert "mine.generate: the answer cannot be decoded" == str(broken)


async def test_a_client_follows_the_settings() -> None:
    """Limits and time limits are those of the provider; redirects are not followed, with the credential."""
    async with open_http(CONFIG) as client:
        assert not client.follow_redirects
        assert (None, 5, 5) == (client.timeout.read, client.timeout.connect, client.timeout.pool)
        assert "https://api.example/v1/" == str(client.base_url)


def _date(delta: timedelta) -> str:
    return format_datetime(datetime.now(UTC) + delta, usegmt=True)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (None, None),
        (7.0, "7"),
        (0.0, "0"),
        (7.0, " 7 "),
        (0.0, "Wed, 21 Oct 2015 07:28:00 GMT"),
        (0.0, "Wed, 21 Oct 2015 07:28:00 -0000"),
        (None, "soon"),
        (None, ""),
        (None, "-1"),
        (None, "1.5"),
        (None, "٣"),
        (1e9, "9" * 400),
        (1e9, "9999999999"),
        (1e9, "Fri, 31 Dec 9999 23:59:59 GMT"),
        (None, "Wed, 21 Oct 2015 07:28:00 +99999999999999999"),
        (None, "Wed, 99 Oct 2015 07:28:00 GMT"),
    ],
    ids=[
        "none", "seconds", "zero", "spaces", "past", "past-naive", "words", "empty", "negative", "fraction",
        "other-digits", "giant", "centuries", "millennia", "giant-zone", "no-such-day",
    ],
)  # fmt: skip
def test_retry_after_has_two_forms(expected: float | None, value: str | None) -> None:
    """Seconds or a date, cut to a number that can be passed on; a past date means at once, other words unknown."""
    assert expected == retry_after(value)


def test_a_date_in_the_future_is_waited_for() -> None:
    """The seconds until then."""
    seconds = retry_after(_date(timedelta(seconds=90)))

    assert seconds is not None
    assert 80 < seconds <= 90


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d [+-]\d+"))
def test_no_header_breaks_the_client(value: str) -> None:
    """A provider can send anything."""
    seconds = retry_after(value)

    assert seconds is None or 0 <= seconds < 1e12
