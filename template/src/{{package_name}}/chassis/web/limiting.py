"""Limits: requests of callers who come too often are refused, before and after it is known who they are."""

from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.context import current
from .access import UNIDENTIFIED
from .bounds import PROBES
from .callers import Addresses
from .problems import problem
from .rates import CallerLimit, CallerLimits, Decision, Failures

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
        limit = self._limit if _counts(scope) else None
        failures = self._failures if scope["type"] == "http" and current().caller is not None else None
        if limit is None and failures is None:
            await self._app(scope, receive, send)
            return
        address = self._addresses.of(scope)
        app = self._app if failures is None else _watched(self._app, failures, address)
        await _limited(app, limit, address, scope, receive, send)


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
    """Tell whether a request counts: probes do not."""
    return scope["type"] == "http" and scope["path"] not in PROBES


def _watched(app: ASGIApp, failures: Failures, address: str) -> ASGIApp:
    """Return an application whose wrong credentials are counted; while their address is blocked, its 401 becomes 429.

    Right ones are served meanwhile: whoever shares the address with an attacker is not shut out. What is open, probes
    above all, is answered as to anybody, and counts too: it would be a place to try keys.
    """

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        blocked: Decision | None = None

        async def counted(message: Message) -> None:
            nonlocal blocked
            if message["type"] == "http.response.start":
                closed = message["status"] == HTTPStatus.UNAUTHORIZED
                if closed or UNIDENTIFIED in scope:
                    scope["address"] = address  # for the access line
                    decision = await failures.wrong(address)
                    blocked = decision if closed else None
                if blocked is not None:
                    text = "Too many wrong credentials came from this address."
                    await _refuse(text, blocked.wait_s, failures.limit.headers(blocked), scope, receive, send)
            if blocked is None:
                await send(message)

        await app(scope, receive, counted)

    return watched


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
        scope[limit.name] = key  # for the access line
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
