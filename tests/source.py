"""Source: a server with TLS on the loopback, where recordings lie, and whatever a test plans instead of them."""

import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

NAME = "source.example"
_NAMES = f"subjectAltName=DNS:{NAME},IP:127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - other addresses of the loopback are asked too


@dataclass(frozen=True, slots=True)
class Planned:
    """An answer; with `repeated` it does not end before the test does, with a `length` its connection ends early."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    repeated: bytes | None = None
    pause_s: float = 0
    length: int | None = None


@dataclass(slots=True)
class Source:
    """What was asked for, in order, and what is answered by path; 404 for whatever was not planned."""

    port: int
    certificate: Path
    plan: dict[str, Planned] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = NAME) -> str:
        """Return the URL of a path."""
        return f"https://{host}:{self.port}{path}"

    def redirects(self, path: str, location: str, status: int = 302) -> None:
        """Plan a redirect."""
        self.plan[path] = Planned(status, {"Location": location})

    @property
    def paths(self) -> list[str]:
        """Return the paths that were asked for."""
        return [path for path, _ in self.asked]


@contextmanager
def serving(folder: Path) -> Iterator[Source]:
    """Run the server for a block; whoever trusts its certificate may call it `source.example` and 127.0.0.1."""
    key, certificate = folder / "source.key", folder / "source.pem"
    made = ("-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", _NAMES, "-keyout", str(key))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *made, "-out", str(certificate)], check=True, capture_output=True
    )
    over = Event()
    with _Server((_EVERYWHERE, 0), _Handler) as server:
        server.source, server.over = Source(server.server_port, certificate), over
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.source
        finally:
            over.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    source: Source
    over: Event
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: callers that hang up, or trust nobody, are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        source = self.server.source
        source.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        planned = source.plan.get(self.path, Planned(404))
        self.send_response(planned.status)
        for name, value in planned.headers.items():
            self.send_header(name, value)
        if planned.repeated is not None:
            self.send_header("Connection", "close")
        elif "Transfer-Encoding" not in planned.headers:
            self.send_header("Content-Length", str(len(planned.content) if planned.length is None else planned.length))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(planned.content)
            while planned.repeated is not None and not self.server.over.wait(planned.pause_s):
                self.wfile.write(planned.repeated)
        if planned.length is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class names it
        """Say nothing."""
