"""What updates refuse, and what must not be committed after one: a sentence each, and nothing is changed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from project import ABANDON
from releases import LATER, NEXT, begin, releases
from rendering import DEFAULT, Workshop, commit, contents, files, git, run
from test_update_commands import MOVED, TARGET, edit, edit_beside, merge, template, update

COPIER = str(Path(sys.executable).with_name("copier"))
ANSWERS = ".copier-answers.yml"


@pytest.fixture
def project(workshop: Workshop, tmp_path: Path) -> Path:
    """Return a project of what lies on disk, which a later release exists for."""
    return begin(workshop, tmp_path / "project", NEXT, DEFAULT)


def answered(old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces a text in the answers file."""

    def change(project: Path) -> None:
        path = project / ANSWERS
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        commit(project, "Other answers")

    return change


def changed(project: Path) -> None:
    """Change a file without committing it."""
    (project / "README.md").write_text("Ours.\n", encoding="utf-8")


def no_history(project: Path) -> None:
    """Take away the history."""
    shutil.rmtree(project / ".git")


def nothing_committed(project: Path) -> None:
    """Take away the commits."""
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")


def left(project: Path) -> None:
    """Leave the template."""
    (project / ANSWERS).unlink()


def in_the_way(project: Path) -> None:
    """Put a file that git does not see where the later release has one."""
    with (project / ".git/info/exclude").open("a", encoding="utf-8") as stream:
        stream.write("redacting.py\n")
    (project / TARGET).write_text("Ours.\n", encoding="utf-8")


def hidden(project: Path) -> None:
    """Tell git not to look at a file."""
    git(project, "update-index", "--assume-unchanged", "justfile")


def link(project: Path) -> None:
    """Put a link that leads nowhere where the later release has a file."""
    with (project / ".git/info/exclude").open("a", encoding="utf-8") as stream:
        stream.write("faulting\n")
    (project / "tests" / "faulting").symlink_to("nowhere")


REFUSED = {
    "hidden": (hidden, "git is told not to look at 1 files, such as justfile"),
    "link": (link, "tests/faulting is not known to git"),
    "changes": (changed, "such as README.md"),
    "no history": (no_history, "git init"),
    "nothing committed": (nothing_committed, "git add -A && git commit"),
    "left": (left, f"has no {ANSWERS}"),
    "in the way": (in_the_way, f"{TARGET} is not known to git and lies where the template brings files"),
    "no template": (answered("_src_path: ", "_src_path: /nowhere"), "copier"),
    "no such commit": (answered(f"_commit: v{NEXT}", "_commit: v0.0.9"), "copier"),
    "no commit": (answered("_commit: ", "commit: "), "copier"),
    "no answers": (answered("_src_path: ", ": ["), "copier"),
}


@pytest.mark.parametrize(("spoil", "told"), REFUSED.values(), ids=REFUSED)
def test_an_update_that_cannot_be_done_changes_nothing(project: Path, spoil: Callable[[Path], None], told: str) -> None:
    """What is wrong is one line without a trace of the program, and no file is touched."""
    spoil(project)
    before = contents(project)
    done = update(project)
    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert before == contents(project)


def test_there_is_no_way_back(workshop: Workshop, tmp_path: Path) -> None:
    """An older release is refused: moves cannot be undone."""
    project = begin(workshop, tmp_path / "project", LATER, DEFAULT)
    done = update(project, f"--vcs-ref=v{NEXT}")
    assert 2 == done.returncode
    assert f"v{NEXT} is older than v{LATER}" in done.stderr


def test_arguments_that_are_not_known_are_refused(project: Path) -> None:
    """Unknown words end with the usage, as anywhere."""
    assert 2 == update(project, "--trust").returncode


def copied_update(project: Path) -> None:
    """Update with Copier alone, as Renovate does."""
    run(project, COPIER, "update", "--quiet", "--defaults", "--skip-answered", f"--vcs-ref=v{LATER}", check=True)


def updated(workshop: Workshop, target: Path) -> Path:
    """Return a project with edits of a file that moves, after a plain `copier update`, with everything staged."""

    def make(project: Path) -> None:
        begin(workshop, project, NEXT, DEFAULT)
        edit(project, MOVED)
        copied_update(project)
        git(project, "add", "--all")

    shutil.copytree(workshop.once("updated", make), target)
    return target


@pytest.fixture
def after(workshop: Workshop, tmp_path: Path) -> Path:
    """Return a project as a plain `copier update` left it."""
    return updated(workshop, tmp_path / "after")


