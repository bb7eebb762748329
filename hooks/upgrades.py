"""Upgrades: what each release did beside changing texts, read from the file beside this module."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from project import Tree

FILE = "upgrades.toml"


@dataclass(frozen=True, slots=True)
class Release:
    """What a release asks of a living project.

    Attributes:
        version: Without a leading `v`.
        moves: New path by old path; both end in a slash when a whole folder moved.
        answers: What a project that was made before gets for each new or renamed question, in words.
        settings: What became of settings: the new name by the old one, or None when it has gone.
        before_you_deploy: What an operator has to do or to know, one sentence each.
    """

    version: str
    moves: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str | None] = field(default_factory=dict)
    before_you_deploy: tuple[str, ...] = ()


def releases(folder: Path) -> list[Release]:
    """Return the releases that a folder's file tells of, oldest first; none without the file."""
    path = folder / FILE
    told = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [_release(entry) for entry in told.get("release", [])]


def _release(entry: dict[str, Any]) -> Release:
    return Release(
        version=entry["version"],
        moves=entry.get("moves", {}),
        answers=entry.get("answers", {}),
        settings={old: new or None for old, new in entry.get("settings", {}).items()},
        before_you_deploy=tuple(entry.get("before_you_deploy", ())),
    )


def package_of(tree: Tree) -> str:
    """Return the name of the package that a render holds."""
    found = [path.split("/")[1] for path in tree if path.startswith("src/") and path.endswith("/chassis/__init__.py")]
    return found[0] if found else ""


def moves_between(told: list[Release], base: Tree, package: str) -> list[tuple[str, str]]:
    """Return the moves that happened after `base` was released, in their order.

    The files of the release itself tell which: what lies at the old path and not at the new one has not moved yet.
    """
    paths, found = set(base), list[tuple[str, str]]()
    for release in told:
        for pattern_old, pattern_new in release.moves.items():
            old, new = (text.replace("{package}", package) for text in (pattern_old, pattern_new))
            moved = {path: renamed for path in paths if (renamed := moved_path(path, old, new)) is not None}
            if moved and not paths.intersection(moved.values()):
                found.append((old, new))
                paths = {moved.get(path, path) for path in paths}
    return found


def moved_path(path: str, old: str, new: str) -> str | None:
    """Return where a move brings a path; None when it does not concern it."""
    if old.endswith("/"):
        return new + path.removeprefix(old) if path.startswith(old) else None
    return new if path == old else None
