"""The guard as a hook of git: whatever index and repository git tells a hook of, commits get the right verdict."""

import shutil
import sys
from pathlib import Path

import pytest

from releases import LATER, NAMED, NEXT, begin, rendered
from rendering import DEFAULT, Workshop, commit, contents, files, git, run
from test_update_commands import MOVED, TARGET, edit, merge
from test_update_refusals import copied_update, updated

HOOK = f"#!/bin/sh\nexec {sys.executable} .template check\n"
AUTHOR = ("-c", "user.name=Owner", "-c", "user.email=owner@example.org")


def hook(project: Path) -> None:
    """Install the guard as the hook of commits."""
    path = project / ".git" / "hooks" / "pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text(HOOK, encoding="utf-8")
    path.chmod(0o755)


def committed(project: Path, *words: str) -> tuple[int, str]:
    """Return the exit code of a commit with the hook, and what it said."""
    done = run(project, "git", *AUTHOR, "commit", "--quiet", *words)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [("-am", "x"), ("-m", "x"), ("-m", "x", ".")], ids=["all", "staged", "paths"])
def test_every_kind_of_commit_is_guarded(workshop: Workshop, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Dropped edits are refused, carried ones are committed, and the index is what it was."""
    project = updated(workshop, tmp_path / "project")
    hook(project)
    code, said = committed(project, *words)
    assert (1, True) == (code, f"{MOVED} had edits of yours" in said), said
    target = project / TARGET
    target.write_text(target.read_text(encoding="utf-8") + "# traced, by hand\n", encoding="utf-8")
    git(project, "add", "--all")
    ours = contents(project)
    assert (0, "") == committed(project, *words)
    assert (ours, "") == (contents(project), git(project, "status", "--porcelain").stdout)
    assert sorted(ours) == sorted(git(project, "ls-files").stdout.split())


def test_a_commit_in_another_working_tree_is_guarded(workshop: Workshop, tmp_path: Path) -> None:
    """In a working tree of `git worktree` the verdict is the same, also where tags are named like the template's."""
    project = begin(workshop, tmp_path / "project", NEXT, DEFAULT)
    edit(project, MOVED)
    hook(project)
    for version in (NEXT, LATER):
        git(project, "tag", f"v{version}")
    git(project, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "tree"))
    copied_update(tmp_path / "tree")
    head = git(tmp_path / "tree", "symbolic-ref", "HEAD").stdout
    code, said = committed(tmp_path / "tree", "-am", "x")
    assert (1, True) == (code, f"{MOVED} had edits of yours" in said), said
    assert head == git(tmp_path / "tree", "symbolic-ref", "HEAD").stdout


def test_the_first_commit_passes(workshop: Workshop, tmp_path: Path) -> None:
    """A project that is committed for the first time has nothing that an update could have left."""
    project = tmp_path / "project"
    shutil.copytree(rendered(workshop, NEXT, DEFAULT), project)
    git(project, "init", "--quiet")
    hook(project)
    git(project, "add", "--all")
    assert (0, "") == committed(project, "-m", "Start")


def test_a_submodule_can_be_committed(workshop: Workshop, tmp_path: Path) -> None:
    """The commit of another repository is no file that could hold marks."""
    project, other = begin(workshop, tmp_path / "project", NEXT, DEFAULT), tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    commit(other, "Other")
    hook(project)
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendor")
    assert (0, "") == committed(project, "-m", "Vendor")


def test_a_page_of_the_owner_is_not_taken_for_a_generated_one(workshop: Workshop, tmp_path: Path) -> None:
    """Where the template brings a generated page and the owner has one of that name, there is a conflict."""
    base, new = rendered(workshop, NAMED[0], DEFAULT), rendered(workshop, NEXT, DEFAULT)
    project = begin(workshop, tmp_path / "project", NAMED[0], DEFAULT)
    assert not (project / "docs/checklist.md").exists()
    (project / "docs/checklist.md").write_text("Ours.\n", encoding="utf-8")
    commit(project, "A page")
    done = run(project, sys.executable, str(new / ".template"), "merge", f"--base={base}", f"--new={new}", "--no-check")
    assert (1, True) == (done.returncode, "  docs/checklist.md\n" in done.stdout)
    assert "Ours.\n" in (project / "docs/checklist.md").read_text(encoding="utf-8")


def test_edits_of_a_generated_page_are_named(workshop: Workshop, tmp_path: Path) -> None:
    """A generated page takes the new text; the command that brings the owner's back is told and works."""
    project = begin(workshop, tmp_path / "project", NEXT, DEFAULT)
    page = project / "docs/settings.md"
    later = rendered(workshop, LATER, DEFAULT)
    assert page.read_bytes() == (later / "docs/settings.md").read_bytes(), "the later release leaves it alone"
    page.write_text(page.read_text(encoding="utf-8") + "traced\n", encoding="utf-8")
    commit(project, "Our page")
    assert 0 == merge(workshop, project).returncode
    assert page.read_text(encoding="utf-8").endswith("traced\n")


def test_binary_files_in_conflict_are_told_apart(workshop: Workshop, tmp_path: Path) -> None:
    """A binary file that both sides changed has no marks: the command that takes the template's is named."""
    base, new = (tmp_path / name for name in ("base", "new"))
    shutil.copytree(rendered(workshop, NEXT, DEFAULT), base)
    shutil.copytree(base, new)
    (new / "examples/two_speakers.wav").write_bytes(b"RIFF\0theirs")
    project = begin(workshop, tmp_path / "project", NEXT, DEFAULT)
    (project / "examples/two_speakers.wav").write_bytes(b"RIFF\0ours")
    commit(project, "Our sound")
    done = run(project, sys.executable, str(new / ".template"), "merge", f"--base={base}", f"--new={new}", "--no-check")
    assert 1 == done.returncode
    (command,) = (line.strip() for line in done.stdout.splitlines() if "--theirs" in line)
    assert b"RIFF\0ours" == (project / "examples/two_speakers.wav").read_bytes()
    run(project, *command.split(), check=True)
    assert b"RIFF\0theirs" == (project / "examples/two_speakers.wav").read_bytes()


def test_a_file_that_moved_and_went_can_be_brought_back(workshop: Workshop, tmp_path: Path) -> None:
    """The command for an edited file that an answer takes away names the path under which it was committed."""
    base = rendered(workshop, NAMED[0], DEFAULT)
    new = rendered(workshop, NEXT, {"objects": "[genai]"})
    project = begin(workshop, tmp_path / "project", NAMED[0], DEFAULT)
    path = "src/my_service/service/diarization.py"
    edit(project, path)
    done = run(project, sys.executable, str(new / ".template"), "merge", f"--base={base}", f"--new={new}", "--no-check")
    assert 0 == done.returncode, done.stdout
    (command,) = (line.strip() for line in done.stdout.splitlines() if line.endswith(path))
    commit(project, "Update")
    run(project, *command.split(), check=True)
    assert "# traced\n" in (project / path).read_text(encoding="utf-8")
    assert {path} == set(files(project)) - set(files(new))
