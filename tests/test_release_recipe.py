"""The recipe of releases: what it refuses, and what it leaves behind; each release that is made here is constructed."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pages import Reader
from release import may_change_seeded, refusals, seeded_changes
from rendering import Workshop, commit, git, run
from tools import ROOT

LAST, MADE = "3.1.4", "3.2.0"
"""The last release of a constructed template, and the one that is made of it."""
PAGE = ROOT / "docs" / "how-to" / "maintain-the-template.md"
IDENTITY = "template/src/{{package_name}}/chassis/identity.py"
COPIER = r'(template_version:\n  type: str\n  when: false\n  default: )".*"'
TRIED = (
    "IMAGE_ENGINE=podman python3 dev/check.py tests/test_image.py",
    "uv run python benchmarks/shutdown.py SERVICE --rounds 20",
)
"""What the page has tried before a release."""
SEEDED = "template/SECURITY.md"


@pytest.fixture
def template(workshop: Workshop, tmp_path: Path) -> Path:
    """Return a template of its own that is ready for its next release, with a key that signs."""
    target = tmp_path / "template"
    shutil.copytree(workshop.template(), target)
    head = git(target, "rev-parse", "HEAD").stdout.strip()
    names = f'[[release]]\nversion = "{LAST}"\ncommit = "{head}"\ndate = 2026-01-01\n'
    (target / "dev/releases.toml").write_text(names, encoding="utf-8")
    replace(target / IDENTITY, r'TEMPLATE_VERSION = ".*"', f'TEMPLATE_VERSION = "{MADE}"')
    replace(target / "copier.yml", COPIER, rf'\g<1>"{MADE}"')
    replace(target / "pyproject.toml", r'(?m)^version = ".*"', f'version = "{MADE}"')
    replace(target / "hooks/upgrades.toml", r"\Z", f'\n[[release]]\nversion = "{MADE}"\n')
    replace(target / "CHANGELOG.md", r"\n## ", f"\n## {MADE}\n\n- New.\n\n## ")
    for name, value in (("user.name", "Maintainer"), ("user.email", "maintainer@example.org")):
        git(target, "config", name, value)
    settle(target)
    return target


@pytest.fixture
def key(template: Path, tmp_path: Path) -> Path:
    """Return a key for signatures, which the template's repository uses and trusts."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not on the path, and a signature needs a key")
    made = tmp_path / "key"
    run(tmp_path, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(made), check=True)
    public = made.with_suffix(".pub").read_text(encoding="utf-8")
    (tmp_path / "signers").write_text(f"maintainer@example.org {public}", encoding="utf-8")
    signers = {"gpg.format": "ssh", "user.signingkey": made, "gpg.ssh.allowedSignersFile": tmp_path / "signers"}
    for name, value in signers.items():
        git(template, "config", name, str(value))
    return made


def replace(path: Path, old: str, new: str) -> None:
    """Replace the first place in a file."""
    text = path.read_text(encoding="utf-8")
    assert re.search(old, text), old
    path.write_text(re.sub(old, new, text, count=1), encoding="utf-8")


def settle(template: Path) -> None:
    """Record and commit what lies in a template."""
    run(template, sys.executable, "dev/changelog.py", "--unseen", "a test", check=True)
    commit(template, "Ready")


def make(template: Path, version: str = MADE) -> subprocess.CompletedProcess[str]:
    """Make a release."""
    return run(template, sys.executable, "dev/release.py", version)


def state(template: Path) -> list[str]:
    """Return what a release would change: tags, commits, files."""
    asked = (("tag", "--list"), ("rev-parse", "HEAD"), ("status", "--porcelain"))
    return [git(template, *words).stdout for words in asked]


