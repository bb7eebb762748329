"""A package index on loopback, which gives its one package to those who know the password."""

import base64
import hashlib
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

USER = "reader"
PASSWORD = "let-me-in"  # noqa: S105 - of an index that lives as long as a test
_WHEEL = "tiny-1.0-py3-none-any.whl"
_CONTENTS = {
    "tiny.py": "",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/RECORD": "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\n"
    "tiny-1.0.dist-info/RECORD,,\n",
}


class PackageIndex:
    """A server of the pages and the wheel of the package `tiny`, from entering the context to leaving it."""

    def __init__(self, folder: Path) -> None:
        """Write the package into a folder, and open a port."""
        pages = folder / "simple" / "tiny"
        pages.mkdir(parents=True)
        with zipfile.ZipFile(pages / _WHEEL, "w") as wheel:
            for name, text in _CONTENTS.items():
                wheel.writestr(name, text)
        digest = hashlib.sha256((pages / _WHEEL).read_bytes()).hexdigest()
        (pages / "index.html").write_text(f'<a href="{_WHEEL}#sha256={digest}">{_WHEEL}</a>\n', encoding="utf-8")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Guarded, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"

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


class _Guarded(SimpleHTTPRequestHandler):
    def send_head(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the type is private to the standard library
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {known}":
            return super().send_head()
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
        """Say nothing."""
