"""Large uploads and the end: memory stays flat, limits hold while data arrives, nothing accepted is lost."""

import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rendering import DEFAULT, Workshop
from serving import BOUNDARY, MULTIPART, Service, multipart, running, spoken, wav_header
from vendor import instance, vendor

pytestmark = pytest.mark.gate

MB = 1024 * 1024
SMALL_BYTES = 20 * MB
LARGE_BYTES = 300 * MB
MAX_GROWTH_MB = 60
MAX_TAKEN_MB = 32


def large_form(size: int) -> Iterator[bytes]:
    """Yield a form with a WAV file of that size, which nobody holds as a whole."""
    head, tail = multipart(b"\0").split(b"\r\n\r\n\0")
    yield head + b"\r\n\r\n"
    yield wav_header(size, 48_000, channels=2, bits=24)
    for _ in range(size // MB):
        yield bytes(MB)
    yield tail


def test_memory_stays_flat_under_a_large_upload(workshop: Workshop, tmp_path: Path) -> None:
    """An upload of 300 MB needs hardly more memory than one of 20 MB, on its way to the disk and in the analysis."""
    with running(workshop.install(DEFAULT), tmp_path) as service:
        send_large(service, SMALL_BYTES)
        before = service.memory_mb("VmHWM")
        envelope = send_large(service, LARGE_BYTES)
        assert ("succeeded", []) == (envelope["status"], envelope["result"]["segments"])
        assert LARGE_BYTES / (48_000 * 6) == pytest.approx(envelope["result"]["duration_s"], abs=0.01)
        assert service.memory_mb("VmHWM") - before <= MAX_GROWTH_MB


def send_large(service: Service, size: int) -> dict[str, Any]:
    """Upload a silent recording of that size and return the envelope of its end."""
    headers = {**MULTIPART, "Content-Length": str(sum(len(piece) for piece in large_form(size)))}
    answer = service.call("POST", "/v1/diarizations", large_form(size), headers)
    assert 202 == answer.status, answer.body
    return service.finished(answer.document["id"])


def test_a_long_json_body_is_not_held(workshop: Workshop, tmp_path: Path) -> None:
    """JSON on the route of uploads is refused at a limit of its own: memory stays flat, and others are served."""
    with running(workshop.install(DEFAULT), tmp_path) as service:
        before = service.memory_mb("VmHWM")
        head = "POST /v1/diarizations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        with socket.create_connection((service.host, service.port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: {LARGE_BYTES}\r\n\r\n".encode())
            taken = 0
            while taken < LARGE_BYTES // MB and not select.select([connection], [], [], 0)[0]:
                try:
                    connection.sendall(b'"' * MB)
                except OSError:
                    break
                taken += 1
            received = answered(connection)
        assert taken <= MAX_TAKEN_MB
        assert b"HTTP/1.1 413" in received
        assert 200 == service.call("GET", "/livez").status
        assert service.memory_mb("VmHWM") - before <= MAX_GROWTH_MB


@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
def test_upload_over_the_limit_is_refused_while_it_arrives(
    workshop: Workshop,
    tmp_path: Path,
    announced: bool,  # noqa: FBT001 - a case
) -> None:
    """An upload over the limit is refused early, whether its size was announced or not."""
    environment = {"MY_SERVICE_DIARIZATION__MAX_UPLOAD_BYTES": str(MB), "TMPDIR": str(tmp_path)}
    with running(workshop.install(DEFAULT), tmp_path, environment) as service:
        taken, received = flood(service, announced=announced)
        assert taken <= MAX_TAKEN_MB
        assert b"HTTP/1.1 413" in received
        assert b'"code":"body_too_large"' in received
        assert 200 == service.call("GET", "/livez").status
        assert [] == [path for path in tmp_path.rglob("*") if path.is_file() and path != service.log_file]


def flood(service: Service, *, announced: bool) -> tuple[int, bytes]:
    """Send until something comes back; return the megabytes that the service took, and what it said."""
    size = f"Content-Length: {LARGE_BYTES}" if announced else "Transfer-Encoding: chunked"
    head = f"POST /v1/diarizations HTTP/1.1\r\nHost: a\r\n{size}\r\nContent-Type: {MULTIPART['Content-Type']}\r\n\r\n"
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    content = part + bytes(MB - len(part))
    piece = content if announced else f"{MB:x}\r\n".encode() + content + b"\r\n"
    taken = 0
    with socket.create_connection((service.host, service.port), timeout=30) as connection:
        connection.sendall(head.encode())
        while taken < LARGE_BYTES // MB and not select.select([connection], [], [], 0)[0]:
            try:
                connection.sendall(piece)
            except OSError:
                break
            taken += 1
        return taken, whole(connection)


def whole(connection: socket.socket) -> bytes:
    """Return an answer to its end."""
    received = piece = answered(connection)
    while piece and not received.endswith(b"}"):
        piece = answered(connection)
        received += piece
    return received


