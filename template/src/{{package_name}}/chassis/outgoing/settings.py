"""Settings of what is fetched for callers."""

from collections.abc import Iterable
from typing import override

from pydantic import Field, IPvAnyNetwork

from ..config.section import Contradiction, Environment, Section


class OutgoingSection(Section):
    """How far URLs of callers lead, and how long."""

    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Networks that URLs of callers may lead to although they are not public."
    )
    allow_http: bool = Field(default=False, description="Accept URLs of callers without TLS; in dev only.")
    timeout_s: float = Field(default=60, gt=0, description="Longest time for fetching one URL, in seconds.")
    idle_s: float = Field(default=10, gt=0, description="Longest wait for a connection, or for more of an answer.")
    max_redirects: int = Field(default=3, ge=0, le=20, description="Redirects that are followed for one URL.")
    max_fetches: int = Field(
        default=8,
        ge=1,
        le=64,
        description="URLs that are fetched at once; more are refused. A caller who is known has at most half of them.",
    )

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        if self.allow_http and environment is not Environment.DEV:
            yield Contradiction(("allow_http",), f"false in {environment}, as anybody on the way could read along")
