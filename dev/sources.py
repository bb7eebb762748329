"""Sources: the files of the template by who owns what they render, on disk and in earlier commits."""

import subprocess
import sys
from pathlib import Path

from tools import ROOT

sys.path.append(str(ROOT / "hooks"))

from ownership import Owner, owners, ownership

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


def on_disk(root: Path) -> Sources:
    """Return what git knows of the template, or would add, as it lies on disk; no history is needed."""
    listed = git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "template", "hooks")
    paths = sorted({path for path in listed.split("\0") if path and (root / path).is_file()})
    digests = git(root, "hash-object", "--stdin-paths", typed="".join(f"{path}\n" for path in paths)).split()
    return dict(zip(paths, digests, strict=True))


def in_commit(root: Path, commit: str) -> Sources:
    """Return what a commit holds.

    Raises:
        subprocess.CalledProcessError: The history does not reach back to it.
    """
    listed = git(root, "ls-tree", "-r", "-z", commit, "--", "template", "hooks").split("\0")
    entries = (entry.split("\t", 1) for entry in listed if entry)
    return {path: meta.split()[2] for meta, path in entries}


def managed(sources: Sources) -> Sources:
    """Return those that updates change in every service, the upper parts of merged files included."""
    return _owned(sources, Owner.MANAGED, Owner.MERGED)


def seeded(sources: Sources) -> Sources:
    """Return those that belong to who keeps a service, from the first day on."""
    return _owned(sources, Owner.SEEDED)


def _owned(sources: Sources, *by: Owner) -> Sources:
    of = ownership()
    found = ((path, _rendered(path, sources)) for path in sources)
    return {path: sources[path] for path, rendered in found if {*by}.intersection(owners(rendered, of))}


def _rendered(path: str, sources: Sources) -> str:
    """Return the path that a file has in a project; the update tool is rendered by one-line includes."""
    top, _, rest = path.partition("/")
    if top == "hooks":
        return f".template/{rest}" if f"template/.template/{rest}.jinja" in sources else ""
    for variable, place in _PLACES.items():
        rest = rest.replace(variable, place)
    return rest.removesuffix(".jinja")
