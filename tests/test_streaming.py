"""Streams through the running service: whoever reads slowly slows the provider down, whoever leaves ends its work."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from rendering import ONLY_GENAI, Workshop
from serving import JSON, Service, running
from vendor import instance

pytestmark = pytest.mark.gate

PIECE_CHARS = 8_000
PIECES = 1_800
"""14 MB, a little less than what one answer may have."""

MAX_AHEAD_BYTES = 9_000_000
MAX_GROWTH_MB = 20
SMALL_BUFFER_BYTES = 8_192
GRACE_S = 10
QUIET_S = 0.5


@dataclass(slots=True)
class StreamVendor:
    """A vendor that streams as fast as it is read; `sent` counts bytes, `gone` says that its reader left."""

    url: str = ""
    sent: int = 0
    gone: bool = False


@contextmanager
def streaming() -> Iterator[StreamVendor]:
    """Run the vendor for a block, for one request."""
    vendor, listener = StreamVendor(), socket.create_server(("127.0.0.1", 0))
    vendor.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    piece = json.dumps({"choices": [{"delta": {"content": "x" * PIECE_CHARS}}]})

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
            asked = b""
            while not asked.endswith(b"}"):  # a body that is left unread would become a reset
                asked += connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            for _ in range(PIECES):
                connection.sendall(f"data: {piece}\n\n".encode())
                vendor.sent += len(piece)
            connection.sendall(b"data: [DONE]\n\n")
            return
        vendor.gone = True

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        listener.close()
        thread.join(GRACE_S)


@contextmanager
def asking(service: Service) -> Iterator[socket.socket]:
    """Ask for a stream on a connection that takes little at a time, and read its first bytes."""
    body = b'{"prompt": "hello"}'
    head = f"POST /v1/generations/stream HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in JSON.items())
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        client.settimeout(GRACE_S)
        client.connect((service.host, service.port))
        client.sendall(f"{head}\r\n".encode() + body)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        yield client


@contextmanager
def serving(workshop: Workshop, folder: Path, vendor: StreamVendor) -> Iterator[Service]:
    """Run the service with the vendor selected."""
    settings = {**instance("fast", vendor.url, "model", "key"), "MY_SERVICE_GENAI__PROVIDER": "fast"}
    with running(workshop.install(ONLY_GENAI), folder, settings) as service:
        yield service


def settled(figure: Callable[[], int]) -> int:
    """Return a figure once it has not changed for a while."""
    limit, last, since = time.monotonic() + GRACE_S, figure(), time.monotonic()
    while time.monotonic() < limit and time.monotonic() - since < QUIET_S:
        time.sleep(0.02)
        if figure() != last:
            last, since = figure(), time.monotonic()
    return last


def test_a_slow_reader_slows_the_provider_down(workshop: Workshop, tmp_path: Path) -> None:
    """While nobody reads, the provider waits and memory stays flat; then the rest comes, to the envelope."""
    with streaming() as vendor, serving(workshop, tmp_path, vendor) as service:
        before = service.memory_mb("VmHWM")
        with asking(service) as client:
            ahead = settled(lambda: vendor.sent)
            assert 0 < ahead < MAX_AHEAD_BYTES < PIECES * PIECE_CHARS
            assert service.memory_mb("VmHWM") - before <= MAX_GROWTH_MB
            tail = b""
            while read := client.recv(1 << 20):
                tail = (tail + read)[-100_000:]
                if b"0\r\n\r\n" in tail[-7:]:
                    break
        assert PIECES * PIECE_CHARS <= vendor.sent
        assert b'"finish_reason"' in tail


def test_whoever_leaves_a_stream_ends_the_call(workshop: Workshop, tmp_path: Path) -> None:
    """The provider's connection is closed, and the call is counted as cancelled."""
    with streaming() as vendor, serving(workshop, tmp_path, vendor) as service:
        with asking(service):
            settled(lambda: vendor.sent)
        limit = time.monotonic() + GRACE_S
        while not vendor.gone and time.monotonic() < limit:
            time.sleep(0.02)
        assert vendor.gone
        metrics = service.call("GET", "/metrics").body.decode()
        assert 'adapter_calls_total{operation="stream",outcome="cancelled",provider="fast"} 1.0' in metrics
