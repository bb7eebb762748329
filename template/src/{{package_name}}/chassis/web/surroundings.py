"""Surroundings: correlation, limits on headers, the caller's deadline, and the last word on every request."""

import logging
import math
import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.context import Context, entered
from ..contracts.errors import RequestError
from ..contracts.identity import new_id
from .problems import problem

MAX_HEADER_BYTES = 16 * 1024

_log = logging.getLogger(__name__)
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SECONDS = re.compile(r"\d{1,12}(\.\d{0,12})?([eE][+-]?\d{1,3})?")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PROBES = ("/livez", "/readyz")


class Surroundings:
    """Pure ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request in a context of its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = _correlation(scope)
        with entered(Context(sent)):
            exchange = _Exchange(scope, send, sent)
            try:
                context = _context(scope, sent)
            except RequestError as error:
                response = problem(error.code, error.user_message, instance=scope["path"])
                await response(scope, receive, exchange.send)
            else:
                with entered(context):
                    await self._serve(exchange, receive)
            exchange.log()

    async def _serve(self, exchange: "_Exchange", receive: Receive) -> None:
        try:
            await self._app(exchange.scope, receive, exchange.send)
        except ClientDisconnect:
            return  # nobody is left to be answered, and nothing failed here; the access line says so
        except Exception:
            _log.exception("request_crashed", extra={"method": exchange.scope["method"], "route": exchange.route})
            if exchange.status is not None:
                raise
            text = "The service failed; the correlation id leads to the reason in its log."
            response = problem("internal_error", text, instance=exchange.scope["path"])
            await response(exchange.scope, receive, exchange.send)


class _Exchange:
    """One request and what was answered to it."""

    def __init__(self, scope: Scope, send: Send, correlation_id: str) -> None:
        self.scope = scope
        self.status: int | None = None
        self._replaced = False
        self._send = send
        self._correlation_id = correlation_id
        self._begun = time.monotonic()

    @property
    def route(self) -> str:
        """The template of the path, so that paths with ids do not become names of their own."""
        return getattr(self.scope.get("route"), "path", "unmatched")

    async def send(self, message: Message) -> None:
        """Pass a message on, with the correlation id among its headers; a bare refusal becomes a problem."""
        if self._replaced:
            return
        if _is_bare_refusal(message):
            text = "The body is larger than this path takes."
            response = problem("body_too_large", text, instance=self.scope["path"])
            await response(self.scope, _nothing, self.send)
            self._replaced = True
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            header = (b"x-request-id", self._correlation_id.encode())
            message = {**message, "headers": [*message.get("headers", ()), header]}
        await self._send(message)

    def log(self) -> None:
        """Write the access line; probes are left out."""
        if self.scope["path"] in _PROBES:
            return
        fields: dict[str, Any] = {
            "method": self.scope["method"],
            "route": self.route,
            "status": self.status,
            "duration_ms": round((time.monotonic() - self._begun) * 1000, 3),
        }
        _log.info("request_served" if self.status else "request_abandoned", extra=fields)


def _is_bare_refusal(message: Message) -> bool:
    """Recognise Starlette's own 413: whatever a handler answers to a body that is too large, it sends plain text."""
    if message["type"] != "http.response.start" or message["status"] != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return False
    headers = message.get("headers", ())
    return any(name == b"content-type" and value.startswith(b"text/plain") for name, value in headers)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _correlation(scope: Scope) -> str:
    given = _values(scope, b"x-request-id")
    usable = len(given) == 1 and _CORRELATION_ID.fullmatch(given[0]) is not None
    return given[0] if usable else new_id("req")


def _context(scope: Scope, correlation_id: str) -> Context:
    """Read the headers that steer a request.

    Raises:
        RequestError: `headers_too_large` or `invalid_header`.
    """
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    if size > MAX_HEADER_BYTES:
        message = f"The headers have {size} bytes; at most {MAX_HEADER_BYTES} are accepted."
        raise RequestError(message, code="headers_too_large", location="header")
    context = Context(correlation_id, _idempotency_key(scope))
    timeout_s = _timeout_s(scope)
    return context if timeout_s is None else context.shortened(timeout_s)


def _timeout_s(scope: Scope) -> float | None:
    given = _values(scope, b"x-request-timeout")
    if not given:
        return None
    seconds = float(given[0]) if len(given) == 1 and _SECONDS.fullmatch(given[0]) else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        message = "X-Request-Timeout: expected one finite number of seconds above 0, such as 2.5."
        raise RequestError(message, code="invalid_header", location="header")
    return seconds


def _idempotency_key(scope: Scope) -> str | None:
    given = _values(scope, b"idempotency-key")
    if not given:
        return None
    if len(given) > 1 or _IDEMPOTENCY_KEY.fullmatch(given[0]) is None:
        message = "Idempotency-Key: expected 1 to 255 visible ASCII characters, once."
        raise RequestError(message, code="invalid_header", location="header")
    return given[0]


def _values(scope: Scope, name: bytes) -> Sequence[str]:
    return [value.decode("latin-1").strip(" \t") for key, value in scope["headers"] if key == name]
