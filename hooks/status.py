"""Status: how far a project is from its template, and what an update would do; the project is not touched."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownership import Owner, owned
from project import Project, Tree
from renders import CURRENT, commit_of, newer, render
from report import Report
from updating import merged, rendered


@dataclass(slots=True)
class Status:
    """What is known about a project.

    Attributes:
        release: The release that it comes from.
        newest: The newest release, when the project is behind it.
        edited: Managed files that are not as the release renders them: path and `changed` or `deleted`.
        report: What an update would do; None when there is nothing newer.
        preview: The changes of the update as text, when they were asked for.
    """

    release: str
    newest: str | None = None
    edited: dict[str, str] = field(default_factory=dict)
    report: Report | None = None
    preview: str = ""

    @property
    def behind(self) -> int:
        """How many releases lie between; at least one when there is a newer one."""
        return max(1, len(self.report.passed) if self.report else 0) if self.newest else 0

    def document(self) -> dict[str, Any]:
        """Return the status for programs; what is not known is absent."""
        told = {"release": self.release, "newest": self.newest, "behind": self.behind, "edited": self.edited}
        told |= {"update": self.report.document() if self.report else None}
        return {name: value for name, value in told.items() if value is not None}

    def lines(self) -> list[str]:
        """Return the status for people."""
        state = f"{self.behind} behind {self.newest}" if self.newest else "the newest"
        lines = [f"Release {self.release}, {state}."]
        if self.edited:
            lines += ["", "Your edits of managed files:", *(f"  {how} {path}" for path, how in self.edited.items())]
        else:
            lines.append("Managed files are as the template wrote them.")
        if self.report:
            lines += ["", f"An update to {self.report.after} would leave:", *self.report.lines()]
        return [*lines, *(["", self.preview] if self.preview else [])]


def status(folder: Path, options: list[str], *, diff: bool = False) -> Status:
    """Return the status of what is committed in a project.

    Args:
        folder: The project.
        options: Options of Copier that say what an update would come to, as for an update.
        diff: Whether to include the changes of the update as text.

    Raises:
        RefusedError: The folder is no project, or the template cannot be rendered.
    """
    project = Project.at(folder)
    answers = project.answers()
    found = Status(commit_of(answers), newer(folder))
    with tempfile.TemporaryDirectory(prefix="status-") as scratch:
        copy = _copied(project, Path(scratch) / "project")
        if found.newest or options:
            base_folder, new_folder = rendered(project, Path(scratch), options)
        else:
            base_folder, new_folder = Path(scratch) / "base", None
            render(answers, base_folder, f"--vcs-ref={CURRENT}", cwd=folder)
        base = copy.store(base_folder)
        found.edited = _edited(base, copy.tree("HEAD"))
        if new_folder is not None:
            found.report = merged(copy, base, new_folder)
            found.preview = copy.git("diff", "HEAD", "--", ".") if diff else ""
    return found


def _edited(base: Tree, ours: Tree) -> dict[str, str]:
    changed = {path: "changed" if path in ours else "deleted" for path in base if ours.get(path) != base[path]}
    return {path: changed[path] for path in owned({*changed}, Owner.MANAGED)}


def _copied(project: Project, target: Path) -> Project:
    """Return a copy of what is committed, which borrows the objects of the project."""
    top = project.git("rev-parse", "--show-toplevel").removesuffix("\n")
    project.git("clone", "--quiet", "--shared", "--no-tags", top, str(target))
    return Project(target / project.prefix, project.prefix)
