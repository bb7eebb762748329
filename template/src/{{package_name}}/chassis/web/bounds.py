"""Bounds: under which names the service answers, and how many requests it serves at once."""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import problem
from .settings import HttpSection

PROBES = ("/livez", "/readyz")
"""What orchestrators ask: never limited, for a service that is busy is not dead."""

QUIET_PATHS = (*PROBES, "/metrics")
"""What machines ask again and again, by whatever name or address: neither logged, nor spanned, nor bounded."""

_RETRY_AFTER_S = 1


class Bounded:
    """Pure ASGI middleware that refuses requests for other hosts, and those that are too many."""

    def __init__(self, app: ASGIApp, section: HttpSection) -> None:
        """Wrap an application."""
        self._app = app
        self._hosts = frozenset(host for host in section.allowed_hosts if not host.startswith("*"))
        self._domains = tuple(host[1:] for host in section.allowed_hosts if host.startswith("*"))
        self._max_requests = section.requests_at_once
        self._in_use = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before anything is done for it."""
        if scope["type"] != "http" or scope["path"] in QUIET_PATHS:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._in_use += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_use -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        path = scope["path"]
        if not self._is_ours(scope):
            return problem("invalid_header", "Host: the service does not answer under this name.", instance=path)
        if self._in_use >= self._max_requests:
            text = "The service has as many requests as it can serve at once."
            return problem("overloaded", text, instance=path, retryable=True, retry_after_s=_RETRY_AFTER_S)
        return None

    def _is_ours(self, scope: Scope) -> bool:
        if not (self._hosts or self._domains):
            return True
        given = [value for name, value in scope["headers"] if name == b"host"]
        host = _without_port(given[0].decode("latin-1")) if len(given) == 1 else ""
        return host in self._hosts or host.endswith(self._domains)


def _without_port(host: str) -> str:
    """Return the name alone, in the form that names are compared in."""
    name, bracket, _ = host.partition("]")
    return (f"{name}{bracket}" if bracket else host.partition(":")[0]).lower().removesuffix(".")
