"""Release: checks that what is committed may be released, tags it with a signature, and names it.

    python3 dev/release.py VERSION

Nothing is pushed; the command that does is printed. Who signs, and how, is what git is configured for: `gpg.format`
and `user.signingkey`.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from changelog import found, recorded, sections
from renders import version_of
from sources import NAMES, git, in_commit, named, on_disk, seeded
from tools import ROOT
from upgrades import releases

_IDENTITY = "template/src/{{package_name}}/chassis/identity.py"
_UPGRADES = "hooks/upgrades.toml"
_STATED = (
    ("TEMPLATE_VERSION", _IDENTITY, r'^TEMPLATE_VERSION = "(.*)"$'),
    ("template_version", "copier.yml", r'^template_version:\n(?:  .*\n)*?  default: "(.*)"$'),
)
"""Where the version stands: its name, the file, and how it is found there."""
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")


class UnsignedError(Exception):
    """Git said that it had signed a tag, and the tag has no signature."""


def refusals(root: Path, version: str) -> list[str]:
    """Return why a version cannot be released, one sentence each; nothing when it can."""
    if not _VERSION.fullmatch(version):
        return [f"{version!r} is no version: three numbers are, such as 1.2.3."]
    checks = (_repository, _order, _numbers, _changelog, _seeded)
    return [refusal for check in checks for refusal in check(root, version)]


def may_change_seeded(last: str, version: str) -> bool:
    """Return whether a release may change what is the owners': a major one, before 1.0 a minor one."""
    places = 1 if version_of(version)[0] else 2
    return version_of(last)[:places] != version_of(version)[:places]


def seeded_changes(root: Path, commit: str) -> list[str]:
    """Return the files of owners that are not as a commit holds them; new ones are not among them.

    Raises:
        subprocess.CalledProcessError: The history does not reach back to the commit.
    """
    now = on_disk(root)
    return [path for path, digest in seeded(in_commit(root, commit)).items() if now.get(path) != digest]


def release(root: Path, version: str) -> str:
    """Tag what is committed, name it in the next commit, and return the command that pushes both.

    Raises:
        UnsignedError: Git made a tag without a signature; nothing has changed then.
        subprocess.CalledProcessError: Git cannot sign or commit; nothing has changed then.
    """
    tag, names = f"v{version}", root / NAMES
    before = names.read_text(encoding="utf-8")
    git(root, "tag", "--sign", f"--message={tag}", tag)
    try:
        _refuse_unsigned(root, tag)
        commit, date = _of_tag(root, tag, "%(*objectname) %(taggerdate:short)").split()
        entry = f'\n[[release]]\nversion = "{version}"\ncommit = "{commit}"\ndate = {date}\n'
        names.write_text(before.rstrip("\n") + "\n" + entry, encoding="utf-8")
        git(root, "commit", "--quiet", f"--message=Name release {version}", "--", NAMES)
    except (UnsignedError, subprocess.CalledProcessError):
        names.write_text(before, encoding="utf-8")
        git(root, "tag", "--delete", tag)
        raise
    branch = git(root, "symbolic-ref", "--short", "HEAD").strip()
    return f"git push --atomic origin {branch} {tag}"


def _refuse_unsigned(root: Path, tag: str) -> None:
    # git 2.39 ends with 0, and makes a tag without a signature, when the key of SSH cannot be read
    if not _of_tag(root, tag, "%(contents:signature)"):
        raise UnsignedError


def _of_tag(root: Path, tag: str, wanted: str) -> str:
    return git(root, "for-each-ref", f"--format={wanted}", f"refs/tags/{tag}").strip()


def _repository(root: Path, version: str) -> Iterator[str]:
    if changed := git(root, "status", "--porcelain").splitlines():
        yield f"{len(changed)} files have changes that are not committed, such as {changed[0][3:]}: commit them."
    if not git(root, "branch", "--show-current").strip():
        yield "No branch is checked out, and the release is named on one: git switch main."
    if git(root, "tag", "--list", f"v{version}").strip():
        yield f"The tag v{version} exists: choose the next version."


def _order(root: Path, version: str) -> Iterator[str]:
    *_, last = named(root)
    if version_of(version) <= version_of(last):
        yield f"{version} does not come after {last}, the last release: choose a greater version."


def _numbers(root: Path, version: str) -> Iterator[str]:
    stated = [
        (f"{name} in {path}", found[1] if found else "")
        for name, path, pattern in _STATED
        for found in [re.search(pattern, (root / path).read_text(encoding="utf-8"), re.MULTILINE)]
    ]
    *_, told = releases(root / "hooks")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for place, value in (
        *stated,
        ("version in pyproject.toml", project["version"]),
        (f"The last release in {_UPGRADES}", told.version),
    ):
        if value != version:
            yield f"{place} is {value}: set it to {version}."


def _changelog(root: Path, version: str) -> Iterator[str]:
    said = sections(root)
    first = next(iter(said), "nothing")
    if first != version:
        yield f"CHANGELOG.md begins with {first}: begin it with a section `## {version}`."
    for title in (title for title, text in said.items() if not text):
        yield f"CHANGELOG.md says nothing about {title}: write it, or take the title away."
    before = recorded(root)
    if before is None or before.differences(found(root)):
        yield "dev/managed.txt is not the record of what lies here: python3 dev/changelog.py, and commit it."


def _seeded(root: Path, version: str) -> Iterator[str]:
    *_, (last, commit) = named(root).items()
    if may_change_seeded(last, version):
        return
    try:
        changed = seeded_changes(root, commit)
    except subprocess.CalledProcessError:
        yield f"The history does not reach back to {last} ({commit}): git fetch --unshallow."
        return
    if changed:
        kind = "major" if version_of(version)[0] else "minor"
        yield (
            f"{len(changed)} files of owners changed since {last}, such as {changed[0]}: "
            f"take that back, or make it a {kind} release."
        )


def main(words: list[str]) -> int:
    """Make a release and return 0, or say everything that is in its way and return 1."""
    parser = argparse.ArgumentParser(prog="release", allow_abbrev=False, description="Makes a release.")
    parser.add_argument("version", metavar="VERSION", help="such as 1.2.3")
    version = parser.parse_args(words).version
    if refused := refusals(ROOT, version):
        print(*(f"error: {refusal}" for refusal in refused), sep="\n", file=sys.stderr)
        return 1
    try:
        push = release(ROOT, version)
    except UnsignedError:
        print(
            "error: git tag left the tag without a signature, and nothing has changed. "
            "Can the key be read? git config user.signingkey",
            file=sys.stderr,
        )
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: git {error.cmd[3]} failed, and nothing has changed. {error.stderr.strip()}", file=sys.stderr)
        return 1
    print(f"Tagged v{version}, and named it in {NAMES}. To publish both:\n\n  {push}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
