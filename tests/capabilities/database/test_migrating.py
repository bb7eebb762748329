"""Migrating: up, down and up again, by one process at a time, and whole again after any end."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from capabilities.database import chain_files, migrate
from capabilities.database.chain_files import TWO, own_chain, use, write
from object_service.capabilities.database import migrating
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.migrating import MigrationError, Standing, downgrade, standings, upgrade
from object_service.capabilities.database.settings import DatabaseSection

TEMPLATE = {"template_envelopes", "template_replies", "template_audit", "template_database_version"}


def _structure(connection: Connection) -> dict[str, list[str]]:
    found = inspect(connection)
    return {table: sorted(column["name"] for column in found.get_columns(table)) for table in found.get_table_names()}


async def _tables(database: Database) -> dict[str, list[str]]:
    async with database.reading() as connection:
        return await connection.run_sync(_structure)


async def _rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    async with database.reading() as connection:
        return [tuple(row) for row in await connection.execute(text(statement))]


async def _do(database: Database, *statements: str) -> None:
    async with database.writing() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_up_down_and_up_again(empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain is led up and back step by step; the other chain stays where it is, and both end as they were."""
    chains = use(monkeypatch, own_chain(tmp_path / "versions", TWO))
    assert (Standing("database", None, "0001"), Standing("own", None, "0002")) == await standings(empty, chains)
    ready = (Standing("database", "0001", "0001"), Standing("own", "0002", "0002"))
    assert ready == await upgrade(empty)
    made = await _tables(empty)
    assert TEMPLATE | {"parents", "children", "alembic_version"} == set(made)

    assert "0001" == (await downgrade(empty, "own", 1))[1].current
    assert ["id", "name"] == (await _tables(empty))["parents"]
    assert (await downgrade(empty, "own", 1))[1].current is None
    assert TEMPLATE | {"alembic_version"} == set(await _tables(empty))
    await downgrade(empty, "database", 1)
    assert {"alembic_version", "template_database_version"} == set(await _tables(empty))
    assert ready == await upgrade(empty)
    assert made == await _tables(empty)
    assert ready == await upgrade(empty)


