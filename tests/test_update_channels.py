"""Channels: what the CI of a service runs, run as it is rendered, and the settings of Renovate."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from releases import LATER, NEXT, begin
from rendering import Workshop, commit, git, run
from test_update_commands import MOVED, edit
from test_update_refusals import copied_update

BINARIES = str(Path(sys.executable).parent)


@pytest.fixture(params=["github", "gitlab"])
def ci(request: pytest.FixtureRequest) -> str:
    """Return the name of a CI."""
    return str(request.param)


def steps(project: Path, ci: str) -> Mapping[str, str]:
    """Return the commands of the two jobs, without those that install Copier: this environment has it."""
    if ci == "github":
        jobs = yaml.safe_load((project / ".github/workflows/template.yml").read_text(encoding="utf-8"))["jobs"]
        scripts = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs.items()}
    else:
        jobs = yaml.safe_load((project / ".gitlab-ci.yml").read_text(encoding="utf-8"))
        scripts = {name.removeprefix("template-"): job["script"] for name, job in jobs.items() if "script" in job}
    return {name: "\n".join(line for line in lines if "install" not in line) for name, lines in scripts.items()}


def job(project: Path, ci: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run the commands of a job as its runner does, on a branch that began at `main`."""
    git(project, "update-ref", "refs/remotes/origin/main", "main")
    base = {"BASE": "main", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    path = {"PATH": f"{BINARIES}:/usr/bin:/bin"}
    return run(
        project, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps(project, ci)[name], env=base | path
    )


@pytest.mark.parametrize(("version", "code"), [(NEXT, 1), (LATER, 0)], ids=["behind", "newest"])
def test_a_newer_release_fails_the_scheduled_job(
    workshop: Workshop, tmp_path: Path, ci: str, version: str, code: int
) -> None:
    """The job of every Monday is red while there is a newer release, and says what to do."""
    project = begin(workshop, tmp_path / "project", version, {"ci": ci})
    done = job(project, ci, "release")
    assert code == done.returncode, done.stderr
    assert ("just template-status" in done.stdout) is bool(code)


def test_a_branch_that_lost_edits_is_red(workshop: Workshop, tmp_path: Path, ci: str) -> None:
    """The job of a pull request is green for work of the owner, and red when an update dropped edits."""
    project = begin(workshop, tmp_path / "project", NEXT, {"ci": ci})
    edit(project, MOVED)
    git(project, "switch", "--quiet", "--create", "renovate")
    edit(project, "README.md")
    assert 0 == job(project, ci, "update").returncode
    copied_update(project)
    commit(project, "Update")
    done = job(project, ci, "update")
    assert 1 == done.returncode
    assert f"{MOVED} had edits of yours" in done.stderr


@pytest.mark.parametrize("ci", ["github", "gitlab", "none"])
def test_renovate_watches_the_template(workshop: Workshop, ci: str) -> None:
    """With a CI, Renovate proposes updates of the template, and merges none by itself."""
    path = workshop.render({"ci": ci}) / "renovate.json"
    assert path.exists() is (ci != "none")
    if path.exists():
        settings = json.loads(path.read_text(encoding="utf-8"))
        assert (True, False) == (settings["copier"]["enabled"], settings["copier"]["automerge"])
