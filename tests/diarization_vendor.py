"""A vendor of diarization on the loopback, whose jobs end when a test says so."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

PREFIX = "MY_SERVICE_PROVIDERS__OUTSIDE__"


@dataclass(slots=True)
class DiarizationVendor:
    """What the server was asked, and whether its jobs have ended."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    ended: Event = field(default_factory=Event)

    def environment(self) -> dict[str, str]:
        """Return the variables of a provider that calls it, and is the one of diarization."""
        values = {"KIND": "pyannote", "BASE_URL": self.url, "API_KEY": "secret"}
        named = {f"{PREFIX}{name}": value for name, value in values.items()}
        return {**named, "MY_SERVICE_DIARIZATION__PROVIDER": "outside"}

    def submitted(self) -> int:
        """Return how many jobs were submitted."""
        return self.asked.count("POST /v1/diarize")

    def answer(self, asked: str) -> dict[str, object]:
        """Return what is answered to a request."""
        self.asked.append(asked)
        if asked == "POST /v1/media/input":
            return {"url": f"{self.url}/upload"}
        if asked == "POST /v1/diarize":
            return {"jobId": f"job-{self.submitted()}", "status": "created"}
        if asked.startswith("GET /v1/jobs/") and self.ended.is_set():
            turns = [{"start": 0.0, "end": 1.0, "speaker": "SPEAKER_00"}]
            return {"jobId": asked.rpartition("/")[2], "status": "succeeded", "output": {"diarization": turns}}
        return {"jobId": asked.rpartition("/")[2], "status": "running"}


@contextmanager
def diarization_vendor() -> Iterator[DiarizationVendor]:
    """Run the server for a block."""
    state = DiarizationVendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = json.dumps(state.answer(f"{self.command} {self.path}")).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names that the server looks for

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
