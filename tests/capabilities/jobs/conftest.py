"""What the tests of the jobs share: databases that are migrated, and a place where jobs run."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa

from capabilities.jobs.migrated import ENGINES, NewDatabase, copied_database, copied_file, make_tables
from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs.engine import open_engine
from postgresql_server import fresh_database


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file with all tables, to be copied."""
    file = tmp_path_factory.mktemp("jobs") / "migrated.db"
    make_tables(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def migrated_url(postgresql_server_url: str) -> Iterator[str]:
    """Yield the URL of a PostgreSQL database with all tables, to be copied."""
    with fresh_database(postgresql_server_url) as url:
        make_tables(url)
        yield url


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Return what makes migrated databases; the server is started with the first one that needs it."""

    def new(engine: str) -> AbstractContextManager[str]:
        if engine == "sqlite":
            return copied_file(request.getfixturevalue("migrated_file"), tmp_path_factory.mktemp("copy"))
        return copied_database(
            request.getfixturevalue("postgresql_server_url"), request.getfixturevalue("migrated_url")
        )

    return new


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, new_database: NewDatabase) -> Iterator[str]:
    """Yield the URL of a migrated database, once for each engine."""
    with new_database(request.param) as found:
        yield found


@pytest.fixture
def postgresql(new_database: NewDatabase) -> Iterator[str]:
    """Yield the URL of a migrated PostgreSQL database."""
    with new_database("postgresql") as found:
        yield found


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    """Yield an engine as DBOS has it."""
    engine = open_engine(DatabaseSection(url=url), connections=4)
    yield engine
    engine.dispose()


@pytest.fixture
async def office(url: str) -> AsyncIterator[Workplace]:
    """Yield jobs that nobody runs."""
    async with opened(url) as workplace:
        yield workplace


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def workplace(request: pytest.FixtureRequest, new_database: NewDatabase) -> AsyncIterator[Workplace]:
    """Yield jobs that are run, by one process for all tests of a module: an executor takes a second to stop."""
    with new_database(request.param) as found:
        async with opened(found) as workplace:
            await workplace.executor.start()
            yield workplace
