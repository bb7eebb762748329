"""A vendor on loopback that speaks the documented protocol of pyannoteAI, and shares nothing with the adapter.

Source: https://docs.pyannote.ai/api-reference/upload-media, /diarize, /get-job and https://docs.pyannote.ai/webhooks.
"""

import hmac
import io
import json
import re
import threading
import time
import wave
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

API_KEY = "key-that-nobody-may-see"
SECRET = "secret-that-nobody-may-see"  # noqa: S105 - of the double
TURNS = [
    {"speaker": "SPEAKER_01", "start": 2, "end": 3.5},
    {"speaker": "SPEAKER_00", "start": 0.0, "end": 1.5},
    {"speaker": "SPEAKER_01", "start": 1.5, "end": 2.0},
]
_MEDIA = re.compile(r"media://[a-zA-Z0-9\-_./]+")
_JOB_ID = "fb16c565-f3f0-4402-a08c-9d44df0ccc7b"


@dataclass
class PyannoteVendor:
    """One account. Its jobs go through `states`, one per read, and stay at the last.

    The next `limited` reads come too soon: 429, and 40 s to wait.
    `answers` replaces what a method and path would be answered: status, headers, body. Answers come after their
    `delays`, in seconds; where they are `lost`, jobs are taken and the connection ends before the answer.
    """

    states: list[str] = field(default_factory=lambda: ["succeeded"])
    limited: int = 0
    output: Any = field(default_factory=lambda: {"diarization": TURNS})
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    lost: bool = False
    port: int = 0

    @property
    def origin(self) -> str:
        """Return scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """Return where the API begins."""
        return f"{self.origin}/v1"

    @property
    def lines(self) -> list[str]:
        """Return method and path of every request."""
        return [line for line, _, _ in self.requests]

    @property
    def submitted(self) -> list[dict[str, Any]]:
        """Return the bodies of submitted jobs."""
        return [json.loads(body) for line, _, body in self.requests if line == "POST /v1/diarize"]

    def answer(self, line: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer, and keep the request."""
        self.requests.append((line, {name.lower(): value for name, value in headers.items()}, body))
        if line.startswith("GET") and self.limited:
            self.limited -= 1
            return 429, {"Retry-After": "40"}, b"{}"
        if line in self.answers:
            return self.answers[line]
        status, document = self._answer(line, self.requests[-1][1].get("authorization"), body)
        return status, {"Content-Type": "application/json"}, json.dumps(document).encode()

    def _answer(self, line: str, authorization: str | None, body: bytes) -> tuple[int, object]:
        if line.startswith("PUT /storage/"):
            self.uploads[f"media://{line.removeprefix('PUT /storage/').partition('?')[0]}"] = body
            return (200 if authorization is None else 400), {}
        if authorization != f"Bearer {API_KEY}":
            return 401, {"message": "Unauthorized"}
        asked = json.loads(body) if body else {}
        if line == "POST /v1/media/input" and _MEDIA.fullmatch(asked["url"]):
            return 201, {"url": f"{self.origin}/storage/{asked['url'].removeprefix('media://')}?signature=x"}
        if line == "POST /v1/diarize" and asked["url"] in self.uploads:
            return 200, {"jobId": _JOB_ID, "status": "created"}
        if line == f"GET /v1/jobs/{_JOB_ID}":
            return 200, self.job()
        return 404, {"message": "Not found"}

    def job(self) -> dict[str, Any]:
        """Return the job in its next state."""
        status = self.states.pop(0) if self.states[1:] else self.states[0]
        return job(status, self.output)


def job(status: str, output: object = None, job_id: str = _JOB_ID) -> dict[str, Any]:
    """Return a job as the vendor tells of it; only one that succeeded has an output."""
    times = {"createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"}
    return {"jobId": job_id, "status": status, **times, **({"output": output} if status == "succeeded" else {})}


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET, hexadecimal: bool = False) -> dict[str, str]:
    """Return the headers of a signed request, as of now or of `at`."""
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.digest(secret.encode(), f"v0:{timestamp}:".encode() + body, "sha256")
    signature = digest.hex() if hexadecimal else b64encode(digest).decode()
    return {"x-request-timestamp": timestamp, "x-signature": signature}


def recording(seconds: float = 0.5, *, cut: int = 0, frames: int | None = None) -> bytes:
    """Return a WAV file without a sound; the last `cut` bytes are missing, or it claims another number of `frames`."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(int(seconds * 8000) * 2))
    content = buffer.getvalue()[: -cut or None]
    return content if frames is None else content[:40] + (2 * frames).to_bytes(4, "little") + content[44:]


def listed(*, riff: int | None = None, chunk: int = 26) -> bytes:
    """Return a second of a WAV file with a LIST chunk before its samples; it may claim other lengths than it has."""
    whole = recording(1)
    riff_bytes = len(whole) + 26 if riff is None else riff
    extra = b"LIST" + chunk.to_bytes(4, "little") + b"INFOISFT\x0e\0\0\0Lavf60.16.100\0"
    return whole[:4] + riff_bytes.to_bytes(4, "little") + whole[8:36] + extra + whole[36:]


@contextmanager
def serving(vendor: PyannoteVendor) -> Iterator[PyannoteVendor]:
    """Have the vendor answer on a free port, in threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            line = f"{self.command} {urlsplit(self.path).path}"
            status, headers, content = vendor.answer(line, dict(self.headers), body)
            time.sleep(vendor.delays.get(line, 0))
            if vendor.lost and line == "POST /v1/diarize":
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # of who did not wait
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - as the base class calls them

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vendor.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
