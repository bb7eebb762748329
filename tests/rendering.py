"""Rendering: projects made from the template, shared by all tests of one run, and the commands that run in them."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier
from copier._template import load_template_config

from tools import ROOT, environment, uv

type Answers = Mapping[str, Any]

FIRST_TAG = "v0.1.0"
OBJECTS: Mapping[str, list[str]] = {
    "both": ["genai", "diarization"],
    "genai": ["genai"],
    "diarization": ["diarization"],
    "none": [],
}
LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary")
DEFAULT: Answers = {}
MINIMAL: Answers = {"objects": []}
FULLEST: Answers = {"capabilities": ["database", "jobs", "oidc"]}
DEPLOYED: Answers = {**FULLEST, "deploy": ["kubernetes"]}
WITH_DATABASE: Answers = {"capabilities": ["database"]}
ONLY_GENAI: Answers = {"objects": ["genai"], "license": "Apache-2.0"}
ONLY_DIARIZATION: Answers = {"objects": ["diarization"], "license": "Proprietary"}
SHORT_NAME: Answers = {"project_name": "Ab"}
LONG_NAME: Answers = {"project_name": "Transcript Summary Board"}
_FOREIGN = ("MY_SERVICE_", "COV_", "PYTEST_", "GIT_")
_MADE = {".venv", ".git", "uv.lock", "__pycache__", ".coverage", ".hypothesis"}
_TIMEOUT_S = 600
_GIT = ("-c", "user.name=Template Tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false")


@dataclass(frozen=True, slots=True)
class Workshop:
    """A folder of one test run, in which every worker finds what another one has rendered or installed already."""

    folder: Path

    def template(self) -> Path:
        """Return a clean, tagged copy of the template as it lies on disk, changes that are not committed included."""
        return self.once(self.folder / "template", copy_template)

    def render(self, answers: Answers | None = None, variant: str = "") -> Path:
        """Return a project with these answers; read it only, or ask for a variant that no other test uses."""
        given = dict(answers or {})
        key = hashlib.sha256(json.dumps([given, variant], sort_keys=True).encode()).hexdigest()[:12]
        template = self.template()
        return self.once(self.folder / key, lambda target: copy(template, target, given))

    def install(self, answers: Answers | None = None, variant: str = "", *, typed: bool = False) -> Path:
        """Return a project like `render`, installed with the first command that its owner runs.

        With `typed`, mypy knows the libraries already, and checks the modules of the project itself from nothing.
        """
        project = self.render(answers, variant)
        known = self.types() if typed else None
        with _locked(project):
            if not (project / "uv.lock").exists():
                install(project)
            if known is not None and not (project / ".mypy_cache").exists():
                shutil.copytree(known, project / ".mypy_cache")
        return project

    def types(self) -> Path:
        """Return a cache of mypy that knows the libraries of every project."""
        return self.once("types", self._learn_types)

    def _learn_types(self, target: Path) -> None:
        """Check a project with every library, and keep what mypy says of them.

        Nothing of the project stays: a cache of their own modules that projects share hides errors.
        """
        project = self.install(FULLEST)
        done = tool(project, "mypy", f"--cache-dir={target}")
        assert 0 == done.returncode, done.stdout
        own = {path.stem for folder in (project, project / "src") for path in folder.iterdir()}
        for shard in target.glob("*/cache*.db"):
            with closing(sqlite3.connect(shard)) as cache, cache:
                kept = [path for (path,) in cache.execute("SELECT path FROM files2")]
                gone = [(path,) for path in kept if re.split(r"[./]", path)[0] in own]
                cache.executemany("DELETE FROM files2 WHERE path = ?", gone)

    def once(self, target: Path | str, make: Callable[[Path], object]) -> Path:
        """Return a folder that the first one who asks for it makes; a name stands for a folder of the workshop."""
        target = self.folder / target
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if not target.exists():
                unfinished = target.with_suffix(".unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                make(unfinished)
                unfinished.rename(target)
        return target


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep the other workers of this run away from a folder."""
    with Path(f"{target}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_template(target: Path) -> None:
    """Copy the template as it lies on disk, and commit it under the first tag."""
    copy_files(target)
    git(target, "init", "--quiet", "--initial-branch=main")
    commit(target, "First release")
    git(target, "tag", FIRST_TAG)


def copy_files(target: Path) -> None:
    """Copy what git knows of the template, or would add; of what an organisation has its own way, the comments only."""
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    for name in filter(None, listed.split("\0")):
        source, copied = ROOT / name, target / name
        if source.is_file() and not source.is_symlink():
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copied)
    own = target / "organisation.yml"
    lines = own.read_text(encoding="utf-8").splitlines(keepends=True)
    own.write_text("".join(line for line in lines if line.startswith("#")), encoding="utf-8")


def questions(template: Path) -> dict[str, Any]:
    """Return what stands in `copier.yml` and in the file that it includes, as Copier reads both."""
    return load_template_config(template / "copier.yml")


def copy(template: Path, target: Path, answers: Answers | None = None) -> None:
    """Render the newest commit of a template; answers that are not given keep their defaults."""
    copier.run_copy(str(template), target, data=dict(answers or {}), defaults=True, quiet=True, vcs_ref="HEAD")


def install(project: Path, *options: str) -> None:
    """Install a project."""
    run(project, str(uv()), "sync", "--quiet", *options, check=True)


def run(
    project: Path, *command: str, env: Mapping[str, str] | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command in a project, without a terminal; with `check`, a failure shows what it printed."""
    done = subprocess.run(
        command,
        cwd=project,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if check:
        said = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert 0 == done.returncode, said
    return done


def tool(project: Path, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the tools that an installed project has, such as `ruff`."""
    name, *arguments = command
    return run(project, str(project / ".venv" / "bin" / name), *arguments, env=env)


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git with an identity of its own, whatever the machine has configured."""
    return run(folder, "git", *_GIT, *arguments, check=True)


def commit(folder: Path, message: str) -> None:
    """Commit everything that lies in a folder."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--allow-empty", f"--message={message}")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without anything that would configure a service or git."""
    kept = {name: value for name, value in environment().items() if not name.startswith(_FOREIGN)}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "NO_COLOR": "1", "TERM": "dumb"}
    return {**kept, **quiet, **(extra or {})}


def files(project: Path) -> dict[str, Path]:
    """Return the rendered files of a project by their relative path; what commands left behind is not among them."""
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if name not in _MADE and not name.endswith("_cache"))
        paths = [Path(folder) / name for name in sorted(names) if name not in _MADE]
        found |= {path.relative_to(project).as_posix(): path for path in paths if not path.is_symlink()}
    return found


def contents(project: Path) -> dict[str, bytes]:
    """Return the bytes of every rendered file."""
    return {name: path.read_bytes() for name, path in files(project).items()}
