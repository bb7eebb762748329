"""What every test of a capability relies on: what tests of the chassis do, and an empty database on either engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.conftest import nowhere, untouched_logging
from postgresql_server import any_server, fresh_database

__all__ = ["nowhere", "untouched_logging"]


@pytest.fixture(scope="session")
def postgresql_server_url() -> Iterator[str]:
    """Yield the URL of the server that all tests of this process share."""
    with any_server() as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server_url: str) -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database, which is dropped after the test."""
    with fresh_database(postgresql_server_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, once for each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
