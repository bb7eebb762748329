"""Surroundings: correlation, limits on headers and time, the caller's deadline, the last word on every request."""

import asyncio
import hashlib
import logging
import math
import re
import time
from http import HTTPStatus
from typing import Any

from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..contracts.context import MAX_KEY_CHARS, Context, current, entered
from ..contracts.errors import RequestError
from ..contracts.identity import new_id
from .arrival import Arrival, LateBodyError, nothing
from .bounds import QUIET_PATHS
from .problems import problem
from .settings import HttpSection
from .traces import trace_of, values_of

MAX_HEADER_BYTES = 16 * 1024

_log = logging.getLogger(__name__)
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SECONDS = re.compile(r"(?=.{1,64}\Z)(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_CHARS}}}")


class Surroundings:
    """Pure ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, section: HttpSection) -> None:
        """Wrap an application; the section says how slowly a body may arrive."""
        self._app = app
        self._section = section

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request in a context of its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = _correlation(scope)
        traceparent, tracestate = trace_of(scope)
        with entered(Context(sent, traceparent=traceparent, tracestate=tracestate)) as context:
            exchange = _Exchange(scope, Arrival(receive, self._section), send)
            try:
                with entered(_steered(scope, context)):
                    await self._serve(exchange)
            except RequestError as error:
                await exchange.answer(problem(error.code, error.user_message, instance=scope["path"]))
            finally:
                exchange.log()

    async def _serve(self, exchange: "_Exchange") -> None:
        """Have the application answer; what ends without an answer is answered here."""
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass  # nobody is left to be answered, and nothing failed here; the access line says so
        except asyncio.CancelledError:
            await exchange.abandon()
            raise
        except Exception:
            _log.exception("request_crashed", extra={"method": exchange.scope["method"], "route": exchange.route})
            if exchange.status is not None:
                raise
            text = "The service failed; the correlation id leads to the reason in its log."
            exchange.refusal = problem("internal_error", text, instance=exchange.scope["path"])
        if exchange.refusal is not None and exchange.status is None:
            await exchange.answer(exchange.refusal)


class _Exchange:
    """One request and what was answered to it."""

    def __init__(self, scope: Scope, arrival: Arrival, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self.refusal: Response | None = None
        """What is answered in place of the application's words."""
        self._arrival = arrival
        self._send = send
        self._left = False
        self._abandoned = False
        self._complete = False
        self._in_events = False
        self._correlation_id = current().correlation_id
        self._begun = time.monotonic()

    @property
    def route(self) -> str:
        """The template of the path, so that paths with ids do not become names of their own."""
        return getattr(self.scope.get("route"), "path", "unmatched")

    async def receive(self) -> Message:
        """Pass a message on; a body that does not arrive in time looks to the application like a caller who left."""
        try:
            message = await self._arrival.next()
        except LateBodyError as late:
            # What is left of the body is not waited for, so the connection cannot be used again.
            self.refusal = problem(late.code, late.text, instance=self.scope["path"], headers={"Connection": "close"})
            return {"type": "http.disconnect"}
        self._left = message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; a bare refusal becomes a problem, and nothing is added to a refusal."""
        if _is_bare_refusal(message):
            text = "The body is larger than this path takes."
            self.refusal = problem("body_too_large", text, instance=self.scope["path"])
        if self.refusal is None:
            await self._pass(message)

    async def answer(self, response: Response) -> None:
        """Answer in place of the application."""
        await response(self.scope, nothing, self._pass)

    async def abandon(self) -> None:
        """Tell a caller who still waits that the service stops before it can answer; an event stream ends with it."""
        self._abandoned = True
        if self._left:
            return
        text = "The service stops; the request was not served."
        response = problem("overloaded", text, instance=self.scope["path"], retryable=True, retry_after_s=1)
        if self.status is None:
            await self.answer(response)
        elif self._in_events and not self._complete:
            last = format_sse_event(event="error", data_str=bytes(response.body).decode())
            await self._pass({"type": "http.response.body", "body": last})

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._in_events = _has_type(message, b"text/event-stream")
            header = (b"x-request-id", self._correlation_id.encode())
            message = {**message, "headers": [*message.get("headers", ()), header]}
        self._complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    def log(self) -> None:
        """Write the access line, with who called where that is known; probes and scrapes are left out."""
        if self.scope["path"] in QUIET_PATHS:
            return
        fields: dict[str, Any] = {
            "method": self.scope["method"],
            "route": self.route,
            "status": self.status,
            "duration_ms": round((time.monotonic() - self._begun) * 1000, 3),
        }
        fields |= {name: self.scope[name] for name in ("principal", "address") if name in self.scope}
        served = self._complete and not self._abandoned
        _log.info("request_served" if served else "request_abandoned", extra=fields)


def _is_bare_refusal(message: Message) -> bool:
    """Recognise Starlette's own 413: whatever a handler answers to a body that is too large, it sends plain text."""
    if message["type"] != "http.response.start" or message["status"] != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return False
    return _has_type(message, b"text/plain")


def _has_type(start: Message, media_type: bytes) -> bool:
    headers = start.get("headers", ())
    return any(name == b"content-type" and value.startswith(media_type) for name, value in headers)


def _correlation(scope: Scope) -> str:
    given = values_of(scope, b"x-request-id")
    usable = len(given) == 1 and _CORRELATION_ID.fullmatch(given[0]) is not None
    return given[0] if usable else new_id("req")


def _steered(scope: Scope, context: Context) -> Context:
    """Read the headers that steer a request.

    Raises:
        RequestError: `headers_too_large` or `invalid_header`.
    """
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    if size > MAX_HEADER_BYTES:
        message = f"The headers have {size} bytes; at most {MAX_HEADER_BYTES} are accepted."
        raise RequestError(message, code="headers_too_large", location="header")
    context = context._replace(idempotency_key=_idempotency_key(scope), caller=_caller(scope))
    timeout_s = _timeout_s(scope)
    return context if timeout_s is None else context.shortened(timeout_s)


def _timeout_s(scope: Scope) -> float | None:
    given = values_of(scope, b"x-request-timeout")
    if not given:
        return None
    seconds = float(given[0]) if len(given) == 1 and _SECONDS.fullmatch(given[0]) else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        message = "X-Request-Timeout: expected one finite number of seconds above 0, such as 2.5."
        raise RequestError(message, code="invalid_header", location="header")
    return seconds


def _idempotency_key(scope: Scope) -> str | None:
    given = values_of(scope, b"idempotency-key")
    if not given:
        return None
    if len(given) > 1 or _IDEMPOTENCY_KEY.fullmatch(given[0]) is None:
        message = "Idempotency-Key: expected 1 to 255 visible ASCII characters, once."
        raise RequestError(message, code="invalid_header", location="header")
    return given[0]


def _caller(scope: Scope) -> str | None:
    """Return a digest of what the caller shows to be let in, whoever checks it."""
    shown = [*values_of(scope, b"authorization"), *values_of(scope, b"x-api-key")]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest() if shown else None
