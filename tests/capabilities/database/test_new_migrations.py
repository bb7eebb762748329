"""New migrations: written from what the tables in the code have beyond those in the database."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy import Table as CoreTable

from capabilities.database.chain_files import own_chain, use, write
from object_service.capabilities.database.chains import CHAIN, Chain, all_chains
from object_service.capabilities.database.database import Database
from object_service.capabilities.database.migrating import MigrationError, downgrade, new_migration, upgrade
from object_service.capabilities.database.tables import Document, Table, Utc

ROOT = Path(__file__).resolve().parents[3]


def books(*more: Column[Any] | Index, title_chars: int = 200) -> MetaData:
    """Return two tables with one of everything."""
    metadata = MetaData(naming_convention=Table.metadata.naming_convention)
    CoreTable("shelves", metadata, Column("id", Integer, primary_key=True), Column("name", String(20), unique=True))
    CoreTable(
        "books",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("title", String(title_chars), nullable=False, index=True),
        Column("shelf_id", ForeignKey("shelves.id", ondelete="CASCADE")),
        Column("kind", Enum("novel", "poem", native_enum=False, length=20), nullable=False),
        Column("is_active", Boolean, nullable=False, server_default=text("true")),
        Column("price", Numeric(10, 2)),
        Column("tags", Document, nullable=False),
        Column("created_at", Utc, nullable=False),
        UniqueConstraint("title", "shelf_id"),
        *more,
    )
    return metadata


def _differences(connection: Connection, chain: Chain) -> list[object]:
    options = {"version_table": chain.version_table, "include_name": lambda name, kind, _: _counts(chain, name, kind)}
    found: list[object] = compare_metadata(MigrationContext.configure(connection, opts=options), chain.metadata)
    return found


def _counts(chain: Chain, name: str | None, kind: str) -> bool:
    return kind != "table" or name is None or (chain.owns(name) and name not in chain.foreign)


def _accepted(file: Path) -> str:
    """Return what the linter of a rendered project says about a file once it was formatted, and reads like one."""
    ruff = [sys.executable, "-m", "ruff"]
    (file.parent / "__init__.py").write_text('"""Migrations."""\n', encoding="utf-8")
    config = ("--no-cache", "--config", str(ROOT / "template" / "ruff.toml"))
    subprocess.run([*ruff, "format", "--quiet", *config, str(file)], check=True)
    checked = subprocess.run(
        [*ruff, "check", "--quiet", *config, str(file)], capture_output=True, text=True, check=False
    )
    return checked.stdout + checked.stderr


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """Return the folder of the own chain."""
    return tmp_path / "versions"


async def test_a_new_file_holds_what_is_new(empty: Database, versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file makes the tables and the next what was added; after each nothing is left to write."""
    use(monkeypatch, own_chain(versions, {}, books()))
    await upgrade(empty)
    first = await new_migration(empty, "Books and shelves")
    assert (versions, "v0001_books_and_shelves.py") == (first.parent, first.name)
    written = first.read_text(encoding="utf-8")
    assert [] == [word for word in ("template_", "alembic_version", 'drop_table("t', "Utc") if word in written]
    assert "" == _accepted(first)
    await upgrade(empty)

    extra = Column("isbn", String(13), nullable=True, index=True)
    chain = own_chain(versions, {}, books(extra, title_chars=300))
    use(monkeypatch, chain)
    second = await new_migration(empty, "ISBN")
    assert "0001" in second.read_text(encoding="utf-8")
    assert "" == _accepted(second)
    await upgrade(empty)
    async with empty.reading() as connection:
        assert [] == await connection.run_sync(_differences, chain)

    third = await new_migration(empty, "nothing")
    assert third.read_text(encoding="utf-8").endswith('"""Lead back to the version before."""\n')
    assert "" == _accepted(third)
    await upgrade(empty)
    assert (await downgrade(empty, "own", 3))[1].current is None
    assert "0003" == (await upgrade(empty))[1].current


async def test_only_a_database_at_its_head_is_compared(
    empty: Database, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier file makes would be written again; nothing is."""
    use(monkeypatch, own_chain(versions, {}, books()))
    with pytest.raises(MigrationError, match="run `migrate` first"):
        await new_migration(empty, "too early")
    assert [] == await asyncio.to_thread(os.listdir, versions)


async def test_a_service_without_tables_has_nothing_to_write(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a chain of its own there is nowhere to write to."""
    use(monkeypatch)
    await upgrade(empty)
    with pytest.raises(MigrationError, match="No chain is named 'own'; expected one of database"):
        await new_migration(empty, "tables")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda connection: connection.execute(text("DROP INDEX ix_template_envelopes_updated_at")),
        lambda connection: connection.execute(text("ALTER TABLE template_audit ADD COLUMN more int")),
    ],
    ids=["index", "column"],
)
async def test_the_comparison_sees_differences(
    empty: Database, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[Connection], object]
) -> None:
    """A table that is not as the code expects it is found."""
    use(monkeypatch)
    await upgrade(empty)
    async with empty.writing() as connection:
        await connection.run_sync(break_it)
        assert 1 == len(await connection.run_sync(_differences, CHAIN))


async def test_migrations_make_what_the_code_expects(empty: Database) -> None:
    """The files of every chain lead to exactly the tables that the code declares."""
    await upgrade(empty)
    async with empty.reading() as connection:
        found = {chain.name: await connection.run_sync(_differences, chain) for chain in all_chains()}
    assert {name: [] for name in found} == found
    assert {"database", "own"} <= set(found)
    assert [chain.name for chain in all_chains()] == sorted(found, key=lambda name: (name == "own", name))


async def test_a_new_file_gets_a_number_that_is_free(
    empty: Database, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where numbers were left out."""
    use(monkeypatch, own_chain(versions, {"0001": ("pass", "pass"), "0003": ("pass", "pass")}, MetaData()))
    await upgrade(empty)
    assert "v0004_next.py" == (await new_migration(empty, "next")).name
    assert "0004" == (await upgrade(empty))[1].current


@pytest.mark.parametrize("words", ["", "///", " - "])
async def test_a_file_without_words_is_not_written(empty: Database, words: str) -> None:
    """Nobody could tell it from the next one."""
    with pytest.raises(MigrationError, match="say it in words"):
        await new_migration(empty, words)


async def test_files_that_follow_each_other_in_a_circle_are_named(
    empty: Database, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator is told which chain it is, not how it was found."""
    chain = own_chain(versions, {"0001": ("pass", "pass")})
    write(versions, "0003", "0003", "pass")
    use(monkeypatch, chain)
    with pytest.raises(MigrationError, match=r"chain 'own' cannot be migrated: .*0003"):
        await upgrade(empty)
