"""Failures of fetching, in words that tell a caller nothing about the network of the service."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from ..contracts.errors import AdapterConnectionError, AdapterTimeoutError, AdapterTransientError
from ..http_failures import Where

WHERE = Where(adapter="outgoing", operation="fetch")
TOO_LATE = "The source of the URL did not answer in time."
UNREACHABLE = "The source of the URL could not be reached, or its answer broke off."

_MAY_PASS = frozenset({408, 425, 429})


class RefusedError(Exception):
    """A URL, or what lies behind it, that is not fetched; the text is safe to show."""

    def __init__(self, message: str, *, code: str = "unsupported_source", detail: str = "") -> None:
        """Keep the text and the code of the problem, and a detail for the log."""
        super().__init__(message)
        self.code, self.detail = code, detail


@contextmanager
def translated(host: str) -> Iterator[None]:
    """Raise what fits for every way in which asking a host can fail."""
    import httpcore2  # noqa: PLC0415 - see http_client

    try:
        yield
    except httpcore2.TimeoutException as error:
        message = f"{host}: {type(error).__name__}"
        raise AdapterTimeoutError(message, **WHERE, user_message=TOO_LATE, cause=error) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        # The pool takes the cause away; the error still holds it.
        if isinstance(next(iter(error.args), None), ssl.SSLError):
            detail = f"{host}: {error}"
            raise RefusedError("The source of the URL has no certificate that is valid here.", detail=detail) from error
        message = f"{host}: {type(error).__name__}"
        raise AdapterConnectionError(message, **WHERE, user_message=UNREACHABLE, cause=error) from error


def check_status(host: str, status: int) -> None:
    """Accept 200 and nothing else.

    Raises:
        AdapterTransientError: for what may pass by itself.
        RefusedError: for every other status.
    """
    if status in _MAY_PASS or status >= 500:  # noqa: PLR2004 - failures of the server
        message = f"The source of the URL answers with HTTP {status}."
        raise AdapterTransientError(f"{host}: HTTP {status}", **WHERE, user_message=message)
    if status != 200:  # noqa: PLR2004 - the only whole answer
        raise RefusedError(f"The source of the URL answers with HTTP {status}; expected 200.")
