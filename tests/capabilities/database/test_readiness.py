"""Readiness: only a database that answers, and has the tables that the code expects, is ready."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from capabilities.database.chain_files import TWO, own_chain, use, write
from capabilities.database.serving import served
from object_service.capabilities.database import FEATURE
from object_service.capabilities.database.chains import all_chains
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.migrating import upgrade
from object_service.capabilities.database.readiness import Readiness
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.identity import ENV_PREFIX
from object_service.chassis.runtime import Runtime


async def test_a_service_is_ready_once_it_was_migrated(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before `migrate` the service is not ready, and its log says what to do; afterwards it needs no restart."""
    all_chains()  # imports that may take longer than a probe waits
    monkeypatch.setenv(f"{ENV_PREFIX}HTTP__READY_HOLD_S", "0")
    async with served(database_url, tables=False) as (client, container):
        answer = await client.get("/readyz")
        assert (503, {"database": {"status": "failed"}}) == (answer.status_code, answer.json()["checks"])
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "ping_failed" in line]
        assert "run `migrate`" in line
        await upgrade(container[Database])
        answer = await client.get("/readyz")
        assert (200, {"database": {"status": "ok"}}) == (answer.status_code, answer.json()["checks"])


async def test_a_version_that_is_missing_is_named(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several chains the one that is behind is named, with where it stands and where it should."""
    chain = own_chain(tmp_path / "versions", TWO)
    use(monkeypatch, chain)
    await upgrade(empty)
    write(chain.versions, "0003", "0002", "pass")
    with pytest.raises(StorageUnavailableError, match=r"behind: own \(0002 of 0003\); run `migrate`"):
        await Readiness(empty).ping()


async def test_a_ready_service_is_asked_for_a_sign_of_life_only(empty: Database) -> None:
    """Once the tables were as expected, they are not compared again."""
    await upgrade(empty)
    readiness = Readiness(empty)
    await readiness.ping()
    async with empty.writing() as connection:
        await connection.execute(text("DROP TABLE template_database_version"))
    await readiness.ping()
    with pytest.raises(StorageUnavailableError):
        await Readiness(empty).ping()


@pytest.mark.parametrize("serving", [False, True], ids=["command", "service"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_service_that_stays_does_not_let_the_first_probe_wait(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, serving: bool
) -> None:
    """What a look at the tables needs is imported as soon as the service has started, and not for a command."""
    imported = threading.Event()
    monkeypatch.setattr("object_service.capabilities.database.readiness._migrating", imported.set)
    runtime = Runtime((FEATURE,))
    async with runtime.started(runtime.load({("database", "url"): database_url}), serving=serving):
        assert serving == await asyncio.to_thread(imported.wait, 5 if serving else 0.2)


async def test_the_answer_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts connections and then says nothing does not hold the probe up, nor what asks beside it."""
    monkeypatch.setattr("object_service.chassis.web.readiness.PING_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/name"
        async with served(url, tables=False) as (client, _):
            begun = time.monotonic()
            answers = await asyncio.gather(client.get("/readyz"), client.get("/livez"))
            assert time.monotonic() - begun < 2
    assert [503, 200] == [answer.status_code for answer in answers]
