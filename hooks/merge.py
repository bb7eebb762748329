"""Merge: an update as an ordinary three-way merge of git, on top of what is committed.

The common ancestor is the project as the old release renders it, theirs is the new render, ours is HEAD. Files that the
template moved are moved in ours and in the ancestor first, so that the owner's edits follow them. Nothing is committed.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from errors import RefusedError
from ownership import Owner, owned
from project import ANSWERS, Project, Tree
from upgrades import moved_path

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
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    moved: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)


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
    _refuse_untracked(project, new)
    try:
        return _merge(project, dict(base), dict(new), moves, message)
    except BaseException:
        project.git("reset", "--quiet", "--hard")
        raise


def _merge(project: Project, base: Tree, new: Tree, moves: list[tuple[str, str]], message: str) -> Outcome:
    outcome, ours = Outcome(), project.tree("HEAD")
    for old, to in moves:
        ours = _move(project, ours, base, (old, to), outcome)
        base = {moved_path(path, old, to) or path: entry for path, entry in base.items()}
    base[ANSWERS] = ours[ANSWERS]
    abandoned = _folders(base) - _folders(new)
    outcome.orphaned = sorted(path for path in ours.keys() - base.keys() - new.keys() if _folder(path) in abandoned)
    for path in sorted(base.keys() - ours.keys()):
        if path in new and new[path] != base[path]:
            outcome.left.append(path)
        base.pop(path)
        new.pop(path, None)
    outcome.taken = sorted(path for path in base.keys() - new.keys() if ours[path] != base[path])
    for path in outcome.taken:
        project.git("rm", "--quiet", "--force", "--", path)
        base.pop(path)
    outcome.added = sorted(new.keys() - base.keys() - ours.keys())
    outcome.deleted = sorted(base.keys() - new.keys())
    outcome.conflicts = _picked(project, base, new, message)
    both = (base.keys() & new.keys()) - {*outcome.conflicts, ANSWERS}
    outcome.changed = sorted(path for path in both if base[path] != new[path])
    return outcome


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _folders(tree: Tree) -> set[str]:
    return set(map(_folder, tree))


def _picked(project: Project, base: Tree, new: Tree, message: str) -> list[str]:
    """Apply what changed between two trees as git picks a commit, and return the files with conflicts."""
    ancestor = project.commit_of(base, "The template before")
    theirs = project.commit_of(new, message, ancestor)
    off = ("merge.directoryRenames", "merge.renames", "rerere.enabled")
    settings = [word for setting in off for word in ("-c", f"{setting}=false")]
    with tempfile.TemporaryDirectory(prefix="attributes-") as folder:
        attributes = Path(folder) / "attributes"
        attributes.write_text(_BOTH_SIDES, encoding="utf-8")
        settings += ["-c", f"core.attributesFile={attributes}"]
        said = project.tries(*settings, "cherry-pick", "--no-commit", "--allow-empty", theirs)
    conflicts = project.unmerged()
    if said is not None and not conflicts:
        raise RefusedError(f"git could not merge the update, and nothing was changed: {said}")
    # the text of generated files is nobody's work: the new one holds until they are written again
    for path in (written := owned({*conflicts}, Owner.GENERATED)):
        project.git("checkout", "--quiet", "--theirs", "--", path)
        project.git("add", "--", path)
    return [path for path in conflicts if path not in written]


def _refuse_untracked(project: Project, new: Tree) -> None:
    unknown = new.keys() - project.tree("HEAD").keys()
    in_the_way = sorted(path for path in unknown if (project.path / path).exists())
    if in_the_way:
        raise RefusedError(
            f"The template brings {', '.join(in_the_way)}, where a file lies that git does not know: move it away first"
        )


def _move(project: Project, ours: Tree, base: Tree, move: tuple[str, str], outcome: Outcome) -> Tree:
    """Move files of the owner as the template moved its own; those in the way of others stay."""
    moved = {path: target for path in ours if (target := moved_path(path, *move)) and target not in ours}
    for path, target in moved.items():
        (project.path / target).parent.mkdir(parents=True, exist_ok=True)
        project.git("mv", "--", path, target)
        if ours[path] != base.get(path):
            outcome.moved.append((path, target))
    return {moved.get(path, path): entry for path, entry in ours.items()}
