"""Key set: the issuer's public keys, fetched when they are needed, kept while they cannot be had."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

from ...chassis.clock import SystemClock
from ...chassis.contracts.clock import Clock
from ...chassis.contracts.errors import ServiceError

MAX_BYTES = 1024 * 1024
FETCH_TIMEOUT_S = 5.0

type Fetch = Callable[[], Awaitable[bytes]]
_SYSTEM = SystemClock()
_log = logging.getLogger(__name__)


class KeySetError(Exception):
    """What was fetched is no key set, or could not be fetched; the text does not repeat it."""


class KeySet:
    """Public keys by their ids. One request at a time, and never two within the least time between them."""

    def __init__(self, fetch: Fetch, *, refresh_s: float, min_refresh_s: float, clock: Clock = _SYSTEM) -> None:
        """Begin without keys."""
        self._fetch = fetch
        self._refresh_s, self._min_refresh_s = refresh_s, min_refresh_s
        self._clock = clock
        self._keys: Mapping[str | None, Key] = {}
        self._content: bytes | None = None
        self._fresh_until = self._not_before = float("-inf")
        self._lock = asyncio.Lock()
        self._renewing: asyncio.Task[bool] | None = None
        self._failing = False

    async def find(self, kid: str | None) -> Key | None:
        """Return the key with an id; without one, the only key there is. None where there is no such key.

        Raises:
            ServiceError: `provider_unavailable`, if no keys could be had so far.
        """
        if self._content is not None and self._clock.monotonic() >= self._fresh_until:
            self._renew_aside()
        if kid not in self._keys:
            await self.renew()
        if self._content is None:
            raise ServiceError(
                "the key set of the issuer of tokens could not be fetched",
                code="provider_unavailable",
                user_message="The keys of the issuer of tokens cannot be had.",
                retryable=True,
                retry_after_s=self._min_refresh_s,
            )
        return self._keys.get(kid)

    async def renew(self) -> bool:
        """Ask for the keys, unless that was done a moment ago; return whether there are any."""
        async with self._lock:
            if self._clock.monotonic() >= self._not_before:
                self._not_before = self._clock.monotonic() + self._min_refresh_s
                try:
                    self._take(await self._fetch())
                except KeySetError as error:
                    self._tell(error)
        return self._content is not None

    def _renew_aside(self) -> None:
        """Have the keys renewed without anybody waiting for it."""
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self.renew())

    def _take(self, content: bytes) -> None:
        if content != self._content:
            self._keys = parsed(content)
            self._content = content
            # News of the process: it is not held back with the lines of the request that brought it.
            Context().run(_log.info, "oidc_keys_loaded", extra={"keys": len(self._keys)})
        self._failing = False
        self._fresh_until = self._clock.monotonic() + self._refresh_s

    def _tell(self, error: KeySetError) -> None:
        if not self._failing:
            _log.error("oidc_keys_unavailable", extra={"reason": str(error), "kept": len(self._keys)})
        self._failing = True

    async def aclose(self) -> None:
        """Stop asking."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])


def parsed(content: bytes) -> Mapping[str | None, Key]:
    """Return the public keys for signatures by id; the only one also without an id.

    What is of an unknown kind is left out (RFC 7517, section 5), and so is every secret.

    Raises:
        KeySetError: if there is none.
    """
    try:
        entries = json.loads(content)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeySetError("it is no JSON object with keys") from error
    found: dict[str | None, Key] = {}
    for entry in entries if isinstance(entries, list) else ():
        key = _key(entry)
        if key is not None:
            found[key.kid] = key
    if not found:
        raise KeySetError("it has no public key for signatures")
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def _key(entry: Any) -> Key | None:
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    try:
        key = import_key({name: value for name, value in entry.items() if name not in ("d", "key_ops")})
        key.ensure_kid()
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key


def from_file(path: Path) -> Fetch:
    """Return what reads a file."""

    async def fetch() -> bytes:
        try:
            return path.read_bytes()  # noqa: ASYNC240 - a few kilobytes of this machine
        except OSError as error:
            raise KeySetError(error.strerror or "it cannot be read") from error

    return fetch


def from_url(url: str) -> Fetch:
    """Return what asks an address; it follows no redirect, waits for seconds only, and reads 1 MiB at most."""

    async def fetch() -> bytes:
        import httpx2  # noqa: PLC0415 - 0.07 s that the start does not pay

        content = bytearray()
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_S),
                httpx2.AsyncClient(follow_redirects=False) as client,
                client.stream("GET", url, headers={"Accept": "application/json"}) as response,
            ):
                if response.status_code != 200:  # noqa: PLR2004 - the one status that brings keys
                    message = f"it answered with status {response.status_code}"
                    raise KeySetError(message)
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > MAX_BYTES:
                        raise KeySetError("it is too long")
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            message = f"it cannot be reached ({type(error).__name__})"
            raise KeySetError(message) from error
        return bytes(content)

    return fetch
