"""The commands of updates, as an owner runs them: update, status and check, with whatever goes wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edits import Traces, conflicted, lost
from project import ABANDON
from releases import CHANGED, LATER, NEXT, begin, rendered
from rendering import DEFAULT, WITH_DATABASE, Workshop, clean_environment, commit, contents, git, run

MOVED = "src/my_service/chassis/redaction.py"
TARGET = "src/my_service/chassis/redacting.py"
BESIDE = "mypy.ini"


@pytest.fixture
def project(workshop: Workshop, tmp_path: Path) -> Path:
    """Return a project of what lies on disk, which a later release exists for."""
    return begin(workshop, tmp_path / "project", NEXT, DEFAULT)


def template(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program of the template that lies in a project."""
    return run(project, sys.executable, ".template", *words)


def update(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Update as an owner does, without locking and without the gate."""
    return template(project, "update", "--no-check", *words)


def merge(workshop: Workshop, project: Path) -> subprocess.CompletedProcess[str]:
    """Run the second half of an update of a default project to the later release: the first one rendered this."""
    base, new = rendered(workshop, NEXT, DEFAULT), rendered(workshop, LATER, DEFAULT)
    words = ("merge", f"--base={base}", f"--new={new}", "--no-check")
    return run(project, sys.executable, str(new / ".template"), *words)


def edit(project: Path, path: str, line: str = "# traced\n") -> Traces:
    """Add a line to the end of a file, and commit it."""
    traces = Traces()
    traces.write(project, path, (project / path).read_text(encoding="utf-8") + line, line.strip())
    commit(project, "Our edit")
    return traces


def test_an_update_says_what_it_did(project: Path) -> None:
    """Edits follow a file that moved; what the operator has to do before the next rollout is named."""
    traces = edit(project, MOVED)
    (project / ".env").write_text("MY_SERVICE_LOG__LEVEL=debug\n", encoding="utf-8")
    done = update(project)
    assert (0, "") == (done.returncode, done.stderr)
    assert "# traced\n" in (project / TARGET).read_text(encoding="utf-8")
    assert [] == lost(project, traces, "")
    assert f"  {MOVED} -> {TARGET}\n" in done.stdout
    assert "  + region: anywhere\n" in done.stdout
    assert f"  {LATER}: Drain the queue: jobs are gone.\n" in done.stdout
    assert f"  {LATER}: MY_SERVICE_LOG__LEVEL is MY_SERVICE_LOG__LOUDNESS now; it is used in .env" in done.stdout
    assert ABANDON in done.stdout
    assert "" == git(project, "diff", "--name-only").stdout
    assert "__pycache__" not in git(project, "ls-files").stdout


def test_a_second_update_changes_nothing(workshop: Workshop, project: Path) -> None:
    """Nothing happens to a project of the newest release."""
    merge(workshop, project)
    commit(project, "Update")
    before = contents(project)
    done = update(project)
    assert (0, f"Nothing to do: v{LATER} is the newest release.\n") == (done.returncode, done.stdout)
    assert before == contents(project)
    assert "" == git(project, "status", "--porcelain").stdout


def test_answers_are_kept_and_the_renamed_one_is_carried(workshop: Workshop, tmp_path: Path) -> None:
    """A question that has another name takes the answer of the old one; the others stay as they were."""
    project = begin(workshop, tmp_path / "project", NEXT, {"author": "Ours", "description": "Says when."})
    assert 0 == update(project).returncode
    answers = (project / ".copier-answers.yml").read_text(encoding="utf-8")
    assert {"owner: Ours", "description: Says when.", "region: anywhere"} <= set(answers.splitlines())
    assert 'authors = [{ name = "Ours" }]' in (project / "pyproject.toml").read_text(encoding="utf-8")


def test_a_conflict_can_be_finished(workshop: Workshop, project: Path) -> None:
    """A conflict ends the update with 1; resolved and committed like any other, it is done."""
    edit_beside(project)
    done = merge(workshop, project)
    assert 1 == done.returncode
    assert f"  {BESIDE}\n" in done.stdout
    assert {BESIDE} == conflicted(project)
    assert 1 == template(project, "check").returncode
    text = (project / BESIDE).read_text(encoding="utf-8")
    resolved = "".join(
        line for line in text.splitlines(keepends=True) if line[:7] not in ("<<<<<<<", "=======", ">>>>>>>")
    )
    (project / BESIDE).write_text(resolved, encoding="utf-8")
    commit(project, "Update")
    assert "# traced" in (project / BESIDE).read_text(encoding="utf-8")
    assert 0 == template(project, "check").returncode
    assert "Nothing to do" in update(project).stdout


def edit_beside(project: Path) -> None:
    """Edit the line that the later release has something new before."""
    path, place = project / BESIDE, CHANGED[BESIDE]
    text = path.read_text(encoding="utf-8")
    assert place in text
    path.write_text(text.replace(place, f"# traced\n{place}", 1), encoding="utf-8")
    commit(project, "Our edit")


def test_a_conflict_can_be_abandoned(workshop: Workshop, project: Path) -> None:
    """The command that the update names brings back exactly what was there, and the update can be repeated."""
    edit_beside(project)
    before = contents(project)
    first = merge(workshop, project)
    again = update(project)
    assert (2, "") == (again.returncode, again.stdout)
    assert ABANDON in again.stderr
    run(project, "sh", "-c", ABANDON, check=True)
    assert before == contents(project)
    assert "" == git(project, "status", "--porcelain").stdout
    assert first.stdout == merge(workshop, project).stdout


def test_an_edit_of_a_part_that_became_a_file_is_a_conflict(workshop: Workshop, project: Path) -> None:
    """Where a file was split, edits of the part that left stay where they were, as a conflict."""
    page = "docs/architecture.md"
    traces = edit(project, page)
    done = merge(workshop, project)
    assert (1, {page}) == (done.returncode, conflicted(project))
    assert [] == lost(project, traces, "")
    assert (project / "docs/metrics.md").exists()


@pytest.mark.parametrize("at", ["add", "mv", "commit-tree", "cherry-pick"])
def test_a_killed_update_can_be_abandoned_and_repeated(
    workshop: Workshop, project: Path, tmp_path: Path, at: str
) -> None:
    """Killed before or after any of its steps, an update leaves what one command brings back; the next one does all."""
    edit(project, MOVED)
    before, killing, found = contents(project), tmp_path / "bin" / "git", shutil.which("git")
    base, new = rendered(workshop, NEXT, DEFAULT), rendered(workshop, LATER, DEFAULT)
    words = [sys.executable, str(new / ".template"), "merge", f"--base={base}", f"--new={new}", "--no-check"]
    surroundings = clean_environment()
    surroundings["PATH"] = f"{killing.parent}{os.pathsep}{surroundings['PATH']}"
    killing.parent.mkdir()
    for done in ("", f'{found} "$@"; '):
        script = f'#!/bin/sh\ncase " $* " in *" {at} "*) {done}kill -9 $PPID; exit 1;; esac\nexec {found} "$@"\n'
        killing.write_text(script, encoding="utf-8")
        killing.chmod(0o755)
        ended = subprocess.run(words, cwd=project, env=surroundings, capture_output=True, timeout=60, check=False)
        assert -signal.SIGKILL == ended.returncode
        (project / ".git/index.lock").unlink(missing_ok=True)
        run(project, "sh", "-c", ABANDON, check=True)
        assert before == contents(project)
    assert 0 == merge(workshop, project).returncode
    assert "# traced\n" in (project / TARGET).read_text(encoding="utf-8")


def test_an_object_is_taken_out_and_edits_of_it_are_named(workshop: Workshop, project: Path) -> None:
    """Edited files that go with an answer are named with the command that brings each back; the release stays."""
    path = "src/my_service/domain/genai.py"
    edit(project, path)
    done = update(project, "--data", "objects=[diarization]")
    assert 0 == done.returncode, done.stderr
    assert not (project / path).exists()
    assert LATER not in (project / ".copier-answers.yml").read_text(encoding="utf-8")
    (command,) = (line.strip() for line in done.stdout.splitlines() if line.endswith(path))
    commit(project, "Without")
    run(project, *command.split(), check=True)
    assert "# traced\n" in (project / path).read_text(encoding="utf-8")
    (project / path).unlink()
    fresh = rendered(workshop, NEXT, {"objects": "[diarization]"})
    assert {p: t for p, t in contents(fresh).items() if "answers" not in p} == {
        p: t for p, t in contents(project).items() if "answers" not in p
    }


def test_a_capability_comes_and_goes(workshop: Workshop, project: Path) -> None:
    """A capability that is switched on and off again leaves what was there before."""
    before = contents(project)
    assert 0 == update(project, "--data", "capabilities=[database]").returncode
    commit(project, "With a database")
    assert contents(rendered(workshop, NEXT, WITH_DATABASE)).keys() == contents(project).keys()
    assert 0 == update(project, "--data", "capabilities=[]").returncode
    assert before == contents(project)


def test_a_folder_of_a_monorepo_is_updated_alone(workshop: Workshop, tmp_path: Path) -> None:
    """A project may be a folder of a repository; nothing beside it is touched."""
    top = tmp_path / "monorepo"
    project = top / "services" / "mine"
    shutil.copytree(rendered(workshop, NEXT, DEFAULT), project)
    (top / "README.md").write_text("All of it.\n", encoding="utf-8")
    git(top, "init", "--quiet")
    traces = edit(project, MOVED)
    (top / "notes.txt").write_text("Not known to git.\n", encoding="utf-8")
    assert [] == json.loads(template(project, "status", "--json").stdout)["update"]["conflicts"]
    done = update(project)
    assert 0 == done.returncode, done.stderr
    assert [] == lost(project, traces, "")
    assert {"README.md", "notes.txt"} == {path.name for path in top.iterdir() if path.is_file()}
    assert all(line[3:].startswith(("services/mine/", "notes.txt")) for line in status(top))
    fresh = contents(rendered(workshop, LATER, DEFAULT))
    assert {TARGET} == {path for path, text in contents(project).items() if fresh.get(path) != text}


def status(project: Path) -> list[str]:
    """Return what git says of the working tree."""
    return git(project, "status", "--porcelain").stdout.splitlines()
