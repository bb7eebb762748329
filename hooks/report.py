"""Report: what an update did, or would do, in the words of the one who has to review it."""

import difflib
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from merge import Outcome
from ownership import Owner, owned
from project import Project
from upgrades import Release


@dataclass(slots=True)
class Report:
    """An update from one release to another.

    Attributes:
        before: The release that the project comes from.
        after: The release that it comes to.
        passed: The releases in between, the last one included, oldest first.
        outcome: What the merge did.
        answers: The lines in which the answers differ, with their signs.
        settings: What became of settings that the project uses: one sentence each.
        bring_back: The command that brings a taken file back; a path follows.
    """

    before: str
    after: str
    passed: list[Release]
    outcome: Outcome
    answers: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    bring_back: str = ""

    def document(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "before": self.before,
            "after": self.after,
            "releases": [release.version for release in self.passed],
            **asdict(self.outcome),
            "answers": self.answers,
            "settings": self.settings,
            "before_you_deploy": self.to_do(),
        }

    def to_do(self) -> list[str]:
        """Return what has to be done or known before the service is deployed again."""
        told = [f"{release.version}: {text}" for release in self.passed for text in release.before_you_deploy]
        return [*self.settings, *told]

    def lines(self) -> list[str]:
        """Return the report for people."""
        outcome = self.outcome
        counts = (("added", outcome.added), ("changed", outcome.changed), ("deleted", outcome.deleted))
        lines = [", ".join(f"{len(paths)} files {word}" for word, paths in counts)]
        lines += _listed("Answers that came (+) or went (-); just update --data gives others:", self.answers)
        lines += _listed("Moved, with your edits:", [f"{old} -> {new}" for old, new in outcome.moved])
        lines += _listed("You deleted them, the template changed them; they stay deleted:", outcome.left)
        lines += _listed(
            "You edited them, the template has them no longer; this brings one back:",
            [f"{self.bring_back}{quote(path)}" for path in outcome.taken],
        )
        lines += _listed("Yours alone, in folders that the template has left; move or delete them:", outcome.orphaned)
        lines += _listed(
            "Generated, with changes of both sides; the new text is there, this brings yours back:",
            [f"{self.bring_back}{quote(path)}" for path in outcome.renewed],
        )
        marked = [path for path in outcome.conflicts if path not in outcome.unmarked]
        lines += _listed("CONFLICTS, marked in the files (both of you changed the same place):", marked)
        lines += _listed(
            "CONFLICTS without marks; yours is there, this takes the template's:",
            [f"git checkout --theirs -- {quote(path)}" for path in outcome.unmarked],
        )
        lines += _listed("Before you deploy:", self.to_do())
        return lines


def answers_changed(before: bytes, after: bytes) -> list[str]:
    """Return the lines in which two answers files differ, the release apart, each with its sign."""
    old, new = ([line for line in text.decode().splitlines() if line[:1] not in "_#"] for text in (before, after))
    signs = (line for line in difflib.ndiff(old, new) if line[:1] in "+-")
    return [f"{line[0]} {line[2:]}" for line in signs]


def settings_in_use(project: Project, passed: list[Release], prefix: str) -> list[str]:
    """Return a sentence for each setting that went or has a new name, and that the owner's files still use."""
    found = []
    for release in passed:
        for old, new in release.settings.items():
            name = f"{prefix}{old}"
            found_in = {*_tracked(project, name), *_local(project.path, name)}
            where = sorted(found_in.difference(owned(found_in, Owner.MANAGED, Owner.GENERATED)))
            if where:
                done = f"is {prefix}{new} now" if new else "is gone"
                found.append(f"{release.version}: {name} {done}; it is used in {', '.join(where)}")
    return found


def _tracked(project: Project, name: str) -> list[str]:
    # git ends with 1 when it finds nothing
    if project.tries("grep", "--quiet", "--word-regexp", name, "--", ".") is not None:
        return []
    return project.git("grep", "--name-only", "--word-regexp", name, "--", ".").splitlines()


def _local(folder: Path, name: str) -> list[str]:
    word = re.compile(rf"\b{re.escape(name)}\b")
    files = (path for path in folder.glob(".env*") if path.is_file())
    return [path.name for path in files if word.search(path.read_text(encoding="utf-8", errors="replace"))]


def _listed(title: str, items: list[str]) -> list[str]:
    return ["", title, *(f"  {item}" for item in items)] if items else []
