"""What the tests of the database share: one that is open, with the tables of the template."""

from collections.abc import AsyncIterator

import pytest

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.database.tables import TemplateTable


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