@pytest.mark.usefixtures("key")
def test_a_release_is_signed_named_and_pushed(template: Path, tmp_path: Path) -> None:
    """Who follows the page tags what is committed with a signature, names it in the next commit, and pushes both."""
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    git(template, "remote", "add", "origin", str(tmp_path / "origin"))
    before = git(template, "rev-parse", "HEAD").stdout.strip()
    section = PAGE.read_text(encoding="utf-8").partition("\n## Release\n")[2]
    tried = dict.fromkeys(TRIED, "it takes an engine, or a service under load for minutes")
    person = Reader(template, {}, tried, {"python3 ": f"{sys.executable} ", "0.3.0": MADE})
    person.follow(section)
    assert [f"{sys.executable} dev/release.py {MADE}", f"git push --atomic origin main v{MADE}"] == person.done
    git(template, "verify-tag", f"v{MADE}")
    named = tomllib.loads((template / "dev/releases.toml").read_text(encoding="utf-8"))["release"]
    date = git(template, "for-each-ref", "--format=%(taggerdate:short)", f"refs/tags/v{MADE}").stdout.strip()
    assert {"version": MADE, "commit": before, "date": date} == {**named[-1], "date": str(named[-1]["date"])}
    assert [LAST, MADE] == [entry["version"] for entry in named]
    assert [before, before] == git(template, "rev-parse", f"v{MADE}^{{commit}}", "HEAD^").stdout.split()
    assert "dev/releases.toml\n" == git(template, "diff", "--name-only", "HEAD^").stdout
    pushed = git(tmp_path / "origin", "rev-parse", "main", f"v{MADE}^{{commit}}").stdout.split()
    assert [git(template, "rev-parse", "HEAD").stdout.strip(), before] == pushed


@pytest.mark.usefixtures("key")
def test_the_command_that_pushes_is_printed(template: Path) -> None:
    """Nothing leaves the machine; the last line is the command that publishes branch and tag together."""
    git(template, "switch", "--quiet", "--create", "stable")
    done = make(template)
    assert (0, "") == (done.returncode, done.stderr)
    assert f"  git push --atomic origin stable v{MADE}" == done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"gpg.format": "ssh", "user.signingkey": "/nowhere"}, id="key"),
        pytest.param({"gpg.program": "/nowhere"}, id="program"),
    ],
)
def test_without_a_signature_there_is_no_release(template: Path, settings: dict[str, str]) -> None:
    """When git cannot sign, or says that it did and has not, that is said, and nothing has changed."""
    for name, value in settings.items():
        git(template, "config", name, value)
    before = state(template)
    done = make(template)
    assert (1, "") == (done.returncode, done.stdout)
    assert re.match("error: git tag (failed|left the tag without a signature), and nothing has changed", done.stderr)
    assert before == state(template)


@pytest.mark.usefixtures("key")
def test_a_release_that_cannot_be_named_is_taken_back(template: Path) -> None:
    """When git cannot commit, the tag goes again."""
    hook = template / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho never >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    before = state(template)
    done = make(template)
    assert (1, "error: git commit failed, and nothing has changed. never\n") == (done.returncode, done.stderr)
    assert before == state(template)


def dirty(template: Path) -> None:
    """Leave a file that is not committed."""
    (template / "note.txt").write_text("\n", encoding="utf-8")


def change(path: str, old: str, new: str) -> Callable[[Path], None]:
    """Return a change of a file that is recorded and committed."""

    def do(template: Path) -> None:
        replace(template / path, old, new)
        settle(template)

    return do


def unrecorded(template: Path) -> None:
    """Commit a managed file that the changelog does not know of."""
    replace(template / "template/ruff.toml", r"\Z", "# More.\n")
    commit(template, "Unrecorded")


def forgotten(template: Path) -> None:
    """Name a commit that the history does not have."""
    replace(template / "dev/releases.toml", r'commit = ".*"', f'commit = "{"0" * 40}"')
    commit(template, "As in a shallow clone")


