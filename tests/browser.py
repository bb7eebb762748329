"""A real browser without a window: opens a page, and says what it asked for, what went wrong and what can be read.

It is Chromium as npm has it, with its own libraries and fonts, unpacked once below `.tools`, and spoken to over pipes.
It resolves no name: nothing leaves the machine, and what is asked of others is recorded all the same.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from npm import installed
from rendering import clean_environment
from tools import ROOT

PACKAGE = ("@sparticuz/chromium", "153.0.0")
TIMEOUT_S = 60
_HOME = ROOT / ".tools" / f"chromium-{PACKAGE[1]}"
_PARTS = ("chromium", "al2023.tar", "fonts.tar", "swiftshader.tar")
_FONTS = f"<fontconfig><dir>{_HOME / 'fonts'}</dir><cachedir>{_HOME / 'cache'}</cachedir></fontconfig>"
"""Without any font, a browser shows no text."""
_UNPACK = """
const fs = require("fs"), zlib = require("zlib"), [from, to] = process.argv.slice(1);
fs.writeFileSync(to, zlib.brotliDecompressSync(fs.readFileSync(from)), {mode: 0o755});
"""
_OPTIONS = (
    *("--headless=shell", "--no-sandbox", "--no-zygote", "--single-process", "--in-process-gpu", "--disable-gpu"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run"),
    *("--disable-sync", "--no-pings", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
    "--remote-debugging-pipe",
)
_DOMAINS = ("Network", "Page", "Runtime", "Log")


@dataclass(slots=True)
class Visit:
    """What became of one page: the URLs that were asked for, errors of the console, the text that a person sees."""

    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    text: str = ""

    def note(self, event: str, told: Mapping[str, Any]) -> None:
        """Keep what an event of the browser says."""
        if event == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(one.get("value")) for one in told["args"]))
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]["text"]))


class Browser:
    """A running browser, spoken to over two pipes."""

    def __init__(self, commands: int, answers: int) -> None:
        """Speak over these descriptors."""
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._count = 0
        self._events: list[Mapping[str, Any]] = []

    def visit(self, url: str) -> Visit:
        """Open a page in a tab of its own, and wait until it asks for nothing more."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in _DOMAINS:
            self._ask(f"{domain}.enable", session)
        self._ask("Page.setLifecycleEventsEnabled", session, enabled=True)
        loaded = ("networkIdle", self._ask("Page.navigate", session, url=url)["loaderId"])
        while not any(
            (event["params"].get("name"), event["params"].get("loaderId")) == loaded for event in self._events
        ):
            self._events.append(self._next())
        read = {"expression": "document.body.innerText", "returnByValue": True}
        visit = Visit(text=self._ask("Runtime.evaluate", session, **read)["result"]["value"])
        for event in self._events:
            if event.get("sessionId") == session:
                visit.note(event["method"], event["params"])
        self._ask("Target.closeTarget", targetId=target)
        return visit

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        os.write(self._commands, json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (message := self._next()).get("id") != self._count:
            self._events.append(message)
        assert "error" not in message, message["error"]
        return message["result"]

    def _next(self) -> Mapping[str, Any]:
        """Return the next message, an answer or an event; waiting has an end."""
        over = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], over - time.monotonic())
            read = os.read(self._answers, 1 << 16) if ready else b""
            if not read:
                raise RuntimeError("the browser " + ("ended" if ready else f"said nothing for {TIMEOUT_S} seconds"))
            self._rest += read
        found, _, self._rest = self._rest.partition(b"\0")
        message: Mapping[str, Any] = json.loads(found)
        return message


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Run the browser for a block, with its files in a folder; a machine that cannot get it skips the test."""
    home = _unpacked()
    ours, theirs = os.pipe(), os.pipe()
    fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (ours[0], theirs[1])]  # 3 and 4 are where it looks for them
    environment = {
        "LD_LIBRARY_PATH": str(home / "lib"),
        "FONTCONFIG_FILE": str(home / "fonts.conf"),
        "HOME": str(folder),
    }
    wrapper = ["bash", "-c", 'exec "${@:3}" 3<&$1 4>&$2', "browser", *map(str, fds)]
    program = [str(home / "chromium"), *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    log = folder / "browser.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*wrapper, *program],
            stdout=written,
            stderr=written,
            pass_fds=fds,
            cwd=folder,
            env=clean_environment(environment),
        )
    for fd in (*fds, ours[0], theirs[1]):
        os.close(fd)
    try:
        yield Browser(ours[1], theirs[0])
    except (RuntimeError, BrokenPipeError) as error:
        raise RuntimeError(f"{error}:\n{log.read_text(errors='replace')}") from error
    finally:
        process.kill()
        process.wait()
        os.close(ours[1])
        os.close(theirs[0])


def _unpacked() -> Path:
    """Return the folder of the browser, which the first run on a machine fills."""
    try:
        modules = installed(*PACKAGE)
    except (AssertionError, RuntimeError) as error:
        pytest.skip(f"needs node, npm and a registry that has {PACKAGE[0]} {PACKAGE[1]}: {error}")
    with _HOME.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _HOME.exists():
            unfinished = _HOME.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for name in _PARTS:
                source, target = modules / PACKAGE[0] / "bin" / f"{name}.br", unfinished / name
                subprocess.run(["node", "-e", _UNPACK, str(source), str(target)], check=True, timeout=300)
                if target.suffix == ".tar":
                    with tarfile.open(target) as archive:
                        archive.extractall(unfinished, filter="data")
                    target.unlink()
            (unfinished / "fonts.conf").write_text(_FONTS, encoding="utf-8")
            unfinished.rename(_HOME)
    return _HOME
