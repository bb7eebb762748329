"""HTTP failures: every way in which a request can fail, as one family of errors."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypedDict

from .contracts.errors import (
    AdapterAuthenticationError,
    AdapterConflictError,
    AdapterConnectionError,
    AdapterError,
    AdapterInvalidRequestError,
    AdapterNotFoundError,
    AdapterOverloadedError,
    AdapterPermanentError,
    AdapterQuotaError,
    AdapterRateLimitedError,
    AdapterResponseError,
    AdapterTimeoutError,
    AdapterTransientError,
    AdapterUnavailableError,
    RequestState,
)


class Where(TypedDict):
    """Which call failed, as every adapter error names it."""

    adapter: str
    operation: str


_BY_STATUS: Mapping[int, type[AdapterError]] = {
    401: AdapterAuthenticationError,
    402: AdapterQuotaError,
    403: AdapterAuthenticationError,
    404: AdapterNotFoundError,
    408: AdapterTimeoutError,
    409: AdapterConflictError,
    425: AdapterTransientError,
    429: AdapterRateLimitedError,
    501: AdapterPermanentError,
    503: AdapterUnavailableError,
    504: AdapterTimeoutError,
}

_FAILURES = frozenset(map(str, range(400, 600)))
_LONGEST_S = 1e9
"""What longer pauses count as: beyond any limit, and still a number that can be passed on."""


@contextmanager
def translated(where: Where) -> Iterator[None]:
    """Raise what fits for every way in which a request can fail."""
    import httpx2  # noqa: PLC0415 - see http_client

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        message = f"no connection ({type(error).__name__})"
        raise AdapterConnectionError(message, **where, cause=error, request_state=RequestState.NOT_SENT) from error
    except httpx2.PoolTimeout as error:
        raise AdapterOverloadedError("no free connection in the pool", **where, cause=error) from error
    except httpx2.TimeoutException as error:
        raise AdapterTimeoutError(f"no answer ({type(error).__name__})", **where, cause=error) from error
    except httpx2.DecodingError as error:
        raise AdapterResponseError("the answer cannot be decoded", **where, cause=error) from error
    except httpx2.InvalidURL:
        # A URL that the provider gave: it may be a secret, and the client's error quotes it.
        raise AdapterResponseError("the URL cannot be used", **where) from None
    except httpx2.HTTPError as error:
        message = f"the connection broke ({type(error).__name__})"
        raise AdapterConnectionError(message, **where, cause=error) from error


def failure_of(
    status: int,
    headers: Mapping[str, str],
    where: Where,
    provider_code: str | None = None,
    known: type[AdapterError] | None = None,
) -> AdapterError:
    """Return the error for an answer that is not a success; of the class `known` where the body told it.

    408, 425, 429 and 5xx except 501 may be tried again. A redirect is an unreadable answer: the base URL is wrong.
    """
    message = f"HTTP {status}" if provider_code is None else f"HTTP {status} ({provider_code})"
    error = known or _class_of(status)
    return error(
        message,
        **where,
        provider_code=provider_code,
        request_state=RequestState.REJECTED,
        retry_after_s=retry_after(headers.get("retry-after")),
    )


def failure_within(
    where: Where, provider_code: str | None, codes: Iterable[str], known: type[AdapterError] | None = None
) -> AdapterError:
    """Return the error for a failure in an answer whose status is a success; of the class `known` where that is clear.

    Otherwise the first of the `codes` that is a status from 400 to 599 decides; without one it may be tried again.
    """
    error = known or next((_class_of(int(code)) for code in codes if code in _FAILURES), AdapterTransientError)
    return error("the answer is a failure", **where, provider_code=provider_code, request_state=RequestState.REJECTED)


def _class_of(status: int) -> type[AdapterError]:
    if status < 400:  # noqa: PLR2004 - the border between redirects and errors
        return AdapterResponseError
    return _BY_STATUS.get(status, AdapterInvalidRequestError if status < 500 else AdapterTransientError)  # noqa: PLR2004


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; a past date means 0, garbage means None.

    Source: RFC 9110, section 10.2.3.
    """
    text = "" if value is None else value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max(0.0, (aware - datetime.now(UTC)).total_seconds()), _LONGEST_S)
