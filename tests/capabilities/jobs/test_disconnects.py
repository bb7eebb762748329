"""Disconnects: what counts as a database that is away, so that DBOS waits for it instead of failing a job."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from dbos._utils import retriable_postgres_exception

from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs.engine import open_engine


@pytest.fixture
def engine(postgresql: str) -> Iterator[sa.Engine]:
    """Yield an engine as DBOS has it."""
    engine = open_engine(DatabaseSection(url=postgresql), connections=1)
    yield engine
    engine.dispose()


def _retried(error: sa.exc.DBAPIError) -> tuple[bool, bool]:
    """Return whether the connection is thrown away, and whether DBOS tries again."""
    return error.connection_invalidated, retriable_postgres_exception(error)


def test_a_server_that_became_a_replica_is_away(engine: sa.Engine) -> None:
    """It takes no more writes; the next connection leads to the one that does."""
    with engine.connect() as connection:
        connection.execute(sa.text("SET TRANSACTION READ ONLY"))
        with pytest.raises(sa.exc.DBAPIError) as refused:
            connection.execute(sa.text("DELETE FROM template_job_leases"))
    assert (True, True) == _retried(refused.value)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM template_job_leases"))


def test_a_server_that_nobody_reaches_is_away() -> None:
    """What the driver says by itself has no code, and is never the answer of a server."""
    engine = open_engine(DatabaseSection(url="postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(sa.exc.DBAPIError) as refused:
        engine.connect()
    assert (True, True) == _retried(refused.value)


def test_an_answer_is_no_outage(engine: sa.Engine) -> None:
    """A statement that the server refuses is a defect, however often it is tried."""
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError) as refused:
        connection.execute(sa.text("SELECT nothing FROM template_job_leases"))
    assert (False, False) == _retried(refused.value)
