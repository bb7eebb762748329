"""Databases with the tables of the jobs: made once for each engine, then copied."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import sqlalchemy as sa

from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.database.tables import TemplateTable
from object_service.capabilities.jobs.engine import open_engine, sync_url
from object_service.capabilities.jobs.internals import migrate_engine
from object_service.capabilities.jobs.leases import METADATA

ENGINES = ("sqlite", "postgresql")

type NewDatabase = Callable[[str], AbstractContextManager[str]]
"""Yields the URL of a migrated database on an engine, which goes after the block."""


def make_tables(url: str) -> None:
    """Make the tables of DBOS, of the leases and of the envelopes."""
    engine = open_engine(DatabaseSection(url=url), connections=2)
    try:
        migrate_engine(engine)
        with engine.begin() as connection:
            METADATA.create_all(connection)
            TemplateTable.metadata.create_all(connection)
    finally:
        engine.dispose()


@contextmanager
def copied_file(source: Path, folder: Path) -> Iterator[str]:
    """Yield the URL of a copy of a SQLite file."""
    target = folder / f"{uuid.uuid4().hex}.db"
    shutil.copy(source, target)
    yield f"sqlite:///{target}"


@contextmanager
def copied_database(server_url: str, source_url: str) -> Iterator[str]:
    """Yield the URL of a copy of a PostgreSQL database that nobody is connected to."""
    source, name = urlsplit(source_url).path[1:], f"copy_{uuid.uuid4().hex}"
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {source}")
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    engine = sa.create_engine(sync_url(DatabaseSection(url=url)), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
