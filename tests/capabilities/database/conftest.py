"""What the tests of the database share: one that is open, with the tables of the template."""

from collections.abc import AsyncIterator, Callable

import pytest

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.envelopes import DatabaseStore
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.database.tables import TemplateTable

type OpenStore = Callable[..., DatabaseStore]


@pytest.fixture
def section(database_url: str) -> DatabaseSection:
    """Return the settings of an empty database on either engine."""
    return DatabaseSection(url=database_url)


@pytest.fixture
async def empty(section: DatabaseSection) -> AsyncIterator[Database]:
    """Yield a database without tables."""
    database = Database(section)
    yield database
    await database.aclose()


@pytest.fixture
async def database(empty: Database) -> Database:
    """Return a database with the tables of the template."""
    async with empty.writing() as connection:
        await connection.run_sync(TemplateTable.metadata.create_all)
    return empty


@pytest.fixture
async def open_store(database: Database) -> AsyncIterator[OpenStore]:
    """Yield what opens stores of envelopes on one database; each is closed at the end."""
    opened: list[DatabaseStore] = []

    def open_store(*, lease_s: float | None = 30, compress_over_bytes: int = 16384) -> DatabaseStore:
        opened.append(DatabaseStore(database, compress_over_bytes=compress_over_bytes, lease_s=lease_s))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.aclose()


@pytest.fixture
def store(open_store: OpenStore) -> DatabaseStore:
    """Return a store with the usual limits."""
    return open_store()