def test_dropped_edits_are_caught(workshop: Workshop, after: Path) -> None:
    """After a plain `copier update`, a commit is refused while the edits of a moved file are not there."""
    project = after
    done = template(project, "check")
    assert (1, "") == (done.returncode, done.stdout)
    assert f"{MOVED} had edits of yours, the template moved it to {TARGET}, and they are not there" in done.stderr
    run(project, "sh", "-c", ABANDON, check=True)
    assert (project / MOVED).read_text(encoding="utf-8").endswith("# traced\n")
    assert 0 == merge(workshop, project).returncode
    assert (0, "", "") == spoken(template(project, "check"))


def spoken(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Return the exit code of a command and what it printed."""
    return done.returncode, done.stdout, done.stderr


def test_edits_that_were_carried_by_hand_pass(after: Path) -> None:
    """Whoever works the edits into the moved file by hand may commit."""
    target = after / TARGET
    target.write_text(target.read_text(encoding="utf-8") + "# traced, by hand\n", encoding="utf-8")
    git(after, "add", "--all")
    assert (0, "", "") == spoken(template(after, "check"))


def test_a_plain_update_without_edits_of_moved_files_passes(project: Path) -> None:
    """A plain `copier update` that lost nothing may be committed."""
    edit(project, "README.md")
    copied_update(project)
    git(project, "add", "--all")
    assert (0, "", "") == spoken(template(project, "check"))


def test_a_committed_update_is_caught_by_the_ci(after: Path) -> None:
    """A branch on which a plain `copier update` dropped edits is refused when it is compared with where it began."""
    git(after, "switch", "--quiet", "--create", "renovate")
    commit(after, "Update")
    assert 0 == template(after, "check").returncode
    done = template(after, "check", "--before", "main")
    assert 1 == done.returncode
    assert MOVED in done.stderr


def test_marks_of_a_conflict_are_not_committed(project: Path) -> None:
    """A file with the marks of a conflict is refused, whoever put them there."""
    edit_beside(project)
    copied_update(project)
    git(project, "add", "--all")
    done = template(project, "check")
    assert (1, "mypy.ini holds the marks of a conflict: resolve it\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize("tracked", [True, False], ids=["staged", "untracked"])
def test_rejected_parts_are_not_forgotten(project: Path, *, tracked: bool) -> None:
    """A `.rej` file is refused until it is worked in."""
    (project / "README.md.rej").write_text("@@ -1 +1 @@\n-a\n+b\n", encoding="utf-8")
    if tracked:
        git(project, "add", "--all")
    done = template(project, "check")
    assert 1 == done.returncode
    assert "README.md.rej is a part of an update that could not be applied" in done.stderr


def test_the_check_says_when_it_cannot_tell(workshop: Workshop, tmp_path: Path, after: Path) -> None:
    """When the template cannot be reached, a commit that moves edited files is refused with the reason."""
    answers = after / ANSWERS
    text = answers.read_text(encoding="utf-8").replace(str(releases(workshop)), str(tmp_path / "gone"))
    answers.write_text(text, encoding="utf-8")
    git(after, "add", "--all")
    done = template(after, "check")
    assert 2 == done.returncode
    assert done.stderr.startswith("error: This commit is an update, and the template is needed to check it.")


def test_without_the_template_nothing_is_checked(project: Path) -> None:
    """A project that has left the template commits what it wants."""
    left(project)
    assert (0, "", "") == spoken(template(project, "check"))


def test_the_status_touches_nothing(project: Path) -> None:
    """The status names own edits of managed files and what an update would do; no byte of the project changes."""
    edit(project, MOVED)
    edit_beside(project)
    (project / "ruff.toml").unlink()
    commit(project, "Deleted")
    before, objects = contents(project), sorted(path for path in (project / ".git").rglob("*") if path.is_file())
    done = template(project, "status", "--diff")
    assert 0 == done.returncode, done.stderr
    assert f"Release v{NEXT}, 1 behind {LATER}.\n" in done.stdout
    assert f"  changed mypy.ini\n  deleted ruff.toml\n  changed {MOVED}\n" in done.stdout
    assert "CONFLICTS" in done.stdout
    assert f"+++ b/{TARGET}\n" in done.stdout
    assert before == contents(project)
    assert objects == sorted(path for path in (project / ".git").rglob("*") if path.is_file())


def test_the_status_of_the_newest_release_is_short(workshop: Workshop, tmp_path: Path) -> None:
    """Without own edits and without a newer release there is nothing to say."""
    project = begin(workshop, tmp_path / "newest", LATER, DEFAULT)
    done = template(project, "status")
    told = f"Release v{LATER}, the newest.\nManaged files are as the template wrote them.\n"
    assert (0, told, "") == spoken(done)
    assert files(project)
