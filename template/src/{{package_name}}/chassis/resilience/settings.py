"""Settings of the pipeline of one provider."""

from pydantic import Field

from ..config.section import Section


class Timeouts(Section):
    """How long calls may take, in seconds; totals include everything that happens on the way."""

    total_s: float = Field(default=120, gt=0, description="Longest time for a whole call.")
    control_total_s: float = Field(default=30, gt=0, description="Longest time to submit, poll or cancel long work.")
    connect_s: float = Field(default=5, gt=0, description="Longest time to open a connection.")
    job_s: float = Field(default=3600, gt=0, description="Longest time that long work may take.")


class HttpPool(Section):
    """Connections to one provider."""

    max_connections: int = Field(default=100, ge=1, le=100, description="Open connections at most.")
    keepalive_s: float = Field(default=30, ge=0, description="How long an idle connection is kept, in seconds.")


class Resilience(Section):
    """Everything that guards the calls to one provider."""

    timeouts: Timeouts = Field(default=Timeouts(), description="Time limits.")
    http: HttpPool = Field(default=HttpPool(), description="Connection pool.")
