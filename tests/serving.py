"""Serving: a rendered service as a real process, and a client that says exactly what a test wants it to say."""

import http.client
import json
import re
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rendering import clean_environment

START_TIMEOUT_S = 60
JSON = {"Content-Type": "application/json"}
BOUNDARY = uuid.uuid4().hex
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


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

    @property
    def code(self) -> str:
        """Return the code of a problem document, or what came instead."""
        is_problem = self.headers.get("content-type") == "application/problem+json"
        return str(self.document["code"]) if is_problem else self.body[:200].decode(errors="replace")


class Service:
    """One running service; its log is what it wrote to stderr."""

    def __init__(self, project: Path, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it in a folder of its own on any free port, and wait until it says that it is ready."""
        self.log_file = folder / "service.log"
        self.folder = folder
        command = [str(project / ".venv" / "bin" / "my-service"), "serve", "--port", "0"]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=clean_environment(environment), stderr=log, stdout=subprocess.PIPE
            )
        self.url = self._started()
        parts = urlsplit(self.url)
        self.host, self.port = parts.hostname or "", parts.port or 0

    def _started(self) -> str:
        limit = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < limit and self.process.poll() is None:
            for line in self.log():
                if line["event"] == "server_started":
                    return str(line["url"])
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(self.log_file.read_text(encoding="utf-8"))

    def log(self) -> list[dict[str, Any]]:
        """Return every complete line of the log; each of them is JSON."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, path: str, document: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a document as JSON."""
        return self.call("POST", path, json.dumps(document).encode(), {**JSON, **(headers or {})})

    def upload(self, content: bytes, fields: Mapping[str, str] | None = None) -> Answer:
        """Send a recording."""
        return self.call("POST", "/v1/diarizations", multipart(content, fields), MULTIPART)

    def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are and return everything that comes back until the connection ends."""
        with socket.create_connection((self.host, self.port), timeout=30) as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: _received(connection), b""))

    def finished(self, id_: str) -> dict[str, Any]:
        """Return the envelope of long work once it has ended."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            document = self.call("GET", f"/v1/diarizations/{id_}").document
            if document["status"] in ("succeeded", "failed"):
                return document
            time.sleep(0.05)
        raise AssertionError(f"{id_} did not end")

    def memory_mb(self, which: str) -> float:
        """Return `VmRSS` (now) or `VmHWM` (most so far) of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{which}:\s+(\d+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def stop(self, sig: signal.Signals = signal.SIGTERM, within_s: float = 60) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(sig)
        return self.process.wait(within_s)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


@contextmanager
def running(project: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Run a service for a block; whatever happens, it is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    service = Service(project, folder, environment or {})
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()
        if service.process.stdout is not None:
            service.process.stdout.close()


def multipart(content: bytes, fields: Mapping[str, str] | None = None, name: str = "file") -> bytes:
    """Return a form with a file and other fields."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in (fields or {}).items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\n'.encode()
    return b"".join([*parts, head, content, f"\r\n--{BOUNDARY}--\r\n".encode()])


def command(
    project: Path, folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of the service in a folder."""
    return subprocess.run(
        [str(project / ".venv" / "bin" / "my-service"), *words],
        cwd=folder,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def spoken(seconds: float, rate_hz: int = 8000) -> bytes:
    """Return a WAV file with one second of tone and one of silence in turn, 8 bit and mono."""
    wave = bytes(128 + (60 * (1 if (i // 20) % 2 else -1)) for i in range(rate_hz))
    silence = bytes([128]) * rate_hz
    data = (wave + silence) * max(1, round(seconds / 2))
    return wav_header(len(data), rate_hz) + data


def wav_header(data_bytes: int, rate_hz: int = 8000, channels: int = 1, bits: int = 8) -> bytes:
    """Return the header of a WAV file that claims so many bytes of audio."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame, frame, bits)
    head = struct.pack("<4sI4s4sI", b"RIFF", min(36 + data_bytes, 2**32 - 1), b"WAVE", b"fmt ", len(form))
    return head + form + struct.pack("<4sI", b"data", data_bytes)
