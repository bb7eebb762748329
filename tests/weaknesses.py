"""A database of weaknesses on loopback, with the interface of osv.dev."""

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

EVERYWHERE = {"jinja2==2.4.1": "PYSEC-2014-8"}
"""What every database knows."""


class Weaknesses:
    """A server that knows these weaknesses from entering the context to leaving it."""

    def __init__(self, known: Mapping[str, str]) -> None:
        """Open a port; a weakness is of every version of a package, or of one, as in `jinja2==2.4.1`."""
        weaknesses, self.asked = dict(known), list[str]()
        asked = self.asked

        class _Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
                names = [f"{query['package']['name']}=={query['version']}" for query in queries]
                asked.extend(names)
                found = [weaknesses.get(name, weaknesses.get(name.partition("==")[0])) for name in names]
                results = [{"vulns": [{"id": id_, "modified": "2026-01-01T00:00:00Z"}]} if id_ else {} for id_ in found]
                self._answer({"results": results})

            def do_GET(self) -> None:
                id_ = self.path.rpartition("/")[2]
                name = next(name for name, known in weaknesses.items() if known == id_)
                events = [{"introduced": "0"}, {"fixed": "99"}]
                affected = {"package": {"name": name, "ecosystem": "PyPI"}}
                affected["ranges"] = [{"type": "ECOSYSTEM", "events": events}]  # type: ignore[assignment]
                self._answer(
                    {"id": id_, "modified": "2026-01-01T00:00:00Z", "summary": "Lets in", "affected": [affected]}
                )

            def _answer(self, document: Mapping[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Serve."""
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
