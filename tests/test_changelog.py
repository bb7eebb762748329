"""The changelog and the record of managed files: no file that updates change does so without a word."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from changelog import RECORD, found, recorded, sections
from pages import Reader
from releases import NAMED, NEXT, begin, releases
from rendering import DEFAULT, Workshop, clean_environment, commit, git, run
from tools import ROOT

MANAGED = "template/ruff.toml"
TOOL = "hooks/merge.py"
NOT_MANAGED = ("template/SECURITY.md", "hooks/fleet.py", "tests/rendering.py")
PAGE = ROOT / "docs" / "how-to" / "maintain-the-template.md"


@pytest.fixture
def template(workshop: Workshop, tmp_path: Path) -> Path:
    """Return a copy of the template of its own, without history, whose record is that of its files."""
    target = tmp_path / "template"
    shutil.copytree(workshop.template(), target)
    names = "".join(named(version) for version in NAMED if version != NEXT)
    (target / "dev/releases.toml").write_text(names, encoding="utf-8")
    (target / RECORD).unlink(missing_ok=True)
    assert 0 == record(target).returncode
    commit(target, "Recorded")
    return target


def named(version: str) -> str:
    """Return what names a release."""
    return f'[[release]]\nversion = "{version}"\ncommit = "{"0" * 40}"\n'


def record(template: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Renew the record of a copy."""
    return run(template, sys.executable, "dev/changelog.py", *words)


def add(path: Path, line: str = "# More.\n") -> None:
    """Add a line to the end of a file."""
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")


def say(template: Path) -> None:
    """Say something in the newest section of the changelog."""
    path = template / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"## {NEXT}\n\n", f"## {NEXT}\n\n- Something new.\n", 1), encoding="utf-8")


def test_no_managed_file_changed_without_a_word() -> None:
    """Whoever changes a managed file says in CHANGELOG.md what a user notices, and runs dev/changelog.py."""
    before = recorded(ROOT)
    assert before is not None
    changed = before.differences(found(ROOT))
    assert [] == changed, "say in CHANGELOG.md what a user notices, then: python3 dev/changelog.py"


def test_the_newest_section_is_about_the_release_in_the_making() -> None:
    """The changelog begins with the release that the data of updates end with, and knows all releases before it."""
    said = sections(ROOT)
    assert [*dict.fromkeys([NEXT, *reversed(NAMED)])] == list(said)
    assert [] == [version for version, text in said.items() if not text]


@pytest.mark.parametrize("path", [MANAGED, TOOL, "template/pyproject.toml.jinja"], ids=["managed", "tool", "merged"])
def test_a_managed_file_needs_a_word(template: Path, path: str) -> None:
    """A change of a managed file is not recorded before the changelog says something new."""
    add(template / path)
    kept = (template / RECORD).read_text(encoding="utf-8")

    refused = record(template)

    assert (1, "") == (refused.returncode, refused.stdout)
    assert f"error: 1 managed files changed ({path}), and the newest section of CHANGELOG.md did not" in refused.stderr
    assert kept == (template / RECORD).read_text(encoding="utf-8")
    say(template)
    assert (0, "") == ((done := record(template)).returncode, done.stderr)
    assert kept != (template / RECORD).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda template: (template / MANAGED).unlink(), id="gone"),
        pytest.param(lambda template: (template / MANAGED).rename(template / "template/mypy.ini"), id="moved"),
        pytest.param(lambda template: (template / "template/tests/new.py").write_text("", encoding="utf-8"), id="new"),
    ],
)
def test_files_that_come_and_go_count(template: Path, change: Callable[[Path], object]) -> None:
    """A managed file that is new, moved or gone needs a word like one that changed."""
    change(template)
    assert 1 == record(template).returncode


@pytest.mark.parametrize("path", NOT_MANAGED)
def test_what_updates_leave_alone_needs_no_word(template: Path, path: str) -> None:
    """Seeded files, and those that are not rendered, are not in the record."""
    kept = (template / RECORD).read_text(encoding="utf-8")
    add(template / path)
    assert 0 == record(template).returncode
    assert kept == (template / RECORD).read_text(encoding="utf-8")


def test_a_reason_is_kept_until_the_next_release(template: Path) -> None:
    """What no user sees is recorded with a reason, which stays in the record while its release is in the making."""
    add(template / MANAGED)
    assert 0 == record(template, "--unseen", "a comment has\n better words").returncode
    add(template / MANAGED)
    say(template)
    assert 0 == record(template).returncode
    kept = recorded(template)
    assert kept is not None
    assert ("a comment has better words",) == kept.unseen
    path = template / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"## {NEXT}\n", f"## 99.0.0\n\n- New.\n\n## {NEXT}\n", 1), encoding="utf-8")
    assert 0 == record(template).returncode
    assert () == getattr(recorded(template), "unseen", None)


def test_a_released_section_is_closed(template: Path) -> None:
    """After a release, a changed managed file begins the next section."""
    add(template / "dev/releases.toml", named(NEXT))
    add(template / MANAGED)
    say(template)
    refused = record(template)
    assert 1 == refused.returncode
    assert f"{NEXT} is released: begin the next section of CHANGELOG.md" in refused.stderr


def test_a_merged_record_is_written_again(template: Path) -> None:
    """Marks of a merge in the record are no obstacle: the command writes it anew."""
    kept = (template / RECORD).read_text(encoding="utf-8")
    first, *rest = kept.splitlines(keepends=True)
    merged = ["<<<<<<< ours\n", rest[0], "=======\n", "000000000000  gone.py\n", ">>>>>>> theirs\n"]
    (template / RECORD).write_text("".join([first, *merged, *rest[1:]]), encoding="utf-8")
    say(template)
    assert 0 == record(template).returncode
    assert "<<<<<<<" not in (template / RECORD).read_text(encoding="utf-8")


def test_the_page_renews_what_it_says(template: Path) -> None:
    """The commands about owners on the page for maintainers work in this order, after a change with a word."""
    add(template / "hooks/ownership.toml")
    say(template)
    section = PAGE.read_text(encoding="utf-8").partition("## Who owns a file\n")[2].partition("\n## ")[0]
    person = Reader(template, {}, {}, {"python3 ": f"{sys.executable} "})
    person.follow(section)
    assert 3 == len(person.done)
    kept = recorded(template)
    assert kept is not None
    assert [] == kept.differences(found(template))


@pytest.mark.gate
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_upgrade_note_brings_old_services_here(workshop: Workshop, tmp_path: Path, version: str) -> None:
    """A service of a release without `just update` comes to this one with the two commands of the changelog."""
    project, template = begin(workshop, tmp_path / "project", version, DEFAULT), releases(workshop)
    replaced = {
        "TEMPLATE": str(template),
        "/tmp/template": str(tmp_path / "clone"),  # noqa: S108 - what the note says
        "hooks update": f"hooks update --no-check --vcs-ref=v{NEXT}",
    }
    person = Reader(project, {"PATH": clean_environment()["PATH"]}, {}, replaced)
    person.follow(sections(ROOT)["0.3.0"])
    assert 2 == len(person.done)
    assert f"_commit: v{NEXT}" in (project / ".copier-answers.yml").read_text(encoding="utf-8")
    assert "" == git(project, "diff", "--name-only", "--diff-filter=U").stdout
