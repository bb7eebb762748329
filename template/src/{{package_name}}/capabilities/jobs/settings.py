"""Settings of durable jobs."""

from pathlib import Path

from pydantic import Field

from ...chassis.config.section import Section
from .webhook_settings import WebhookSection


class JobsSection(Section):
    """How jobs are run, taken over and kept; where they lie is a setting of the database."""

    concurrency: int = Field(default=10, ge=1, description="Jobs of one queue that one process runs at once.")
    poll_interval_s: float = Field(default=1.0, ge=0.05, description="How often a process looks for jobs, in seconds.")
    max_attempts: int = Field(
        default=5,
        ge=1,
        description="How often a job is begun before it is dead; only processes that end begin it again.",
    )
    lease_s: float = Field(
        default=30, ge=1, description="How long a worker may be silent before others take over its jobs, in seconds."
    )
    outage_grace_s: float | None = Field(
        default=None,
        gt=0,
        description="How long a worker takes over nothing after it began, or could not reach the database, in seconds; "
        "as long as the lease unless it is set.",
    )
    drain_s: float = Field(
        default=20, ge=0, description="How long jobs may go on after SIGTERM, in seconds; then they are handed back."
    )
    uploads_dir: Path | None = Field(
        default=None,
        description="Folder for uploads that jobs may still need, which every process that runs jobs has to see; by "
        "default beside the file of SQLite, with PostgreSQL among the temporary files of the machine.",
    )
    retention_days: float = Field(default=30, gt=0, description="Finished jobs that are older are deleted, in days.")

    webhook: WebhookSection = Field(
        default=WebhookSection(), description="Whom to tell that long work has ended; nobody without a URL."
    )

    @property
    def grace_s(self) -> float:
        """Return how long nothing is taken over after an outage."""
        return self.lease_s if self.outage_grace_s is None else self.outage_grace_s
