"""Budgets: measures what a render costs to make, to start and to run, as ratios against a control in the same run.

Usage: `uv run python benchmarks/budgets.py [--json FILE] [--gate]`. Needs a package index for the one installation.
Times are CPU seconds of the measured process and its children; each is the median of several runs.
"""

import argparse
import http.client
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))

from code_lines import count_lines
from spending import cpu_of
from tools import ROOT, environment, uv

_CONTROL = """
import uvicorn
from fastapi import FastAPI

app = FastAPI(openapi_url=None)


@app.get("/livez")
async def livez() -> dict[str, str]:
    return {"status": "ok"}


uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=ACCESS, http="h11", ws="none")
"""
_REQUESTS = 3000
_TICK_S = 0.01


def main() -> None:
    """Print every figure with its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--gate", action="store_true", help="also time the gate of the rendered project, warm")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = _measure(Path(folder), gate=arguments.gate)
    for name, (figure, budget) in figures.items():
        print(f"{name:<32} {figure:>10.3f}   budget {budget}")
    if arguments.json:
        document = {name: figure for name, (figure, _) in figures.items()}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _measure(folder: Path, *, gate: bool) -> dict[str, tuple[float, float]]:
    project = folder / "my-service"
    figures = {"render_cpu_over_version_s": (_render(folder), 1.5)}
    files = [file for file in project.rglob("*") if file.is_file()]
    figures["files"] = (len(files), 307)
    for group, (lines, budget) in count_lines(project / "src" / "my_service").items():
        figures[f"lines_{group}"] = (lines, budget)
    subprocess.run([str(uv()), "sync", "--quiet"], cwd=project, env=environment(), check=True)
    python = project / ".venv" / "bin" / "python"
    service = [str(python), "-m", "my_service", "serve", "--port", "{port}"]
    bare = [str(python), "-c", _CONTROL.replace("PORT", "{port}").replace("ACCESS", "False")]
    logged = [str(python), "-c", _CONTROL.replace("PORT", "{port}").replace("ACCESS", "True")]
    # The control's dict has braces of its own: only the port is replaced.
    starts = [_served(command, project, _cpu_and_memory) for _ in range(11) for command in (bare, service)]
    bare_cpu = statistics.median(cpu for cpu, _ in starts[::2])
    own_cpu = statistics.median(cpu for cpu, _ in starts[1::2])
    figures["start_cpu_over_bare"] = (own_cpu / bare_cpu, 1.35)
    figures["idle_memory_mb"] = (statistics.median(memory for _, memory in starts[1::2]), 85)
    figures["request_cpu_over_bare"] = (_requests(service, "/info", project) / _requests(logged, "/livez", project), 2)
    if gate:
        figures["gate_s"] = (_gate(project), 60)
    return figures


def _render(folder: Path) -> float:
    copier = str(ROOT / ".venv" / "bin" / "copier")
    spent: dict[str, list[float]] = {"version": [], "copy": []}
    for number in range(3):
        target = folder / ("my-service" if number == 0 else f"again-{number}")
        command = [copier, "copy", "--defaults", "--quiet", "--vcs-ref=HEAD", str(ROOT), str(target)]
        spent["version"].append(cpu_of(copier, "--version", cwd=folder, env=environment()))
        spent["copy"].append(cpu_of(*command, cwd=folder, env=environment()))
    return statistics.median(spent["copy"]) - statistics.median(spent["version"])


def _served[T](command: list[str], folder: Path, measure: Callable[[int, int], T]) -> T:
    port = _free_port()
    arguments = [part.replace("{port}", str(port)) for part in command]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(arguments, cwd=folder, env=environment(), stdout=log, stderr=log)
        try:
            _wait_until_ready(port)
            return measure(server.pid, port)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(port: int) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        try:
            _get(http.client.HTTPConnection("127.0.0.1", port, timeout=5), "/livez")
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit("a server did not start")


def _get(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != http.client.OK:
        sys.exit(f"{path} answered {answer.status}")


def _cpu_and_memory(pid: int, port: int) -> tuple[float, float]:
    del port
    return _cpu(pid), _resident_mb(pid)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def _requests(command: list[str], path: str, folder: Path) -> float:
    def measure(pid: int, port: int) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for _ in range(200):
            _get(connection, path)
        before = _cpu(pid)
        for _ in range(_REQUESTS):
            _get(connection, path)
        return (_cpu(pid) - before) / _REQUESTS

    return statistics.median(_served(command, folder, measure) for _ in range(3))


def _gate(project: Path) -> float:
    def once() -> float:
        begun = time.monotonic()
        subprocess.run([str(uv()), "run", "just", "check"], cwd=project, env=environment(), check=True)
        return time.monotonic() - begun

    once()
    return once()


if __name__ == "__main__":
    main()
