"""The executor: begins, drains, hands back and takes over; each test has a process that runs jobs to itself."""

import asyncio
from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from capabilities.database.waiting import until
from capabilities.jobs.migrated import NewDatabase
from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs import runs
from object_service.capabilities.jobs.engine import open_engine
from object_service.capabilities.jobs.executor import AlreadyRunningError, Executor, NotMigratedError
from object_service.capabilities.jobs.leases import Leases
from object_service.capabilities.jobs.records import JobStatus
from object_service.capabilities.jobs.running import step
from object_service.capabilities.jobs.settings import JobsSection
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.contracts.json import Json

_CLAIM = (
    "UPDATE {table} SET status = 'PENDING', executor_id = 'exe_gone', recovery_attempts = :attempts, "
    "owner_xid = 'x', application_version = '1' WHERE workflow_uuid = :id"
)


async def _nothing(_: str, payload: Mapping[str, Json]) -> Json:
    return payload.get("n")


async def _claimed(place: Workplace, id_: str, attempts: int = 1) -> None:
    """Let a job be run by a process that is no more."""
    async with place.database.writing() as connection:
        await connection.execute(sa.text(_CLAIM.format(table=place.engine_table)), {"id": id_, "attempts": attempts})


async def test_jobs_run_after_migrate_only(database_url: str) -> None:
    """Before, starting is refused with what to do, and nothing is left that would keep the next start away."""
    for _ in range(2):
        async with opened(database_url) as place:
            with pytest.raises(NotMigratedError) as refused:
                await place.executor.start()
            assert ("not_migrated", True) == (refused.value.code, refused.value.retryable)
            assert "migrate" in refused.value.user_message


async def test_one_process_runs_the_jobs_of_a_file(new_database: NewDatabase) -> None:
    """A second one is refused by name on SQLite; the file is free again after the first."""
    with new_database("sqlite") as url:
        async with opened(url) as place:
            await place.executor.start()
            async with opened(url) as second:
                with pytest.raises(
                    AlreadyRunningError, match="Another process runs the jobs of this SQLite file"
                ) as refused:
                    await second.executor.start()
                assert ("jobs_locked", False) == (refused.value.code, refused.value.retryable)
            assert 1 == (await place.outcome(_nothing, {"n": 1})).result
        async with opened(url) as place:
            await place.executor.start()
            assert 2 == (await place.outcome(_nothing, {"n": 2})).result