def answered(connection: socket.socket) -> bytes:
    """Return what has come, or nothing when the service has closed the connection."""
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_sigterm_loses_no_accepted_request(workshop: Workshop, tmp_path: Path) -> None:
    """Ten calls to a slow provider and ten half-sent uploads are all answered after SIGTERM; the exit code is 0."""
    form = multipart(spoken(4))
    with vendor() as outside, ThreadPoolExecutor(20) as pool:
        environment = instance("slow", outside.url, "slow", "key")
        with running(workshop.install(DEFAULT), tmp_path, environment) as service:
            body = {"prompt": "hello", "provider": "slow"}
            calls = [pool.submit(service.post, "/v1/generations", body) for _ in range(10)]
            uploads = [begin(service, form) for _ in range(10)]
            wait_for(lambda: len(outside.asked) == 10)
            service.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not accepts(service))
            for connection in uploads:
                connection.sendall(form[len(form) // 2 :])
            received = [connection.recv(65536) for connection in uploads]
            assert [200] * 10 == [call.result().status for call in calls]
            assert [b"HTTP/1.1 202 Accepted"] * 10 == [answer.partition(b"\r\n")[0] for answer in received]
            for connection in uploads:
                connection.close()
            assert 0 == service.process.wait(60)
            assert 1 == [line["event"] for line in service.log()].count("server_stopped")
            assert [] == [line for line in service.log() if line["level"] == "error"]


def test_the_end_of_the_patience_is_told(workshop: Workshop, tmp_path: Path) -> None:
    """An upload that stalls past the shutdown gets a problem, and the log a line; nothing looks like a failure."""
    environment = {"MY_SERVICE_HTTP__SHUTDOWN_S": "1", "TMPDIR": str(tmp_path)}
    with running(workshop.install(DEFAULT), tmp_path, environment) as service:
        connection = begin(service, multipart(spoken(4)))
        wait_for(lambda: len(list(tmp_path.iterdir())) > 1)
        service.process.send_signal(signal.SIGTERM)
        received = whole(connection)
        connection.close()
        assert 0 == service.process.wait(60)
        assert received.startswith(b"HTTP/1.1 503")
        assert b'"code":"overloaded"' in received
        events = [line["event"] for line in service.log()]
        assert (1, "server_stopped") == (events.count("request_abandoned"), events[-1])
        assert [] == [line for line in service.log() if "exception" in line]


@pytest.mark.parametrize(
    ("header", "environment", "expected"),
    [
        ("X-Request-Timeout: 1\r\n", {}, b"HTTP/1.1 504"),
        ("", {"MY_SERVICE_HTTP__BODY_IDLE_S": "1"}, b"HTTP/1.1 422"),
    ],
    ids=["deadline", "idle"],
)
def test_a_stalled_upload_is_answered_in_time(
    workshop: Workshop, tmp_path: Path, header: str, environment: dict[str, str], expected: bytes
) -> None:
    """Whether the caller set a deadline or not, an upload that does not arrive ends, and leaves nothing behind."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    with running(workshop.install(DEFAULT), tmp_path, {"TMPDIR": str(folder), **environment}) as service:
        begun = time.monotonic()
        with begin(service, multipart(spoken(4)), header) as connection:
            assert whole(connection).startswith(expected)
            assert 0.5 < time.monotonic() - begun < 5
            assert b"" == answered(connection), "the connection is closed"
        assert [] == [path for path in folder.rglob("*") if path.is_file()]
        assert [] == [line for line in service.log() if line["level"] == "error"]


def test_what_a_killed_service_left_is_removed(workshop: Workshop, tmp_path: Path) -> None:
    """A recording that SIGKILL left on the disk is gone after the next start; one of a service that lives stays."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    environment = {"TMPDIR": str(folder)}
    with running(workshop.install(DEFAULT), tmp_path / "killed", environment) as killed:
        assert 202 == killed.upload(spoken(3600)).status
        assert -signal.SIGKILL == killed.stop(signal.SIGKILL)
    (left,) = recordings(folder)
    with running(workshop.install(DEFAULT), tmp_path / "first", environment) as first:
        assert [] == recordings(folder), f"{left} was left behind"
        assert 202 == first.upload(spoken(3600)).status
        (upload,) = recordings(folder)
        with running(workshop.install(DEFAULT), tmp_path / "second", environment) as second:
            assert [upload] == recordings(folder)
            assert 0 == second.stop()
        assert [upload] == recordings(folder)
        assert 0 == first.stop()
        assert [] == [line for line in first.log() if line["level"] in ("warning", "error")]
    assert [] == list(folder.iterdir())


def recordings(folder: Path) -> list[Path]:
    """Return the files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def begin(service: Service, form: bytes, header: str = "") -> socket.socket:
    """Send the head and one half of a form."""
    connection = socket.create_connection((service.host, service.port), timeout=30)
    head = f"POST /v1/diarizations HTTP/1.1\r\nHost: a\r\n{header}Content-Length: {len(form)}\r\n"
    connection.sendall(f"{head}Content-Type: {MULTIPART['Content-Type']}\r\n\r\n".encode() + form[: len(form) // 2])
    return connection


def accepts(service: Service) -> bool:
    """Tell whether the service still takes new connections."""
    try:
        socket.create_connection((service.host, service.port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)
