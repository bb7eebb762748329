"""Browsers: what every answer tells them, and which pages of other origins may read it."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .settings import HttpSection

_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
"""What holds unless a route says otherwise. Source: OWASP REST Security Cheat Sheet, security headers."""

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_READ = (
    "Authorization",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout",
    "traceparent",
)
_SHOWN = (
    "Deprecation",
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-Request-ID",
)


class SafeHeaders:
    """Pure ASGI middleware that adds to every answer what keeps browsers from misusing it."""

    def __init__(self, app: ASGIApp, hsts_s: int) -> None:
        """Wrap an application; with `hsts_s` above 0 browsers use HTTPS only for so many seconds."""
        self._app = app
        self._headers = dict(_HEADERS)
        if hsts_s:
            self._headers[b"strict-transport-security"] = b"max-age=%d; includeSubDomains" % hsts_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; headers that the answer has already are kept."""

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                given += [header for header in self._headers.items() if header[0] not in names]
                message = {**message, "headers": given}
            await send(message)

        await self._app(scope, receive, completed if scope["type"] == "http" else send)


def shared_with(app: ASGIApp, section: HttpSection) -> ASGIApp:
    """Return the application so that pages of the stated origins may use it; without any, no page may."""
    if not section.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=section.cors_origins,
        allow_credentials=section.cors_credentials,
        allow_methods=_METHODS,
        allow_headers=_READ,
        expose_headers=_SHOWN,
    )