REFUSED = {
    "dirty": (dirty, "1 files have changes that are not committed, such as note.txt: commit them."),
    "detached": (
        lambda template: git(template, "checkout", "--quiet", "--detach"),
        "No branch is checked out, and the release is named on one: git switch main.",
    ),
    "tagged": (
        lambda template: git(template, "tag", f"v{MADE}"),
        f"The tag v{MADE} exists: choose the next version.",
    ),
    "not later": (
        change("dev/releases.toml", f'"{LAST}"', '"3.10.0"'),
        f"{MADE} does not come after 3.10.0, the last release: choose a greater version.",
    ),
    "identity": (
        change(IDENTITY, f'"{MADE}"', '"3.1.5"'),
        f"TEMPLATE_VERSION in {IDENTITY} is 3.1.5: set it to {MADE}.",
    ),
    "copier": (
        change("copier.yml", COPIER, r'\g<1>"3.1.5"'),
        f"template_version in copier.yml is 3.1.5: set it to {MADE}.",
    ),
    "project": (
        change("pyproject.toml", f'"{MADE}"', '"3.1.5"'),
        f"version in pyproject.toml is 3.1.5: set it to {MADE}.",
    ),
    "upgrades": (
        change("hooks/upgrades.toml", f'"{MADE}"', '"3.1.5"'),
        f"The last release in hooks/upgrades.toml is 3.1.5: set it to {MADE}.",
    ),
    "changelog": (
        change("CHANGELOG.md", f"## {MADE}", "## 3.1.5"),
        f"CHANGELOG.md begins with 3.1.5: begin it with a section `## {MADE}`.",
    ),
    "silent": (
        change("CHANGELOG.md", f"## {MADE}\n\n- New.\n", f"## {MADE}\n"),
        f"CHANGELOG.md says nothing about {MADE}: write it, or take the title away.",
    ),
    "unrecorded": (
        unrecorded,
        "dev/managed.txt is not the record of what lies here: python3 dev/changelog.py, and commit it.",
    ),
    "seeded": (
        change(SEEDED, r"\Z", "More.\n"),
        f"1 files of owners changed since {LAST}, such as {SEEDED}: take that back, or make it a major release.",
    ),
    "shallow": (
        forgotten,
        f"The history does not reach back to {LAST} ({'0' * 40}): git fetch --unshallow.",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_in_the_way_is_said(template: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    """Each thing that a release needs is checked before anything happens, and its sentence says what to do."""
    spoil(template)
    before = state(template)
    done = make(template)
    assert (1, "", f"error: {sentence}\n") == (done.returncode, done.stdout, done.stderr)
    assert before == state(template)


def test_everything_in_the_way_is_said_at_once(template: Path) -> None:
    """Who has forgotten several things learns all of them the first time."""
    change(SEEDED, r"\Z", "More.\n")(template)
    change(IDENTITY, f'"{MADE}"', '"3.1.5"')(template)
    dirty(template)
    assert 3 == len(make(template).stderr.splitlines())


@pytest.mark.parametrize("version", ["v3.2.0", "3.2", "3.2.0rc1", "3.02.0"])
def test_a_version_has_three_numbers(version: str) -> None:
    """Anything else is no version, and nothing else is looked at."""
    assert [f"'{version}' is no version: three numbers are, such as 1.2.3."] == refusals(ROOT, version)


@pytest.mark.parametrize(
    ("last", "version", "may"),
    [
        ("0.2.0", "0.3.0", True),
        ("0.2.0", "0.2.1", False),
        ("0.9.9", "1.0.0", True),
        ("1.2.3", "2.0.0", True),
        ("1.2.3", "1.3.0", False),
        ("1.2.3", "1.2.4", False),
        ("1.2.3", "1.2.3", False),
    ],
)
def test_major_releases_change_what_is_the_owners(last: str, version: str, may: bool) -> None:  # noqa: FBT001 - a column of the table
    """The text of seeded files changes with the first number, before 1.0 with the second one."""
    assert may == may_change_seeded(last, version)


def test_a_new_seeded_file_is_no_change(template: Path) -> None:
    """A file that no owner has yet takes nothing from anybody; one that changed or went does."""
    (template / "template/examples/more.py").write_text("\n", encoding="utf-8")
    assert [] == seeded_changes(template, "HEAD")
    (template / SEEDED).unlink()
    assert [SEEDED] == seeded_changes(template, "HEAD")
