"""Served: processes that answer HTTP, with what they spend on it; works on Linux."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import environment

_START_TIMEOUT_S = 60
_TIMEOUT_S = 600
_CONTROL = Path(__file__).resolve().parent / "resources_control.py"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """Return the body as JSON."""
        loaded: dict[str, Any] = json.loads(self.body)
        return loaded


class Served:
    """One process and one connection to it, over which requests are made one after another."""

    def __init__(self, pid: int, port: int) -> None:
        """Connect when the first request is made."""
        self.pid = pid
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        # The CPU clock of another process. Source: clock_getcpuclockid(3), as glibc makes its ids.
        self._clock = (~pid << 3) | 2

    def ask(self, method: str, path: str, document: object = None, expected: int = 200) -> Answer:
        """Make a request and return the answer, which must have the expected status."""
        body = None if document is None else json.dumps(document).encode()
        self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = self._connection.getresponse()
        answer = Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
        if answer.status != expected:
            sys.exit(f"{method} {path} answered {answer.status}: {answer.body[:500]!r}")
        return answer

    def download(self, path: str, on_piece: Callable[[], object], piece_bytes: int = 1 << 20) -> tuple[int, int]:
        """Return how many bytes and how many ends of lines an answer has; call `on_piece` between its pieces."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        if response.status != http.client.OK:
            sys.exit(f"GET {path} answered {response.status}: {response.read(500)!r}")
        size = lines = 0
        while piece := response.read(piece_bytes):
            size, lines = size + len(piece), lines + piece.count(b"\n")
            on_piece()
        return size, lines

    def cpu_s(self) -> float:
        """Return the CPU time that the process has used, all its threads included."""
        return time.clock_gettime(self._clock)

    def resident_mb(self) -> float:
        """Return the memory that the process occupies now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0


@contextmanager
def service(project: Path, url: str, folder: Path) -> Iterator[Served]:
    """Run the service of an installed project on a migrated database for a block."""
    variables = environment() | {"MY_SERVICE_DATABASE__URL": url}
    command = [str(project / ".venv" / "bin" / "my-service"), "serve", "--port", "{port}"]
    with _running(command, variables, folder / "service.log") as served:
        yield served


@contextmanager
def control(project: Path, url: str, folder: Path) -> Iterator[Served]:
    """Run the control with the interpreter and the libraries of a project for a block."""
    command = [str(project / ".venv" / "bin" / "python"), str(_CONTROL), "serve", url, "{port}"]
    with _running(command, environment(), folder / "control.log") as served:
        yield served


def migrate(project: Path, url: str, folder: Path) -> None:
    """Make the tables."""
    variables = environment() | {"MY_SERVICE_DATABASE__URL": url}
    _run([str(project / ".venv" / "bin" / "my-service"), "migrate"], variables, folder)


def fill(project: Path, url: str, count: int, folder: Path) -> None:
    """Add so many recordings to a migrated database."""
    command = [str(project / ".venv" / "bin" / "python"), str(_CONTROL), "fill", url, str(count)]
    _run(command, environment(), folder)


def _run(command: list[str], variables: dict[str, str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")


@contextmanager
def _running(command: list[str], variables: dict[str, str], log_file: Path) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    with log_file.open("wb") as log:
        arguments = [part.replace("{port}", str(port)) for part in command]
        process = subprocess.Popen(arguments, cwd=log_file.parent, env=variables, stdout=log, stderr=log)
    try:
        _wait_until_ready(process, port, log_file)
        yield Served(process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log_file: Path) -> None:
    limit = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < limit and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    sys.exit(f"a server did not start:\n{log_file.read_text(encoding='utf-8')}")
