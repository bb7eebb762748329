"""Gates after updates: an edited project of every release is green at the next one."""

import shutil
import sys
from pathlib import Path

import pytest

from edits import conflicted, lost
from rendering import Workshop, run
from test_update_merges import STEPS, grown
from tools import ROOT

pytestmark = pytest.mark.gate


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_an_edited_project_is_green_after_the_update(
    workshop: Workshop, tmp_path: Path, before: str, after: str
) -> None:
    """One command brings an edited project forward: it locks, installs, renews the pages and runs the gate."""
    project, traces = grown(workshop, tmp_path / "project", before, {})
    shutil.copytree(workshop.types(), project / ".mypy_cache")
    done = run(project, sys.executable, str(ROOT / "hooks"), "update", f"--vcs-ref=v{after}")
    assert [] == lost(project, traces, done.stdout)
    assert set() == conflicted(project)
    assert 0 == done.returncode, done.stdout[-5000:] + done.stderr
    assert "Green." in done.stdout
