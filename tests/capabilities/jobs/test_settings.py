"""The settings of the jobs: what they refuse, what follows from others, and what they mean for the engine."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs import FEATURE
from object_service.capabilities.jobs.engine import sync_url
from object_service.capabilities.jobs.serving import uploads_folder
from object_service.capabilities.jobs.settings import JobsSection


def test_the_usual_settings() -> None:
    """Ten jobs of a queue at once, five attempts, a lease of half a minute, a month of finished jobs."""
    section = JobsSection()
    assert (10, 5, 30, 20, 30) == (
        *(section.concurrency, section.max_attempts, section.lease_s),
        *(section.drain_s, section.retention_days),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("poll_interval_s", 0.01),
        ("max_attempts", 0),
        ("lease_s", 0.5),
        ("outage_grace_s", 0),
        ("drain_s", -1),
        ("retention_days", 0),
    ],
)
def test_what_cannot_work_is_refused(name: str, value: float) -> None:
    """A number that would stop all jobs is a problem of the configuration."""
    with pytest.raises(ValidationError, match=name):
        JobsSection(**{name: value})


def test_the_grace_follows_the_lease() -> None:
    """After an outage nothing is taken over for as long as a lease, unless it is said."""
    assert (7, 3) == (JobsSection(lease_s=7).grace_s, JobsSection(lease_s=7, outage_grace_s=3).grace_s)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("postgresql://u:p@h:5/n", "postgresql+psycopg://u:p@h:5/n"),
        ("postgresql://u@/n?host=/run/pg&port=5", "postgresql+psycopg://u@/n?host=%2Frun%2Fpg&port=5"),
        ("postgresql://h/n?ssl=require", "postgresql+psycopg://h/n?sslmode=require"),
        ("postgresql://h/n?sslmode=verify-full", "postgresql+psycopg://h/n?sslmode=verify-full"),
    ],
    ids=["sqlite", "postgresql", "socket", "ssl", "sslmode"],
)
def test_one_url_serves_both_drivers(url: str, expected: str) -> None:
    """The jobs lie in the database of the service, reached with a driver of their own."""
    found = sync_url(DatabaseSection(url=url))
    assert expected == found.render_as_string(hide_password=False)


def test_uploads_lie_where_the_next_process_finds_them() -> None:
    """Beside the file of SQLite, or where the settings say; on a server, among the temporary files of the machine."""
    file, server = DatabaseSection(url="sqlite:////data/a.db"), DatabaseSection(url="postgresql://h/n")
    assert Path("/data/a.db.uploads") == uploads_folder(JobsSection(), file)
    assert Path("/shared") == uploads_folder(JobsSection(uploads_dir=Path("/shared")), server)
    assert uploads_folder(JobsSection(), server).name.endswith("-uploads")


def test_jobs_are_a_capability_that_lasts() -> None:
    """Long work given to it outlives the process, which is what `/info` says."""
    assert (True, True, "jobs") == (FEATURE.capability, FEATURE.durable, FEATURE.name)
