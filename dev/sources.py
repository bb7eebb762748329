"""Sources: the files of the template by who owns what they render, on disk and in earlier commits."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tools import ROOT

sys.path.append(str(ROOT / "hooks"))

from ownership import Owner, owned
from project import listed

NAMES = "dev/releases.toml"
"""The file that names every release."""

type Sources = dict[str, str]
"""The digest of each file by its path; git's own, so that commits and disk compare."""

_PLACES = {
    "{{package_name}}": "package",
    "{{_copier_conf.answers_file}}": ".copier-answers.yml",
}
"""What stands for the parts of paths that answers decide; patterns of owners have a `*` there."""


def git(root: Path, *words: str, typed: str | None = None) -> str:
    """Return what a git command printed.

    Raises:
        subprocess.CalledProcessError: It failed; `stderr` says why.
    """
    command = ["git", "-c", "core.quotePath=false", *words]
    return subprocess.run(command, cwd=root, input=typed, capture_output=True, text=True, check=True).stdout


def named(root: Path) -> dict[str, str]:
    """Return the commit of each release by its version, oldest first."""
    entries = tomllib.loads((root / NAMES).read_text(encoding="utf-8"))["release"]
    return {entry["version"]: entry["commit"] for entry in entries}


def on_disk(root: Path) -> Sources:
    """Return what git knows of the template, or would add, as it lies on disk; no history is needed."""
    known = git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "template", "hooks")
    paths = sorted({path for path in known.split("\0") if path and (root / path).is_file()})
    digests = git(root, "hash-object", "--stdin-paths", typed="".join(f"{path}\n" for path in paths)).split()
    return dict(zip(paths, digests, strict=True))


def in_commit(root: Path, commit: str) -> Sources:
    """Return what a commit holds.

    Raises:
        subprocess.CalledProcessError: The history does not reach back to it.
    """
    found = listed(git(root, "ls-tree", "-r", "-z", commit, "--", "template", "hooks"))
    return {path: blob for path, (_, blob) in found.items()}


def managed(sources: Sources) -> Sources:
    """Return those that updates change in every service, the upper parts of merged files included."""
    return _owned(sources, Owner.MANAGED, Owner.MERGED)


def seeded(sources: Sources) -> Sources:
    """Return those that belong to who keeps a service, from the first day on."""
    return _owned(sources, Owner.SEEDED)


def _owned(sources: Sources, *by: Owner) -> Sources:
    rendered = {path: _rendered(path, sources) for path in sources}
    found = set(owned(rendered.values(), *by))
    return {path: sources[path] for path, name in rendered.items() if name in found}


def _rendered(path: str, sources: Sources) -> str:
    """Return the path that a file has in a project; the update tool is rendered by one-line includes."""
    top, _, rest = path.partition("/")
    if top == "hooks":
        return f".template/{rest}" if f"template/.template/{rest}.jinja" in sources else ""
    for variable, place in _PLACES.items():
        rest = rest.replace(variable, place)
    return rest.removesuffix(".jinja")