async def test_several_steps_lead_back_at_once(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain is led back by as many versions as it has, and by no more."""
    use(monkeypatch, own_chain(tmp_path / "versions", TWO))
    await upgrade(empty)
    with pytest.raises(MigrationError, match=r"'own' can be led back by at most 2 versions"):
        await downgrade(empty, "own", 3)
    with pytest.raises(MigrationError, match=r"No chain is named 'mine'; expected one of database, own"):
        await downgrade(empty, "mine", 1)
    assert (await downgrade(empty, "own", 2))[1].current is None


async def test_rows_outlive_a_copied_table(empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of columns keeps the rows and what refers to them, though SQLite copies the table for it."""
    chain = own_chain(tmp_path / "versions", {"0001": TWO["0001"]})
    use(monkeypatch, chain)
    await upgrade(empty)
    await _do(empty, "INSERT INTO parents VALUES (1, 'Ada')", "INSERT INTO children VALUES (1)")
    own_chain(chain.versions, TWO)
    await upgrade(empty)
    assert [(1, "Ada", 7)] == await _rows(empty, "SELECT id, name, age FROM parents")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await _do(empty, "INSERT INTO children VALUES (2)")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await _do(empty, "DELETE FROM parents")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_change_that_leaves_references_dangling_is_undone(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not check references while tables are copied; the end does, and nothing stays of the change."""
    chain = own_chain(tmp_path / "versions", {"0001": TWO["0001"]})
    use(monkeypatch, chain)
    await upgrade(empty)
    await _do(empty, "INSERT INTO parents VALUES (1, 'Ada')", "INSERT INTO children VALUES (1)")
    write(chain.versions, "0002", "0001", 'op.execute("DELETE FROM parents")')
    with pytest.raises(MigrationError, match=r"Nothing was changed: 1 rows of children refer to nothing afterwards"):
        await upgrade(empty)
    assert [(1, "Ada")] == await _rows(empty, "SELECT * FROM parents")
    assert [("0001",)] == await _rows(empty, "SELECT * FROM alembic_version")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await _do(empty, "DELETE FROM parents")


async def test_a_file_that_fails_leaves_the_version_before(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what the engine said; what came before is kept on PostgreSQL, and corrected all is well."""
    chain = own_chain(tmp_path / "versions", TWO)
    use(monkeypatch, chain)
    write(chain.versions, "0003", "0002", 'op.execute("UPDATE parents SET age = NULL")\nop.drop_table("gone")')
    with pytest.raises(MigrationError, match=r"'own' cannot be migrated: .*gone"):
        await upgrade(empty)
    kept = "0002" if empty.dialect == "postgresql" else None
    assert [kept] == [one.current for one in await standings(empty, (chain,))]
    write(chain.versions, "0003", "0002", "pass")
    assert ["0003"] == [one.current for one in await upgrade(empty) if one.chain == "own"]


async def test_several_heads_are_named(empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files that follow the same one are an error before anything is touched."""
    chain = own_chain(tmp_path / "versions", TWO)
    use(monkeypatch, chain)
    write(chain.versions, "0003", "0001", "pass")
    with pytest.raises(MigrationError, match=r"'own' has several heads: 000[23], 000[23]; let one follow the other"):
        await upgrade(empty)
    assert {} == await _tables(empty)


@pytest.mark.parametrize("call", [upgrade, lambda database: downgrade(database, "own", 1)], ids=["up", "down"])
async def test_a_database_ahead_of_the_code_is_left_alone(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object
) -> None:
    """Older code works with tables that newer code has migrated, says so when asked to migrate, and changes nothing."""
    chains = use(monkeypatch, own_chain(tmp_path / "versions", TWO))
    await upgrade(empty)
    (tmp_path / "versions" / "v0002_test.py").unlink()
    (own,) = await standings(empty, chains[1:])
    assert ("0002", "0001", True, True) == (own.current, own.head, own.ahead, own.ready)
    assert callable(call)
    with pytest.raises(MigrationError, match=r"'own' cannot be migrated: .*0002"):
        await call(empty)
    assert "age" in (await _tables(empty))["parents"]


_UP = """
with op.get_context().autocommit_block():
    op.create_index("ix_name", "parents", ["name"], postgresql_concurrently=True)
op.execute("SELECT 1")
"""
_DOWN = """
with op.get_context().autocommit_block():
    op.drop_index("ix_name", "parents", postgresql_concurrently=True)
"""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_index_is_built_beside_the_traffic(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file can leave its transaction, as `CREATE INDEX CONCURRENTLY` demands, and go on in one, up and down."""
    use(monkeypatch, own_chain(tmp_path / "versions", {**TWO, "0003": (_UP, _DOWN), "0004": ("pass", "pass")}))
    async with asyncio.timeout(20):
        assert "0004" == (await upgrade(empty))[1].current
        assert [("ix_name",)] == await _rows(empty, "SELECT indexname FROM pg_indexes WHERE indexname = 'ix_name'")
        assert "0002" == (await downgrade(empty, "own", 2))[1].current
        assert [] == await _rows(empty, "SELECT indexname FROM pg_indexes WHERE indexname = 'ix_name'")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_migrates_second_waits_and_then_says_so(
    empty: Database, section: DatabaseSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for another process has an end, and one connection is enough to migrate."""
    use(monkeypatch, own_chain(tmp_path / "versions", TWO))
    other = Database(section.model_copy(update={"lock_wait_s": 0.3, "pool_connections": 1}))
    async with empty.writing() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": migrating._LOCK})
        with pytest.raises(MigrationError, match=r"Another process is migrating"):
            await upgrade(other)
        await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": migrating._LOCK})
    assert all(one.ready for one in await upgrade(other))
    assert [(0,)] == await _rows(empty, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    await other.aclose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_migration_takes_the_time_that_it_takes(
    section: DatabaseSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What limits the statements of requests does not limit a migration, and counts again afterwards."""
    hurried = Database(section.model_copy(update={"statement_timeout_s": 0.2, "pool_connections": 1}))
    use(monkeypatch, own_chain(tmp_path / "versions", {"0001": ('op.execute("SELECT pg_sleep(0.4)")', "pass")}))
    assert "0001" == (await upgrade(hurried))[1].current
    assert [("200ms",)] == await _rows(hurried, "SHOW statement_timeout")
    await hurried.aclose()


def _process(section: DatabaseSection, versions: Path, **environment: str) -> subprocess.Popen[str]:
    tests = Path(chain_files.__file__).parents[2]
    paths = os.pathsep.join([str(tests), str(tests.parent / "dev")])
    return subprocess.Popen(
        [sys.executable, "-m", migrate.__name__, section.url, str(versions)],
        env={"PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_several_at_once_are_safe(section: DatabaseSection, tmp_path: Path) -> None:
    """Of three processes that migrate at the same moment one does, and all of them end well."""
    versions = own_chain(tmp_path / "versions", TWO).versions
    processes = [_process(section, versions) for _ in range(3)]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert [("0001 0002\n", "", 0)] * 3 == ends


async def test_what_a_killed_one_left_is_finished_by_the_next(
    empty: Database, section: DatabaseSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` in the middle of a file leaves the version before it, no lock, and nothing that has to be repaired."""
    chain = own_chain(tmp_path / "versions", TWO)
    use(monkeypatch, chain)
    process = await asyncio.to_thread(_process, section, chain.versions, HALT="1")
    try:
        assert process.stdout is not None
        assert "halfway\n" == await asyncio.to_thread(process.stdout.readline)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)
    kept = ("0001", ["id", "name"]) if empty.dialect == "postgresql" else (None, None)
    now = (await standings(empty, (chain,)))[0].current
    assert kept == (now, (await _tables(empty)).get("parents"))

    async with asyncio.timeout(20):
        assert "0002" == (await upgrade(empty))[1].current
    assert ["age", "id", "name"] == (await _tables(empty))["parents"]
