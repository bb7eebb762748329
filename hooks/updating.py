"""Updating: renders the old and the new release, merges what changed between them, locks, and runs the gate."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from errors import RefusedError
from merge import merge
from project import ABANDON, ANSWERS, Project, Tree
from renders import CURRENT, commit_of, newer, render, version_of
from report import Report, answers_changed, settings_in_use
from upgrades import moves_between, package_of, releases

_PROGRAM = Path(__file__).resolve().parent


def update(folder: Path, options: list[str], *, checked: bool) -> int:
    """Update a project, and return 0 when it is green, 1 when something is left to do.

    Args:
        folder: The project.
        options: Options of Copier that say what to come to: `--vcs-ref`, `--data`; the newest release without any.
        checked: Whether to lock, install and run the gate afterwards.

    Raises:
        RefusedError: Nothing was changed.
    """
    project = Project.at(folder)
    answers = project.answers()
    project.refuse_dirty()
    if not options and newer(folder) is None:
        print(f"Nothing to do: {commit_of(answers)} is the newest release.")
        return 0
    with tempfile.TemporaryDirectory(prefix="update-") as scratch:
        base, new = rendered(project, Path(scratch), options)
        # what happens from here on is known by the release that the project comes to
        carried = new / ".template"
        program = carried if (carried / "__main__.py").exists() else _PROGRAM
        words = ["merge", f"--base={base}", f"--new={new}", *(() if checked else ("--no-check",))]
        return subprocess.run([sys.executable, str(program), *words], cwd=folder, check=False).returncode


def rendered(project: Project, scratch: Path, options: list[str]) -> tuple[Path, Path]:
    """Return two folders: the project as its own release renders it, and as the release does that it shall come to.

    Raises:
        RefusedError: Copier cannot render one of them, or the release is older than the project's own.
    """
    answers = project.answers()
    base, new = scratch / "base", scratch / "new"
    stays = options and not any(option.startswith("--vcs-ref") for option in options)
    render(answers, base, f"--vcs-ref={CURRENT}", cwd=project.path)
    render(answers, new, *((f"--vcs-ref={CURRENT}",) if stays else ()), *options, cwd=project.path)
    before, after = commit_of(answers), commit_of((new / ANSWERS).read_bytes())
    if version_of(after) < version_of(before):
        raise RefusedError(f"{after} is older than {before}, from which this project comes: there is no way back")
    return base, new


def merged(project: Project, base: Tree, new_folder: Path) -> Report:
    """Merge what changed between two renders into a project, and return what that did."""
    new = project.store(new_folder)
    answers = [project.text(tree[ANSWERS]) for tree in (base, new)]
    before, after = map(commit_of, answers)
    told, package = releases(new_folder / ".template"), package_of(new)
    head = project.git("rev-parse", "--short", "HEAD").strip()
    outcome = merge(project, base, new, moves_between(told, base, package), f"Update the template to {after}")
    passed = [release for release in told if version_of(release.version) > version_of(before)]
    settings = settings_in_use(project, passed, f"{package.upper()}_")
    return Report(
        before, after, passed, outcome, answers_changed(*answers), settings, f"git restore --source={head} -- "
    )


def finish(folder: Path, base: Path, new: Path, *, checked: bool) -> int:
    """Merge two renders into a project, tell what that did, lock and run the gate; return the exit code."""
    project = Project.at(folder)
    project.refuse_dirty()
    report = merged(project, project.store(base), new)
    print(f"Updated from {report.before} to {report.after}; nothing is committed yet.", *report.lines(), sep="\n")
    print(f"\nTo abandon the update: {ABANDON}", flush=True)
    if report.outcome.conflicts:
        print("Resolve the conflicts, then: uv sync && uv run just pages check && git add -A && git commit")
        return 1
    return _gate(folder) if checked else 0


def _gate(folder: Path) -> int:
    uv = shutil.which("uv")
    if uv is None:
        print("uv is not on the path; then: uv sync && uv run just pages check")
        return 1
    for words in (["sync", "--quiet"], ["run", "just", "pages", "check"]):
        print(f"\n$ uv {' '.join(words)}", flush=True)
        if subprocess.run([uv, *words], cwd=folder, check=False).returncode != 0:
            print(f"\nThe update is in place, and `uv {' '.join(words)}` fails: repair that, then commit.")
            return 1
    print("\nGreen. Read the changes (git diff --staged), then: git add -A && git commit")
    return 0
