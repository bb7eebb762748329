"""Leases: who is alive, as the database sees it."""

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs.engine import open_engine
from object_service.capabilities.jobs.leases import LEASES, Leases
from object_service.capabilities.jobs.settings import JobsSection


@pytest.fixture
def leases(postgresql: str) -> Iterator[Leases]:
    """Yield leases of a minute."""
    engine = open_engine(DatabaseSection(url=postgresql), connections=2)
    yield Leases(engine, lease_s=60, grace_s=40)
    engine.dispose()


def _age(leases: Leases, executor_id: str, seconds: float) -> None:
    """Let a lease have been taken and renewed earlier."""
    with leases.engine.begin() as connection:
        older = sa.update(LEASES).where(LEASES.c.executor_id == executor_id)
        values = {"renewed_at": LEASES.c.renewed_at - seconds, "steady_since": LEASES.c.steady_since - seconds}
        connection.execute(older.values(**values))


def _steady(leases: Leases, executor_id: str, seconds: float) -> None:
    """Let a lease have been renewed for so long, and just now."""
    with leases.engine.begin() as connection:
        mine = sa.update(LEASES).where(LEASES.c.executor_id == executor_id)
        connection.execute(mine.values(steady_since=LEASES.c.renewed_at - seconds))


def test_a_lease_is_held_until_it_is_given_back(leases: Leases) -> None:
    """Taken, renewed, released: after that there is nothing to renew."""
    leases.take("one")
    leases.take("two")
    assert ({"one", "two"}, True) == (leases.holders(), leases.renew("one"))
    leases.release("one")
    leases.release("one")
    assert ({"two"}, False) == (leases.holders(), leases.renew("one"))


def test_a_lease_that_lapsed_goes(leases: Leases) -> None:
    """Only what was not renewed for so long ends; whoever lost a lease learns of it when renewing."""
    for name in ("late", "in time"):
        leases.take(name)
    _age(leases, "late", 61)
    _age(leases, "in time", 59)
    leases.take("me")
    _steady(leases, "me", 41)
    leases.end_lapsed("me")
    leases.release("me")
    assert ({"in time"}, False, True) == (leases.holders(), leases.renew("late"), leases.renew("in time"))


def test_a_late_lease_that_nobody_ended_may_go_on(leases: Leases) -> None:
    """Nobody took anything over yet, so that a worker that was only slow keeps its jobs."""
    leases.take("late")
    _age(leases, "late", 600)
    assert leases.renew("late")
    leases.take("other")
    _steady(leases, "other", 41)
    leases.end_lapsed("other")
    assert {"late", "other"} == leases.holders()


@pytest.mark.parametrize(("steady_s", "kept"), [(39, {"late"}), (41, set())], ids=["within-the-grace", "after-it"])
def test_whoever_was_not_there_ends_nothing(leases: Leases, steady_s: float, kept: set[str]) -> None:
    """After its start nobody knows what was before; it ends the leases of others when it was there for long enough."""
    leases.take("late")
    _age(leases, "late", 600)
    leases.take("me")
    _steady(leases, "me", steady_s)
    leases.end_lapsed("me")
    assert kept == leases.holders() - {"me"}


def test_after_an_outage_the_others_have_to_find_back_first(leases: Leases) -> None:
    """Whether the database was away or hung: a gap in the renewals of its own lease is one that the others had, too."""
    for name in ("me", "other"):
        leases.take(name)
        _age(leases, name, 600)
    leases.end_lapsed("me")
    assert {"me", "other"} == leases.holders()
    assert leases.renew("me")
    leases.end_lapsed("me")
    assert {"me", "other"} == leases.holders()
    _steady(leases, "me", 41)
    assert leases.renew("me")
    leases.end_lapsed("me")
    assert {"me"} == leases.holders()


def test_nobody_ends_its_own_lease(leases: Leases) -> None:
    """A process that was held up for longer than its lease, and finds back first, goes on."""
    leases.take("late")
    _age(leases, "late", 600)
    leases.end_lapsed("late")
    assert ({"late"}, True) == (leases.holders(), leases.renew("late"))


def test_only_the_clock_of_the_database_counts(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose clock is wrong by an hour neither loses its lease nor takes those of others."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    leases.take("one")
    leases.renew("one")
    leases.take("other")
    _steady(leases, "other", 41)
    leases.end_lapsed("other")
    leases.release("other")
    with leases.engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT abs(extract(epoch FROM now()) - renewed_at) FROM template_job_leases")
        )
        assert found.scalar_one() < 60
    assert {"one"} == leases.holders()


def test_a_lease_that_a_failed_start_left_is_taken_again(leases: Leases) -> None:
    """The next start of the same process has it as if it were new, with what it declares."""
    leases.take("one", ["nightly"])
    _age(leases, "one", 600)
    leases.take("one", ["hourly", "daily"])
    leases.take("two")
    assert ({"one", "two"}, {"hourly", "daily"}) == (leases.holders(), leases.schedules())
    leases.end_lapsed("two")
    assert leases.renew("one")


def test_a_frozen_transaction_ends_before_the_lease(leases: Leases) -> None:
    """A process that stands still within a transaction loses its locks in time for others to go on."""
    asked = sa.text("SELECT setting::int / 1000.0 FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'")
    with leases.engine.connect() as connection:
        assert 0 < connection.scalar(asked) < JobsSection().lease_s
