"""Settings of the HTTP server."""

import re
from collections.abc import Iterable
from typing import Annotated, override

from pydantic import AfterValidator, Field

from ..config.section import Contradiction, Environment, Section

_ORIGIN = re.compile(r"\*|https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


def _origin(text: str) -> str:
    if _ORIGIN.fullmatch(text) is None:
        message = "an origin as browsers send it, such as https://app.example.com, in lower case and without a path"
        raise ValueError(message)
    return text


class HttpSection(Section):
    """Where the server listens, and what it bears."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    body_idle_s: float = Field(
        default=30, gt=0, description="How long a body may pause while it arrives, in seconds; then it is refused."
    )
    request_timeout_s: float = Field(
        default=300,
        gt=0,
        description="Longest time from the last part of a request to the first part of its answer, in seconds; "
        "`X-Request-Timeout` can only shorten it.",
    )
    shutdown_s: float = Field(
        default=25,
        gt=0,
        description="How long accepted requests may take to finish after SIGTERM, in seconds; the platform's grace, "
        "often 30 s, has to be longer.",
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

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        """Yield what would let any page act for its visitor."""
        del environment
        if self.cors_credentials and "*" in self.cors_origins:
            yield Contradiction(("cors_origins",), "the origins one by one, as cors_credentials is on")
