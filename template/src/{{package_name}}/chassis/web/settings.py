"""Settings of the HTTP server."""

from pydantic import Field

from ..config.section import Section


class HttpSection(Section):
    """Where the server listens."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    body_idle_s: float = Field(
        default=30, gt=0, description="How long a body may pause while it arrives, in seconds; then it is refused."
    )
    shutdown_s: float = Field(
        default=25,
        gt=0,
        description="How long accepted requests may take to finish after SIGTERM, in seconds; the platform's grace, "
        "often 30 s, has to be longer.",
    )
