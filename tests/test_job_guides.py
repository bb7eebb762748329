"""Guides to jobs: whoever follows them gets what they promise."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pages import missing_paths
from rendering import FULLEST, Workshop, commit, git
from test_database_guides import HOW_TO, PLACE, Follow, databases, follow, server
from tools import ROOT

__all__ = ["databases", "follow", "server"]

pytestmark = pytest.mark.gate


def _project(workshop: Workshop, page: str) -> Path:
    project = workshop.install(FULLEST, variant=page, typed=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Start from the template")
    return project


def _followed(project: Path, page: str) -> None:
    roots = [ROOT, ROOT / "template", project, project / "src" / "my_service"]
    assert [] == missing_paths(HOW_TO / f"{page}.md", roots, followed=True)


def test_jobs_are_declared_and_run_on_both_engines(
    workshop: Workshop, follow: Follow, databases: dict[str, str]
) -> None:
    """Two new files, checked like all others; the work is done beside the server, then by a worker."""
    project = _project(workshop, "run-jobs")
    person = follow(project, (HOW_TO / "run-jobs.md").read_text(encoding="utf-8"), databases)
    assert [databases[PLACE]] == [line.partition("=")[2] for line in person.exports]
    _followed(project, "run-jobs")


@pytest.fixture
def listening(workshop: Workshop) -> Iterator[Path]:
    """Yield a project in which a receiver may be started; it is stopped."""
    project = _project(workshop, "announce-results")
    yield project
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((project / "receiver.pid").read_text(encoding="utf-8")), signal.SIGTERM)


def test_results_are_announced(listening: Path, follow: Follow) -> None:
    """The receiver on the page checks what comes, and gets it."""
    assert follow(listening, (HOW_TO / "announce-results.md").read_text(encoding="utf-8")).servers
    _followed(listening, "announce-results")
