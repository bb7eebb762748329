"""Merge: an update as an ordinary three-way merge of git, on top of what is committed.

The common ancestor is the project as the old release renders it, theirs is the new render, ours is HEAD. Files that the
template moved are moved in ours and in the ancestor first, so that the owner's edits follow them. Nothing is committed.
"""

import os
import tempfile
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from errors import RefusedError
from ownership import Owner, owned
from project import ANSWERS, Project, Tree
from upgrades import moved_path

_MARKS = [b"<<<<<<<", b"=======", b">>>>>>>"]
_BOTH_SIDES = ".gitignore merge=union\n.dockerignore merge=union\n"
"""Files whose lines are independent of each other: where both sides add some, all stay."""


@dataclass(slots=True)
class Outcome:
    """What a merge did; all lists are of paths, sorted.

    Attributes:
        added: New files.
        changed: Files with the template's changes in them, the owner's edits included.
        deleted: Files that the template has no longer, without edits of the owner.
        moved: Files with edits of the owner that were moved as the template moved them: old path and new path.
        conflicts: Files with places that template and owner both changed; the markers are in them.
        taken: Files with edits of the owner that the template has no longer.
        left: Files that the owner deleted and the template changed; they stay deleted.
        orphaned: Files of the owner alone in folders that the template has left.
        renewed: Generated files that both sides changed; they hold the new text.
        unmarked: Those of the conflicts that hold no marks, but the owner's text alone: binary files.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    moved: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)


def merge(project: Project, base: Tree, new: Tree, moves: list[tuple[str, str]], message: str) -> Outcome:
    """Merge what changed between two renders into the working tree and the index.

    Args:
        project: A project without changes that are not committed.
        base: The render of the old release.
        new: The render of the new one.
        moves: Old and new path of each file or folder that the template moved in between.
        message: The first line of the commit that the owner will make.

    Raises:
        RefusedError: A file that git does not know is in the way, or git cannot; nothing has changed then.
    """
    ours = project.tree("HEAD")
    _refuse_in_the_way(project.path, new.keys() - base.keys() - ours.keys(), ours)
    try:
        return _merge(project, ours, dict(base), dict(new), moves, message)
    except BaseException:
        project.git("reset", "--quiet", "--hard")
        for path in new.keys() - ours.keys():
            (project.path / path).unlink(missing_ok=True)
        raise


def _merge(project: Project, ours: Tree, base: Tree, new: Tree, moves: list[tuple[str, str]], message: str) -> Outcome:
    outcome, origin = Outcome(), dict[str, str]()
    for move in moves:
        moved = _move(project, ours, move)
        ours = {moved.get(path, path): entry for path, entry in ours.items()}
        origin |= {target: origin.pop(path, path) for path, target in moved.items()}
        base = {moved_path(path, *move) or path: entry for path, entry in base.items()}
    base[ANSWERS] = ours[ANSWERS]
    abandoned = _folders(base) - _folders(new)
    outcome.orphaned = sorted(path for path in ours.keys() - base.keys() - new.keys() if _folder(path) in abandoned)
    for path in sorted(base.keys() - ours.keys()):
        if path in new and new[path] != base[path]:
            outcome.left.append(path)
        base.pop(path)
        new.pop(path, None)
    for path in sorted(path for path in base.keys() - new.keys() if ours[path] != base[path]):
        project.git("rm", "--quiet", "--force", "--", path)
        outcome.taken.append(origin.pop(path, path))
        base.pop(path)
    outcome.moved = sorted((old, path) for path, old in origin.items() if ours[path] != base.get(path))
    outcome.added = sorted(new.keys() - base.keys() - ours.keys())
    outcome.deleted = sorted(base.keys() - new.keys())
    conflicts = _picked(project, base, new, message)
    # the text of generated files is nobody's work: the new one holds until they are written again
    outcome.renewed = owned(conflicts & base.keys(), Owner.GENERATED)
    for path in outcome.renewed:
        project.git("checkout", "--quiet", "--theirs", "--", path)
        project.git("add", "--", path)
    outcome.conflicts = sorted(conflicts.difference(outcome.renewed))
    outcome.unmarked = [path for path in outcome.conflicts if not is_marked((project.path / path).read_bytes())]
    both = (base.keys() & new.keys()) - {*conflicts, ANSWERS}
    outcome.changed = sorted(path for path in both if base[path] != new[path])
    return outcome


def is_marked(content: bytes) -> bool:
    """Return whether a file holds the marks of a conflict, in their order."""
    marks = [line[:7] for line in content.splitlines() if line[:7] in _MARKS and line[7:8] in (b"", b" ")]
    return any(marks[at : at + 3] == _MARKS for at in range(len(marks)))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _folders(tree: Tree) -> set[str]:
    return set(map(_folder, tree))


def _picked(project: Project, base: Tree, new: Tree, message: str) -> set[str]:
    """Apply what changed between two trees as git picks a commit, and return the files with conflicts."""
    ancestor = project.commit_of(base, "The template before")
    theirs = project.commit_of(new, message, ancestor)
    off = ("merge.directoryRenames", "merge.renames", "rerere.enabled")
    settings = [word for setting in off for word in ("-c", f"{setting}=false")]
    with tempfile.TemporaryDirectory(prefix="attributes-") as folder:
        attributes = Path(folder) / "attributes"
        attributes.write_text(_BOTH_SIDES, encoding="utf-8")
        settings += ["-c", "merge.conflictStyle=merge", "-c", f"core.attributesFile={attributes}"]
        said = project.tries(*settings, "cherry-pick", "--no-commit", "--allow-empty", theirs)
    conflicts = set(project.unmerged())
    if said is not None and not conflicts:
        raise RefusedError(f"git could not merge the update, and nothing was changed: {said}")
    return conflicts


def _refuse_in_the_way(folder: Path, coming: set[str], known: Tree) -> None:
    """Refuse files that git does not know where new ones come, or a folder of them."""
    for path in sorted(coming):
        for place in accumulate(path.split("/"), "{}/{}".format):
            found = folder / place
            leads = place != path and found.is_dir() and not found.is_symlink()
            if os.path.lexists(found) and not leads and place not in known:
                raise RefusedError(
                    f"{place} is not known to git and lies where the template brings files: move it away"
                )


def _move(project: Project, ours: Tree, move: tuple[str, str]) -> dict[str, str]:
    """Move files of the owner as the template moved its own; those in the way of others stay."""
    moved = {path: target for path in ours if (target := moved_path(path, *move)) and target not in ours}
    for path, target in moved.items():
        (project.path / target).parent.mkdir(parents=True, exist_ok=True)
        project.git("mv", "--", path, target)
    return moved
