"""Replaying: the layer around the application that answers a repeated request with what it was answered first."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from email.message import Message as Headers

from fastapi.routing import iter_route_contexts
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...chassis.container import Container
from ...chassis.contracts.context import current
from ...chassis.contracts.errors import ServiceError
from ...chassis.web.problems import problem
from .deadlines import until_deadline
from .replies import Claim, Replies, Reply, scope_of

_REPLAYED = (b"idempotency-replayed", b"true")
_log = logging.getLogger(__name__)


class Replaying:
    """Pure ASGI middleware. Only answers that succeeded are kept: whatever failed is tried again by a repeat.

    Streams of events are not kept; for them the key reaches the provider and nothing else.
    """

    def __init__(self, app: ASGIApp, container: Container) -> None:
        """Wrap an application."""
        self._app = app
        self._replies = container[Replies] if Replies in container else None  # noqa: SIM401 - no mapping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        context = current()
        key = context.idempotency_key if scope["type"] == "http" and scope["method"] == "POST" else None
        if key is None or self._replies is None:
            await self._app(scope, receive, send)
            return
        route = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        request = _Request(receive, _boundary(scope))
        try:
            async with until_deadline():
                found = await self._replies.claim(scope_of(context.caller or "", route, key))
        except ServiceError as error:
            await _refuse(scope, send, error.code, error.user_message, retry_after_s=1 if error.retryable else None)
            return
        match found:
            case Claim():
                await self._serve(found, request, scope, send)
            case Reply():
                await _repeat(found, request, scope, send)
            case None:
                text = "A request with this Idempotency-Key is being served; its answer is not known yet."
                await _refuse(scope, send, "conflict", text, retry_after_s=1)

    async def _serve(self, claim: Claim, request: "_Request", scope: Scope, send: Send) -> None:
        answer = _Answer(send, lambda answer: _keep(claim, request, answer))
        try:
            await self._app(scope, request.receive, answer.send)
        finally:
            if not answer.kept:
                await asyncio.shield(claim.give_up())


class _Request:
    """What arrives, and its digest. The boundary of a form is chosen anew for each request and is left out of it."""

    def __init__(self, receive: Receive, boundary: bytes | None) -> None:
        self._receive = receive
        self._boundary = boundary
        self._digest = hashlib.sha256()
        self._rest = b""
        self._bytes = 0

    async def receive(self) -> Message:
        """Pass a message on."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._add(message.get("body", b""))
        return message

    def _add(self, piece: bytes) -> None:
        if self._boundary is None:
            self._count(piece)
            return
        *parts, last = (self._rest + piece).split(self._boundary)
        ended = max(0, len(last) - len(self._boundary) + 1)  # the rest may be the beginning of another boundary
        for part in (*parts, last[:ended]):
            self._count(part)
        self._rest = last[ended:]

    def _count(self, content: bytes) -> None:
        self._digest.update(content)
        self._bytes += len(content)

    async def drain(self, most_bytes: int) -> None:
        """Receive what is left of the body, as far as it can be the expected one."""
        more = True
        while more and self._bytes <= most_bytes:
            message = await self.receive()
            more = message["type"] == "http.request" and message.get("more_body", False)

    def fingerprint(self) -> str:
        """Return size and digest of what has arrived."""
        whole = self._digest.copy()
        whole.update(self._rest)
        return f"{self._bytes + len(self._rest)}:{whole.hexdigest()}"


class _Answer:
    """What the application answers: held back until it is kept, unless it is none that is kept."""

    def __init__(self, send: Send, keep: Callable[["_Answer"], Awaitable[None]]) -> None:
        self._send = send
        self._keep = keep
        self._start: Message = {}
        self._passing = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.kept = False

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start":
            self._start = message
            self.status, self.headers = message["status"], list(message.get("headers", ()))
            self._passing = not _is_kept(self.status, self.headers)
        if self._passing:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._keep(self)
                self.kept = True
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": bytes(self.body)})


async def _keep(claim: Claim, request: _Request, answer: _Answer) -> None:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    try:
        await claim.keep(Reply(request.fingerprint(), answer.status, headers, bytes(answer.body)))
    except ServiceError as error:
        _log.error("reply_not_kept", extra={"error": str(error)})


async def _repeat(reply: Reply, request: _Request, scope: Scope, send: Send) -> None:
    await request.drain(int(reply.request.partition(":")[0]))
    if request.fingerprint() != reply.request:
        text = "The Idempotency-Key was used for another request; choose a new one for each."
        await _refuse(scope, send, "invalid_request", text)
        return
    _note_route(scope)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": [*headers, _REPLAYED]})
    await send({"type": "http.response.body", "body": reply.body})


async def _refuse(scope: Scope, send: Send, code: str, text: str, retry_after_s: float | None = None) -> None:
    _note_route(scope)
    response = problem(
        code, text, instance=scope["path"], retryable=retry_after_s is not None, retry_after_s=retry_after_s
    )
    await response(scope, _nothing, send)


def _note_route(scope: Scope) -> None:
    """Name the route that would have answered: metrics and the access line tell requests apart by it."""
    for found in iter_route_contexts(scope["app"].routes):
        match, matched = found.original_route.matches(scope)
        if match is Match.FULL:
            scope["route"] = matched.get("route")
            return


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _is_kept(status: int, headers: list[tuple[bytes, bytes]]) -> bool:
    streamed = any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)
    return 200 <= status < 300 and not streamed  # noqa: PLR2004 - what 2xx means


def _boundary(scope: Scope) -> bytes | None:
    headers = Headers()
    headers["content-type"] = next((v.decode("latin-1") for n, v in scope["headers"] if n == b"content-type"), "")
    boundary = headers.get_boundary() if headers.get_content_maintype() == "multipart" else None
    try:
        return boundary.encode("latin-1") if boundary else None
    except UnicodeEncodeError:
        return None  # nothing that a body could be divided by
