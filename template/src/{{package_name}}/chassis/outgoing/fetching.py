"""Fetching: what lies behind a URL of a caller, as a stored file."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from ..config.settings import Settings
from ..container import Container
from ..contracts.context import current
from ..contracts.errors import AdapterDeadlineError, AdapterError, AdapterTimeoutError, RequestError
from ..identity import SERVICE
from ..work import Spool, SpooledFile
from .failures import TOO_LATE, WHERE, RefusedError, check_status, translated
from .places import Places
from .settings import OutgoingSection
from .urls import checked

if TYPE_CHECKING:
    import ssl

    import httpcore2
    import httpx2

    from .network import Resolve

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_log = logging.getLogger(__name__)


class Fetcher:
    """Fetches over https from public addresses: bounded in time, size, redirects and number, past every proxy.

    Nothing of the caller goes along, no header, cookie or id. Connections are not kept: each one is checked anew.
    """

    def __init__(self, section: OutgoingSection, resolve: "Resolve | None" = None) -> None:
        """Take the limits; `resolve` stands in for the resolver of the machine."""
        self._section = section
        self._places = Places(section.max_fetches)
        self._resolve = resolve
        self._context: ssl.SSLContext | None = None

    async def fetch(self, url: str, spool: Spool, *, max_bytes: int, pointer: str) -> SpooledFile:
        """Return the content, of at most `max_bytes`, as a stored file; `pointer` leads to the URL in the request.

        Raises:
            RequestError: `unsupported_source` for a URL that is not fetched, `body_too_large` for too long a content.
            AdapterError: if the source fails, the time is over, or too many URLs are fetched already.
        """
        with self._places.one():
            try:
                stored = await self._bounded(url, spool, max_bytes)
            except RefusedError as refused:
                _log.warning("outgoing_refused", extra={"reason": str(refused), "detail": refused.detail})
                raise RequestError(str(refused), code=refused.code, pointer=pointer) from refused
            except AdapterError as error:
                _log.warning("outgoing_failed", extra={"code": error.code, "error": str(error)})
                raise
        _log.info("outgoing_fetched", extra={"bytes": stored.bytes})
        return stored

    async def _bounded(self, url: str, spool: Spool, max_bytes: int) -> SpooledFile:
        remaining_s, limit_s = current().remaining_s(), self._section.timeout_s
        try:
            async with (
                asyncio.timeout(limit_s if remaining_s is None else min(limit_s, remaining_s)),
                aclosing(self._pieces(url, max_bytes)) as pieces,
            ):
                return await spool.store_pieces(pieces)
        except TimeoutError as error:
            if remaining_s is not None and remaining_s < limit_s:
                raise AdapterDeadlineError("the caller's time is over", **WHERE) from error
            raise AdapterTimeoutError(f"not done in {limit_s:g} s", **WHERE, user_message=TOO_LATE) from error

    async def _pieces(self, url: str, max_bytes: int) -> AsyncGenerator[bytes]:
        """Yield what the URL leads to, over as many redirects as are allowed."""
        import httpcore2  # noqa: PLC0415 - see http_client

        from .network import GuardedNetwork, resolve  # noqa: PLC0415 - as above

        self._context = self._context or httpcore2.default_ssl_context()
        network = GuardedNetwork(self._resolve or resolve, self._section.allowed_networks)
        http = self._section.allow_http
        target = checked(url, allow_http=http)
        times = dict.fromkeys(("connect", "read", "write"), self._section.idle_s)
        async with httpcore2.AsyncConnectionPool(
            self._context, max_keepalive_connections=0, network_backend=network
        ) as pool:
            for _ in range(1 + self._section.max_redirects):
                place = httpcore2.URL(
                    scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
                )
                with translated(target.host):
                    async with pool.stream(
                        "GET", place, headers=_headers(target), extensions={"timeout": times}
                    ) as answer:
                        location = _header(answer, b"location") if answer.status in _REDIRECTS else ""
                        if not location:
                            check_status(target.host, answer.status)
                            async for piece in _content(answer, max_bytes):
                                yield piece
                            return
                target = checked(location, base=target, allow_http=http)
        raise RefusedError(f"The URL redirects more than {self._section.max_redirects} times.")


def _headers(target: "httpx2.URL") -> list[tuple[bytes, bytes]]:
    return [
        (b"Host", target.netloc),
        (b"User-Agent", SERVICE.encode()),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),
    ]


def _header(answer: "httpcore2.Response", wanted: bytes) -> str:
    return b",".join(value for name, value in answer.headers if name.lower() == wanted).decode("latin-1").strip()


async def _content(answer: "httpcore2.Response", max_bytes: int) -> AsyncGenerator[bytes]:
    """Yield the content; what is packed is not unpacked, as a few bytes may become any number."""
    if _header(answer, b"content-encoding").lower() not in ("", "identity"):
        raise RefusedError("The source of the URL packs its answer; expected it as it is.")
    too_large = RefusedError(f"The source of the URL has more than {max_bytes} bytes.", code="body_too_large")
    length = _header(answer, b"content-length")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    size = 0
    async for piece in answer.aiter_stream():
        size += len(piece)
        if size > max_bytes:
            raise too_large
        yield piece


async def install(container: Container, settings: Settings) -> None:
    """Offer a fetcher; it opens nothing before it is asked."""
    container.provide(Fetcher, Fetcher(settings[OutgoingSection]))
