"""Vendor: a server on the loopback that speaks chat completions, and fails in the way that the model asks for."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

VENDOR_TEXT = "vendor text that no caller may see"
FAILURES: dict[str, tuple[int, dict[str, str]]] = {
    "unauthorised": (401, {}),
    "unknown": (404, {}),
    "refused": (400, {}),
    "limited": (429, {"Retry-After": "7"}),
    "unpaid": (402, {}),
    "overdrawn": (429, {}),
    "unavailable": (503, {}),
    "failing": (500, {}),
}
SLOW_S = 1.5


@dataclass(slots=True)
class Vendor:
    """What the server was asked, in order: path, authorization and body."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@contextmanager
def vendor() -> Iterator[Vendor]:
    """Run the server for a block."""
    state = Vendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append((self.path, self.headers["Authorization"], body))
            model = body["model"]
            status, headers = FAILURES.get(model, (200, {}))
            if model == "slow":
                time.sleep(SLOW_S)
            fault = {"message": VENDOR_TEXT, "code": "insufficient_quota" if model == "overdrawn" else "other"}
            answer = json.dumps(completion(body) if status == 200 else {"error": fault})
            content = VENDOR_TEXT.encode() if model == "garbled" else answer.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

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


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that says the question backwards."""
    text = body["messages"][0]["content"][::-1]
    return {
        "model": f"{body['model']}-2026",
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def instance(name: str, url: str, model: str, key: str) -> dict[str, str]:
    """Return the variables of one configured provider."""
    values = {"KIND": "openai_compatible", "BASE_URL": url, "MODEL": model, "API_KEY": key}
    return {f"MY_SERVICE_PROVIDERS__{name.upper()}__{field}": value for field, value in values.items()}
