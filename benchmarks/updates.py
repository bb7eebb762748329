"""Updates: measures what an update costs, beside Copier's own in the same run.

Usage: `uv run python benchmarks/updates.py [--json FILE] [--rounds N]`. CPU seconds of each command and its children,
the median of several runs; `nothing` is an update that finds no newer release.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))

from spending import cpu_of
from tools import ROOT, environment

_GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org")
_COPIER = (sys.executable, "-m", "copier")
_HOOKS = (sys.executable, str(ROOT / "hooks"))
_BUDGET_S = 5.0


def main() -> None:
    """Print every figure with its budget, if it has one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = _measure(Path(folder), arguments.rounds)
    for name, figure in figures.items():
        print(f"{name:<24} {figure:>8.2f}" + (f"   budget {_BUDGET_S}" if name == "nothing_s" else ""))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, rounds: int) -> dict[str, float]:
    old, newest = _projects(folder)
    commands: dict[str, Callable[[], float]] = {
        "version_s": lambda: _run(folder, *_COPIER, "--version"),
        "nothing_s": lambda: _run(newest, *_HOOKS, "update"),
        "copier_s": lambda: _in_copy(old, *_COPIER, "update", "--defaults", "--quiet"),
        "update_s": lambda: _in_copy(old, *_HOOKS, "update", "--no-check"),
        "status_s": lambda: _run(old, *_HOOKS, "status"),
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            spent[name].append(command())
    figures = {name: statistics.median(times) for name, times in spent.items()}
    return figures | {
        "nothing_over_version": figures["nothing_s"] / figures["version_s"],
        "update_over_copier": figures["update_s"] / figures["copier_s"],
    }


def _projects(folder: Path) -> tuple[Path, Path]:
    """Return a project that a release exists for, and one of that release; both have edits of their owner."""
    template = folder / "template"
    _run(folder, "git", "clone", "--quiet", "--no-tags", str(ROOT), str(template))
    _run(template, "git", "tag", "v0.1.0")
    with (template / "template" / "ruff.toml").open("a", encoding="utf-8") as stream:
        stream.write("# The next release says more.\n")
    _run(template, *_GIT, "commit", "--quiet", "--all", "--message=Next")
    _run(template, "git", "tag", "v0.2.0")
    made = []
    for version in ("v0.1.0", "v0.2.0"):
        project = folder / version
        _run(folder, *_COPIER, "copy", "--defaults", "--quiet", f"--vcs-ref={version}", str(template), str(project))
        (project / "README.md").write_text("Ours.\n", encoding="utf-8")
        _run(project, "git", "init", "--quiet")
        _run(project, "git", "add", "--all")
        _run(project, *_GIT, "commit", "--quiet", "--message=Ours")
        made.append(project)
    return made[0], made[1]


def _in_copy(project: Path, *command: str) -> float:
    with _copied(project) as copy:
        return _run(copy, *command)


@contextmanager
def _copied(project: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(project, copy)
        yield copy


def _run(folder: Path, *command: str) -> float:
    return cpu_of(*command, cwd=folder, env={**environment(), "GIT_CONFIG_GLOBAL": os.devnull})


if __name__ == "__main__":
    main()
