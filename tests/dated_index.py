"""A package index on loopback that says when each version of its one package was uploaded."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self


class DatedIndex:
    """A server of the package `tiny` in versions of such an age, from entering the context to leaving it."""

    def __init__(self, folder: Path, ages: Mapping[str, timedelta]) -> None:
        """Write the versions into a folder, and open a port."""
        pages = folder / "simple" / "tiny"
        pages.mkdir(parents=True)
        files = []
        for version, age in ages.items():
            wheel = pages / f"tiny-{version}-py3-none-any.whl"
            _write(wheel, version)
            uploaded = (datetime.now(UTC) - age).isoformat().replace("+00:00", "Z")
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            files.append(
                {"filename": wheel.name, "url": wheel.name, "hashes": {"sha256": digest}, "upload-time": uploaded}
            )
        page = {"meta": {"api-version": "1.1"}, "name": "tiny", "files": files, "versions": list(ages)}
        (pages / "index.json").write_text(json.dumps(page), encoding="utf-8")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Dated, directory=str(folder)))
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


def _write(wheel: Path, version: str) -> None:
    told = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(f"{told}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(f"{told}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        names = ["tiny.py", f"{told}/METADATA", f"{told}/WHEEL", f"{told}/RECORD"]
        archive.writestr(f"{told}/RECORD", "".join(f"{name},,\n" for name in names))


class _Dated(SimpleHTTPRequestHandler):
    extensions_map = {".json": "application/vnd.pypi.simple.v1+json", "": "application/octet-stream"}  # noqa: RUF012 - as the base class

    def do_GET(self) -> None:
        if self.path.endswith("/tiny/"):
            self.path += "index.json"
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives it
        """Say nothing."""
