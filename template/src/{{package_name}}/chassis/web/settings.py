"""Settings of the HTTP server."""

import math
import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, override

from pydantic import AfterValidator, Field, IPvAnyNetwork

from ..config.section import Contradiction, Environment, Section

_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(r"\*|https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        message = "a name such as api.example.com or *.example.com, in lower case and without a port"
        raise ValueError(message)
    return text


def _network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if network.prefixlen == 0:
        message = "the networks of your proxies, not every address there is"
        raise ValueError(message)
    return network


def _origin(text: str) -> str:
    if _ORIGIN.fullmatch(text) is None:
        message = "an origin as browsers send it, such as https://app.example.com, in lower case and without a path"
        raise ValueError(message)
    return text


class HttpSection(Section):
    """Where the server listens, and what it bears."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    docs: bool = Field(
        default=True, description="Serve the OpenAPI document under /openapi.json, and as a page under /docs."
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        default=(),
        description='Names under which the service answers, as a JSON list such as `["api.example.com"]`, with '
        "`*.example.com` for every name below; none stands for all. Probes and scrapes may use any name.",
    )
    trusted_proxies: tuple[Annotated[IPvAnyNetwork, AfterValidator(_network)], ...] = Field(
        default=(),
        description="Networks of the proxies whose `X-Forwarded-For` is believed, as a JSON list such as "
        '`["10.0.0.0/8"]`; without it all callers behind a proxy count as one.',
    )
    max_connections: int = Field(
        default=1000,
        ge=2,
        description="Most connections at once; when they are taken, the longest idle one makes way.",
    )
    max_requests: int = Field(
        default=500,
        ge=1,
        description="Most requests at once, streams included; further ones get 503 `overloaded`. Probes do not count.",
    )
    head_timeout_s: float = Field(
        default=10, gt=0, description="Longest time until the head of a request is complete, in seconds."
    )
    body_idle_s: float = Field(
        default=30, gt=0, description="How long a body may pause while it arrives, in seconds; then it is refused."
    )
    body_min_bytes_per_s: int = Field(
        default=500,
        ge=0,
        description="Slowest body in bytes per second, after a start of `body_idle_s`, and slowest reader of an "
        "answer; 0 bears any.",
    )
    send_idle_s: float = Field(
        default=60, gt=0, description="How long an answer may wait for its reader, in seconds; then it is cut off."
    )
    request_timeout_s: float = Field(
        default=300,
        gt=0,
        description="Longest time from the last part of a request to the first part of its answer, in seconds; "
        "`X-Request-Timeout` can only shorten it.",
    )
    ready_hold_s: float = Field(
        default=1,
        ge=0,
        description="How long `/readyz` says again what it heard from the engines, in seconds, before it asks again.",
    )
    drain_s: float = Field(
        default=0,
        ge=0,
        description="How long requests are still taken after SIGTERM while `/readyz` answers 503, in seconds: as long "
        "as a load balancer takes to notice.",
    )
    shutdown_s: float = Field(
        default=25,
        gt=0,
        description="How long accepted requests may take to finish after that, in seconds; the platform's grace, often "
        "30 s, has to be longer than both.",
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        description='Origins whose pages may use the service from a browser, as a JSON list; `["*"]` for all, none '
        "by default.",
    )
    cors_credentials: bool = Field(
        default=False, description="Let pages of those origins send cookies and HTTP authentication along."
    )
    hsts_s: int = Field(
        default=0,
        ge=0,
        description="How long browsers shall use HTTPS only, in seconds; for services behind TLS, 0 says nothing.",
    )

    @property
    def requests_at_once(self) -> int:
        """Return how many requests are served at once: fewer than there are connections, so that one is free."""
        return min(self.max_requests, self.max_connections - 1)

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        """Yield what would let any page act for its visitor, and requests that nobody could make."""
        del environment
        both = {"max_requests", "max_connections"} <= self.model_fields_set
        if both and self.max_requests >= self.max_connections:
            yield Contradiction(("max_requests",), f"fewer than max_connections ({self.max_connections})")
        if self.cors_credentials and "*" in self.cors_origins:
            yield Contradiction(("cors_origins",), "the origins one by one, as cors_credentials is on")


class Rate(Section):
    """How often one caller may come."""

    rate_per_s: float = Field(
        default=0, ge=0, le=1_000_000, description="Requests per second in the long run; 0: no limit."
    )
    burst: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Requests at once after a rest; unset: those of one second."
    )

    @property
    def size(self) -> int:
        """Return the requests at once."""
        return self.burst or max(1, math.ceil(self.rate_per_s))


class FailureRate(Rate):
    """How often one address may show wrong credentials."""

    rate_per_s: float = Field(
        default=0.1,
        ge=0,
        le=1_000_000,
        description="Wrong credentials per second and address in the long run, then further ones get 429; 0: no limit.",
    )
    burst: int | None = Field(default=10, ge=1, le=1_000_000, description="Wrong credentials at once after a rest.")


class LimitsSection(Section):
    """How often callers may come; shared by replicas when the URL of a Redis is set."""

    address: Rate = Field(default=Rate(), description="Limit of each address, of IPv6 each /64.")
    principal: Rate = Field(default=Rate(), description="Limit of each principal.")
    failures: FailureRate = Field(default=FailureRate(), description="Limit of wrong credentials.")
    max_callers: int = Field(
        default=10_000, ge=1, description="Most callers remembered in a process; the one not seen longest is forgotten."
    )
    replicas: int = Field(
        default=1, ge=1, description="Processes that share the limits; each lets its part through while Redis is away."
    )


class OpsSection(Section):
    """A listener for operators alone."""

    host: str = Field(default="127.0.0.1", description="Address to listen on for operators.")
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port for metrics, `/info` and details of readiness: without credentials there, and nowhere else "
        "then. Keep it from strangers; 0 takes any free one.",
    )
