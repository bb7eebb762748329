"""Jobs: what the capability costs a service that has nothing to do, beside one that has only a database.

Usage: `uv run python benchmarks/jobs.py [--json FILE] [--quick]`. Needs a package index, unless two installed projects
are given. Both are measured in turn in one run; a figure is the median of several starts.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from postgresql_server import PostgresqlServer, fresh_database
from rendering import FULLEST, WITH_DATABASE, clean_environment, copy, copy_template, install
from serving import command

_URL = "MY_SERVICE_DATABASE__URL"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_START_TIMEOUT_S = 60
_BUDGETS = {"ready_cpu_s": 0.7, "memory_mb": 35.0, "idle_cpu_percent": 2.0}


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to look: starts of each, seconds before idling counts, seconds of idling."""

    starts: int
    settle_s: float
    idle_s: float


def main() -> None:
    """Print every figure with its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="few starts and seconds: that it runs, not how well")
    parser.add_argument("--projects", type=Path, nargs=2, help="installed projects: with a database, with jobs too")
    arguments = parser.parse_args()
    # The engine looks for schedules every second of its first minute.
    effort = Effort(1, 0, 2) if arguments.quick else Effort(7, 65, 30)
    with tempfile.TemporaryDirectory() as folder, PostgresqlServer() as server:
        projects = arguments.projects or _projects(Path(folder))
        figures: dict[str, float] = {}
        for engine in ("sqlite", "postgresql"):
            with _database(engine, Path(folder), server) as url:
                figures |= _measure(engine, url, projects, Path(folder), effort)
    for name, figure in figures.items():
        budget = next((f"   budget {limit}" for end, limit in _BUDGETS.items() if name.endswith(f"more_{end}")), "")
        print(f"{name:<44} {figure:>8.3f}{budget}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _projects(folder: Path) -> list[Path]:
    copy_template(folder / "template")
    projects = []
    for name, answers in (("database", WITH_DATABASE), ("jobs", FULLEST)):
        copy(folder / "template", folder / name, answers)
        install(folder / name)
        projects.append(folder / name)
    return projects


@contextmanager
def _database(engine: str, folder: Path, server: PostgresqlServer) -> Iterator[str]:
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'data.db'}"
    else:
        with fresh_database(server.url()) as url:
            yield url


def _measure(engine: str, url: str, projects: list[Path], folder: Path, effort: Effort) -> dict[str, float]:
    plain, full = projects
    done = command(full, folder, "migrate", env={_URL: url})
    if done.returncode != 0:
        sys.exit(done.stderr)
    costs: dict[Path, list[tuple[float, float]]] = {plain: [], full: []}
    for _ in range(effort.starts):
        for project, found in costs.items():
            with _running(project, folder, url, "serve") as pid:
                found.append((_cpu_s(pid), _memory_mb(pid)))
    (cpu, memory), (more_cpu, more_memory) = (
        (statistics.median(one) for one in zip(*found, strict=True)) for found in costs.values()
    )
    figures = {
        f"{engine}_serve_ready_cpu_s": more_cpu,
        f"{engine}_serve_more_ready_cpu_s": more_cpu - cpu,
        f"{engine}_serve_memory_mb": more_memory,
        f"{engine}_serve_more_memory_mb": more_memory - memory,
        f"{engine}_serve_more_idle_cpu_percent": _idle(full, folder, url, "serve", effort)
        - _idle(plain, folder, url, "serve", effort),
    }
    if engine == "postgresql":
        figures["postgresql_worker_more_idle_cpu_percent"] = _idle(full, folder, url, "worker", effort)
    return figures


def _idle(project: Path, folder: Path, url: str, word: str, effort: Effort) -> float:
    with _running(project, folder, url, word) as pid:
        time.sleep(effort.settle_s)
        before, begun = _cpu_s(pid), time.monotonic()
        time.sleep(effort.idle_s)
        return 100 * (_cpu_s(pid) - before) / (time.monotonic() - begun)


@contextmanager
def _running(project: Path, folder: Path, url: str, word: str) -> Iterator[int]:
    options, said = (["--port", "0"], "server_started") if word == "serve" else ([], "jobs_started")
    log = folder / "process.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(project / ".venv" / "bin" / "my-service"), word, *options],
            cwd=folder,
            env=clean_environment({_URL: url}),
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        limit = time.monotonic() + _START_TIMEOUT_S
        while said not in log.read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > limit:
                sys.exit(log.read_text(encoding="utf-8"))
            time.sleep(0.02)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


if __name__ == "__main__":
    main()
