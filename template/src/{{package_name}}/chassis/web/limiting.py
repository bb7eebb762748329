"""Limits: requests of callers who come too often are refused, before and after it is known who they are."""

from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.context import current
from .bounds import PROBES
from .callers import Addresses
from .problems import problem
from .rates import CallerLimit, CallerLimits

type Headers = list[tuple[bytes, bytes]]


class AddressLimits:
    """Pure ASGI middleware that limits addresses, outside of whoever checks credentials."""

    def __init__(self, app: ASGIApp, limits: CallerLimits, addresses: Addresses) -> None:
        """Wrap an application."""
        self._app = app
        self._limit = limits.address
        self._failures = limits.failures
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; note when its credentials were wrong."""
        shown = current().caller
        failures = None if shown is None else self._failures  # without credentials there are no wrong ones
        if not _counts(scope) or (self._limit is None and failures is None):
            await self._app(scope, receive, send)
            return
        address = self._addresses.of(scope)
        if failures is None or shown is None:
            await _limited(self._app, self._limit, address, scope, receive, send)
            return
        blocked_s = failures.blocked_s(address, shown)
        if blocked_s:
            await _refuse("Too many wrong credentials came from this address.", blocked_s, [], scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == HTTPStatus.UNAUTHORIZED:
                    await failures.wrong(address, shown)
                elif "principal" in scope:
                    failures.right(shown)
            await send(message)

        await _limited(self._app, self._limit, address, scope, receive, watched)


class PrincipalLimits:
    """Pure ASGI middleware that limits principals, inside of whoever checks credentials."""

    def __init__(self, app: ASGIApp, limits: CallerLimits) -> None:
        """Wrap an application."""
        self._app = app
        self._limit = limits.principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; nobody in particular has no limit here."""
        principal = _principal() if _counts(scope) else None
        limit = None if principal is None else self._limit
        await _limited(self._app, limit, principal or "", scope, receive, send)


def _counts(scope: Scope) -> bool:
    """Tell whether a request counts: probes do not, as long as they show no credentials that would be looked at."""
    return scope["type"] == "http" and (scope["path"] not in PROBES or current().caller is not None)


def _principal() -> str | None:
    """Return who the caller is, once that was checked."""
    principal = current().principal
    return None if principal is None else principal.id


async def _limited(
    app: ASGIApp, limit: CallerLimit | None, key: str, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve a request if its caller may come, and tell what is left of the quota either way."""
    if limit is None:
        await app(scope, receive, send)
        return
    decision = await limit.take(key)
    headers = limit.headers(decision)
    if not decision.allowed:
        text = f"This {limit.name} has made more requests than it may."
        await _refuse(text, decision.wait_s, headers, scope, receive, send)
        return

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": _joined(message.get("headers", ()), headers)}
        await send(message)

    await app(scope, receive, told)


def _joined(given: Iterable[tuple[bytes, bytes]], limit: Headers) -> Headers:
    """Return headers with those of one more limit; several limits share a line, for clients that look at one only."""
    lines = dict(limit)
    others = []
    for name, value in given:
        if name in lines:
            lines[name] = value + b", " + lines[name]
        else:
            others.append((name, value))
    return [*others, *lines.items()]


async def _refuse(text: str, wait_s: float, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
    response = problem("too_many_requests", text, instance=scope["path"], retryable=True, retry_after_s=wait_s)
    response.raw_headers.extend(headers)
    await response(scope, receive, send)
