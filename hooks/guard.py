"""Guard: refuses a commit that would bury what an update left behind."""

import tempfile
from pathlib import Path

from errors import RefusedError
from merge import is_marked
from project import ABANDON, ANSWERS, SUBMODULE, Entry, Project, Tree
from renders import CURRENT, render
from upgrades import moved_path, moves_between, package_of, releases

_PROGRAM = Path(__file__).resolve().parent


def guard(folder: Path, before: str = "HEAD") -> list[str]:
    """Return what must not be committed, one sentence each; nothing when all is well.

    Args:
        folder: The project.
        before: HEAD looks at what is staged; another branch at what is committed since HEAD left it.

    Raises:
        RefusedError: It cannot be told, because the template cannot be rendered.
    """
    if not (folder / ANSWERS).is_file():
        return []
    project = Project.at(folder, hooked=True)
    if not project.has_commits():
        return []
    after = ":" if before == "HEAD" else "HEAD"
    before = before if before == "HEAD" else project.git("merge-base", before, "HEAD").strip()
    ours, theirs = project.tree(before), project.tree(after)
    changed = sorted(path for path, entry in theirs.items() if ours.get(path) != entry)
    found = [f"{path} is in conflict: resolve it" for path in project.unmerged()]
    found += [f"{path} holds the marks of a conflict: resolve it" for path in changed if _marked(project, theirs[path])]
    found += [
        f"{path} is a part of an update that could not be applied: work it in, then delete it"
        for path in _rejected(project, changed)
    ]
    return found + _dropped(project, ours, theirs)


def _marked(project: Project, entry: Entry) -> bool:
    return entry[0] != SUBMODULE and is_marked(project.text(entry))


def _rejected(project: Project, changed: list[str]) -> list[str]:
    untracked = project.lines("ls-files", "--others", "--exclude-standard", "-z", "--", ".")
    return sorted(path for path in {*changed, *untracked} if path.endswith(".rej"))


def _dropped(project: Project, ours: Tree, theirs: Tree) -> list[str]:
    """Return the files that the template moved, and whose edits did not come along."""
    if ours.get(ANSWERS) == theirs.get(ANSWERS) or ANSWERS not in ours or ANSWERS not in theirs:
        return []
    told = releases(_PROGRAM)
    moved = {
        path: target
        for old, new in moves_between(told, ours, package_of(ours))
        for path in ours.keys() - theirs.keys()
        if (target := moved_path(path, old, new)) is not None
    }
    if not moved:
        return []
    with tempfile.TemporaryDirectory(prefix="guard-") as scratch:
        base, new = (
            _rendered(project, tree[ANSWERS], Path(scratch) / name) for name, tree in (("base", ours), ("new", theirs))
        )
    return [
        f"{path} had edits of yours, the template moved it to {target}, and they are not there. "
        f"Let `just update` carry them: {ABANDON}, then uv run just update"
        for path, target in sorted(moved.items())
        if path in base and base[path] != ours[path] and target in new and theirs.get(target) in (None, new[target])
    ]


def _rendered(project: Project, answers: Entry, folder: Path) -> Tree:
    try:
        render(project.text(answers), folder, f"--vcs-ref={CURRENT}", cwd=project.path)
    except RefusedError as error:
        raise RefusedError(f"This commit is an update, and the template is needed to check it. {error}") from error
    return project.store(folder)
