"""Renders: the template as a release writes it for the answers of a project, in a folder of its own."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from errors import RefusedError
from project import ANSWERS, surroundings

CURRENT = ":current:"
"""Copier's word for the release that the answers file names."""


def render(answers: bytes, target: Path, *options: str, cwd: Path) -> None:
    """Render into an empty folder with these answers, without asking anything and without trust.

    Args:
        answers: The content of an answers file; it says where the template is.
        target: The folder; it is made.
        options: Further options of `copier recopy`.
        cwd: From where a relative path of the template counts.

    Raises:
        RefusedError: Copier cannot; the text is its last word.
    """
    target.mkdir(parents=True)
    (target / ANSWERS).write_bytes(answers)
    _copier("recopy", "--quiet", "--defaults", "--overwrite", *options, str(target), cwd=cwd)


def newer(project: Path) -> str | None:
    """Return the newest release of the project's template when the project is behind it."""
    told = json.loads(_copier("check-update", "--output-format=json", ".", cwd=project))
    return str(told["latest_version"]) if told["update_available"] else None


def commit_of(answers: bytes) -> str:
    """Return the release, or the commit as `git describe` names it, that an answers file was written by.

    Raises:
        RefusedError: It names none.
    """
    found = re.search(rb"^_commit:\s*['\"]?([^\s'\"]+)", answers, re.MULTILINE)
    if found is None:
        raise RefusedError(f"{ANSWERS} names no `_commit`: put it there as Copier wrote it")
    return found[1].decode(errors="replace")


def version_of(commit: str) -> tuple[int, ...]:
    """Return the release that a commit is, or comes after, as numbers; empty when it cannot be told."""
    found = re.match(r"v?(\d+(?:\.\d+)+)", commit)
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def _copier(*words: str, cwd: Path) -> str:
    if importlib.util.find_spec("copier") is not None:
        command = [sys.executable, "-m", "copier"]
    elif found := shutil.which("copier"):
        command = [found]
    else:
        raise RefusedError("copier is not installed: run `uv sync` first")
    done = subprocess.run(
        [*command, *words], cwd=cwd, env=surroundings(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RefusedError(f"copier {words[0]}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout.decode(errors="replace")
