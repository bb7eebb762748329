"""Receiver: a server on the loopback that takes announcements, or refuses them in the way that a test plans."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of tests only, and published with the standard
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105 - as above
HANG = 0
"""Planned in place of a status: no answer comes before the block ends."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request; `at` is when it came, in seconds since 1970."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """Return what tells deliveries of the same announcement."""
        return self.headers["webhook-id"]

    def event(self, secret: str = SECRET) -> Any:
        """Return what is announced, once the signature has been checked by a library for receivers."""
        return Webhook(secret).verify(self.body, dict(self.headers))


@dataclass(slots=True)
class Receiver:
    """What was heard, in order, and what is answered about an id, in order; 204 for whatever was not planned."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    plan: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)

    def refuses(self, about: str, *statuses: int, **headers: str) -> None:
        """Plan the next answers about an id."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.plan.setdefault(about, []).extend((status, sent) for status in statuses)

    def about(self, about: str) -> list[Heard]:
        """Return what was heard about an id."""
        return [one for one in self.heard if json.loads(one.body)["data"]["id"] == about]

    def wait(self, about: str, times: int, within_s: float = 30) -> list[Heard]:
        """Return what was heard about an id once it was heard so often."""
        limit = time.monotonic() + within_s
        while len(found := self.about(about)) < times and time.monotonic() < limit:
            time.sleep(0.02)
        return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run the server for a block."""
    state, over = Receiver(), Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.heard.append(Heard(self.path, headers, body, time.time()))
            planned = state.plan.get(json.loads(body)["data"]["id"])
            status, more = planned.pop(0) if planned else (204, {})
            if status == HANG:
                over.wait(60)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**more, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield state
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