async def test_a_stop_hands_back_what_does_not_end(url: str) -> None:
    """Jobs that are not done in time are interrupted, not cancelled, and go on in the next process with their steps.

    However many releases a long job sees, none of them counts as an attempt.
    """
    seen: list[str] = []

    async def count() -> Json:
        seen.append("step")
        return 7

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        found = await step(count)
        again = "begun" in seen
        seen.append("begun")
        try:
            await asyncio.sleep(0 if again else 60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        except BaseException as error:
            seen.append(type(error).__name__)
            raise
        return found

    async with opened(url, drain_s=0, max_attempts=1) as place:
        await place.executor.start()
        id_ = await place.begin(work)
        await until(lambda: "begun" in seen)
        await place.executor.stop()
        assert JobStatus.ENQUEUED is (await place.management.show(id_)).status
        assert await asyncio.to_thread(lambda: True)
    async with opened(url, max_attempts=1) as place:
        place.payload(work)
        await place.executor.start()
        record = await place.ended(id_)
    assert (JobStatus.SUCCEEDED, 7, 1, ["step", "begun", "Interrupted", "begun"]) == (
        *(record.status, record.result, record.attempts),
        seen,
    )


async def test_a_stop_lets_jobs_end(url: str) -> None:
    """Within the time of the drain, a job that runs ends as it would have, and no other begins."""
    begun = asyncio.Event()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        begun.set()
        await asyncio.sleep(0.3)
        return "end"

    async with opened(url, drain_s=10, concurrency=1) as place:
        await place.executor.start()
        first = await place.begin(work)
        await begun.wait()
        second = await place.begin(work)
        await place.executor.stop()
        await place.executor.stop()
        assert ("end", JobStatus.ENQUEUED) == (
            (await place.management.show(first)).result,
            (await place.management.show(second)).status,
        )


async def test_what_a_process_left_is_begun_again(url: str) -> None:
    """On SQLite at once; on PostgreSQL when the lease of whoever ran it has lapsed and the grace is over."""
    async with opened(url, lease_s=1, outage_grace_s=1) as place:
        id_ = await place.begin(_nothing, {"n": 3})
        await _claimed(place, id_)
        if place.database.dialect == "postgresql":
            engine = open_engine(place.section, connections=1)
            Leases(engine, 1, 1).take("exe_gone")
            engine.dispose()
        await place.executor.start()
        record = await place.ended(id_)
    assert (JobStatus.SUCCEEDED, 3, 2) == (record.status, record.result, record.attempts)


async def test_a_job_of_the_living_is_left_alone(postgresql: str) -> None:
    """While somebody renews a lease, nobody takes anything over, however long a job runs."""
    async with opened(postgresql, lease_s=3, outage_grace_s=0.2) as place:
        id_ = await place.begin(_nothing)
        await _claimed(place, id_)
        engine = open_engine(DatabaseSection(url=postgresql), connections=1)
        leases = Leases(engine, 3, 1)
        leases.take("exe_gone")
        await place.executor.start()
        for _ in range(10):
            await asyncio.sleep(0.5)
            assert leases.renew("exe_gone")
        assert JobStatus.RUNNING is (await place.management.show(id_)).status
        leases.release("exe_gone")
        engine.dispose()
        assert JobStatus.SUCCEEDED is (await place.ended(id_)).status


async def test_a_job_that_is_begun_too_often_is_dead(url: str) -> None:
    """It is put aside with its attempts, can be listed, and is tried again when somebody asks for it."""
    async with opened(url, max_attempts=2, lease_s=1, outage_grace_s=0.2) as place:
        id_ = await place.begin(_nothing, {"n": 5})
        await _claimed(place, id_, attempts=2)
        await place.executor.start()
        record = await place.stands(id_, JobStatus.DEAD)
        assert record.error is not None
        assert ("attempts_exhausted", True) == (record.error.code, record.error.retryable)
        assert [id_] == [one.id for one in await place.management.page(status=JobStatus.DEAD)]
        await place.management.retry(id_)
        assert 5 == (await place.ended(id_)).result


async def test_one_process_runs_so_many_at_once(url: str) -> None:
    """Jobs of a queue wait where the process has its hands full."""
    running = most = 0

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1
        return None

    async with opened(url, concurrency=2) as place:
        ids = [await place.begin(work) for _ in range(5)]
        await place.executor.start()
        for id_ in ids:
            await place.ended(id_)
    assert 2 == most


async def test_a_start_that_failed_halfway_keeps_the_next_one_from_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if what it had taken could not be given back, since the database was away again."""
    monkeypatch.setattr(Leases, "release", _away)
    async with opened(url) as place:
        with monkeypatch.context() as patch:
            patch.setattr(place.executor, "_declare", _away)
            with pytest.raises(StorageUnavailableError):
                await place.executor.start()
        await place.executor.start()
        assert 1 == (await place.outcome(_nothing, {"n": 1})).result


def _away(*_: object) -> None:
    raise sa.exc.TimeoutError("away")


async def test_jobs_without_code_hold_up_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given back at once, lose no attempt, and run in a process that knows them."""
    monkeypatch.setattr(runs, "_AUDIT_TURNS", 1)
    monkeypatch.setattr(runs, "STRAYED_S", 3)
    async with opened(url, concurrency=1, max_attempts=1) as place:
        place.jobs.register("new", _nothing, queue="line")
        id_ = await place.jobs.enqueue("new", {"n": 1})
        known = await place.begin(_nothing, {"n": 2}, name="in-line")
        del place.jobs.declared["new"]
        await place.executor.start()
        assert 2 == (await place.ended(known)).result
        record = await place.stands(id_, JobStatus.DELAYED)
        assert 0 == record.attempts
        again = await place.management.until(id_, lambda now: now.due_at not in (None, record.due_at), within_s=20)
        assert (JobStatus.DELAYED, 0) == (again and again.status, again and again.attempts)
    async with opened(url, max_attempts=1) as place:
        place.jobs.register("new", _nothing, queue="line")
        await place.executor.start()
        record = await place.ended(id_)
        assert (JobStatus.SUCCEEDED, 1) == (record.status, record.result)


async def test_an_executor_needs_no_jobs(url: str) -> None:
    """It begins and stops with nothing declared."""
    async with opened(url) as place:
        place.jobs.declared.clear()
        executor = Executor(place.jobs, JobsSection(), place.section)
        await executor.start()
        await executor.stop()
