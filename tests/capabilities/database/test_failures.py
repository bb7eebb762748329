"""Failures of the database: what callers learn, what the log says, and that it passes by itself."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from capabilities.database.serving import served
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.settings import DatabaseSection
from object_service.chassis.contracts.errors import StorageUnavailableError
from postgresql_server import PostgresqlServer

UNREACHABLE = {
    "nobody listens": "postgresql://app:hunter22@127.0.0.1:1/name",
    "no such host": "postgresql://app:hunter22@no-such-host.invalid/name",
    "no folder": "sqlite:////nowhere/to/be/found/data.db",
    "a folder": "sqlite:////tmp",
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """Yield a server that tests may kill."""
    with PostgresqlServer() as server:
        yield server


@pytest.mark.parametrize("url", UNREACHABLE.values(), ids=list(UNREACHABLE))
async def test_a_database_that_cannot_be_reached_is_unavailable(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is in the way, callers learn one code and may try again; the reason is in the log, the password not."""
    database = Database(DatabaseSection(url=url))
    with pytest.raises(StorageUnavailableError) as caught:
        await database.ping()
    await database.aclose()
    error = caught.value
    assert ("storage_unavailable", True, "The service cannot reach its data.") == (
        *(error.code, error.retryable, error.user_message),
    )
    assert [("database_unavailable", str(error))] == [
        (record.message, record.__dict__["error"]) for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert "hunter22" not in f"{error!r} {error} {caplog.text}"
    assert [] == [thread for thread in threading.enumerate() if "connection" in thread.name]


@pytest.mark.parametrize("place", ["nobody:hunter22@127.0.0.1:{}/postgres", "postgres@127.0.0.1:{}/nothing"])
async def test_a_server_that_refuses_is_unavailable(server: PostgresqlServer, place: str) -> None:
    """A role or a database that the server does not know is named."""
    database = Database(DatabaseSection(url=f"postgresql://{place.format(server.port)}"))
    with pytest.raises(StorageUnavailableError, match=r'"(nobody|nothing)" does not exist'):
        await database.ping()
    await database.aclose()


async def test_a_file_of_something_else_is_unavailable(tmp_path: Path) -> None:
    """A file that is no database is said to be none, and is left as it is."""
    file = tmp_path / "notes.txt"
    file.write_text("remember the milk" * 100)
    database = Database(DatabaseSection(url=f"sqlite:///{file}"))
    with pytest.raises(StorageUnavailableError, match="not a database"):
        await database.ping()
    await database.aclose()
    assert "remember the milk" * 100 == file.read_text()


async def test_a_missing_table_leads_to_the_command(empty: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Before `migrate` has run the log says so."""
    with pytest.raises(StorageUnavailableError):
        async with empty.reading() as connection:
            await connection.execute(text("SELECT 1 FROM template_envelopes"))
    async with empty.writing() as connection:
        await connection.execute(text("CREATE TABLE old (id int)"))
    with pytest.raises(StorageUnavailableError):
        async with empty.writing() as connection:
            await connection.execute(text("INSERT INTO old (id, newer) VALUES (1, 2)"))
    reasons = [record.__dict__["error"] for record in caplog.records if record.message == "database_unavailable"]
    assert [True, True] == [reason.endswith("; run `migrate`") for reason in reasons]


@pytest.mark.parametrize("statement", ["SELEC 1", "SELECT no_such_function(1)"], ids=["syntax", "function"])
async def test_a_wrong_statement_is_a_defect(empty: Database, statement: str) -> None:
    """What was asked wrongly is not worth another try, and nothing tells callers that it is."""
    with pytest.raises(exc.DBAPIError):
        async with empty.reading() as connection:
            await connection.execute(text(statement))


async def test_values_stay_out_of_errors(database: Database) -> None:
    """The text of an error has the statement, and not what was to be written."""
    row = {"scope": "s", "claim": "c", "at": None, "body": b"hunter22"}
    with pytest.raises(exc.DBAPIError) as caught:
        async with database.writing() as connection:
            await connection.execute(
                text(
                    "INSERT INTO template_replies (scope, claim, created_at, body) VALUES (:scope, :claim, :at, :body)"
                ),
                row,
            )
    assert "hunter22" not in f"{caught.value} {caught.value!r}"


async def test_a_killed_server_comes_back(server: PostgresqlServer) -> None:
    """While the server is gone requests fail with 503; they are served as soon as it is back, without a restart."""
    async with served(server.url()) as (client, _):

        async def status() -> int:
            return (await client.get("/v1/envelopes/gen_1")).status_code

        await asyncio.gather(*(status() for _ in range(10)))
        server.kill()
        answers = await asyncio.gather(*(client.get("/v1/envelopes/gen_1") for _ in range(20)))
        assert {503} == {answer.status_code for answer in answers}
        problem = answers[0].json()
        assert ("storage_unavailable", True) == (problem["code"], problem["retryable"])
        assert 503 == (await client.get("/readyz")).status_code
        server.start()
        assert [404] * 20 == await asyncio.gather(*(status() for _ in range(20)))


async def test_a_transaction_ends_with_its_server(server: PostgresqlServer) -> None:
    """Nothing is kept of what was under way, and the connection is not used again."""
    database = Database(DatabaseSection(url=server.url()))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE kept (id int)"))

    async def write() -> None:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO kept VALUES (1)"))
            server.kill()
            await connection.execute(text("INSERT INTO kept VALUES (2)"))

    with pytest.raises(StorageUnavailableError):
        await write()
    server.start()
    async with database.writing() as connection:
        assert 0 == await connection.scalar(text("SELECT count(*) FROM kept"))
    await database.aclose()


async def test_a_conflict_of_transactions_may_be_tried_again(server: PostgresqlServer) -> None:
    """Of two transactions that wait for each other one is told to try again, and the other is served."""
    database = Database(DatabaseSection(url=server.url()))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE pair AS SELECT 1 AS id UNION SELECT 2"))
    both, taken = asyncio.Barrier(2), text("UPDATE pair SET id = id WHERE id = :id")

    async def lock(first: int, second: int) -> None:
        async with database.writing() as connection:
            await connection.execute(taken, {"id": first})
            await both.wait()
            await connection.execute(taken, {"id": second})

    ended = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    assert {"NoneType", "StorageUnavailableError"} == {type(end).__name__ for end in ended}
    await database.aclose()


async def test_a_statement_that_takes_too_long_is_ended(server: PostgresqlServer) -> None:
    """The time that one statement may take is a setting; the connection is fine afterwards."""
    database = Database(DatabaseSection(url=server.url(), statement_timeout_s=0.1, pool_connections=1))
    with pytest.raises(StorageUnavailableError, match="statement timeout"):
        async with database.reading() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    await database.ping()
    await database.aclose()
