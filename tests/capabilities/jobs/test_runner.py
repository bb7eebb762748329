"""Long work as durable jobs: kept with its envelope, awaited, cancelled, and brief where the process is."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from capabilities.database.samples import PENDING
from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.database.envelopes import DatabaseStore
from object_service.capabilities.jobs import management
from object_service.capabilities.jobs.endings import end_unwritten
from object_service.capabilities.jobs.records import JobStatus
from object_service.capabilities.jobs.runner import DurableRunner
from object_service.chassis.contracts.call import CallRecord
from object_service.chassis.contracts.envelope import Envelope, Failure, failed, running
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.contracts.json import Json
from object_service.domain.diarization import Diarization

NAME = "diarization"
_CANCELLED = Failure("cancelled", "The work was cancelled.", retryable=False)


@dataclass
class Work:
    """Work that takes as long as it is told, and writes its end when it is cancelled."""

    store: DatabaseStore
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    ends: list[str] = field(default_factory=list)

    async def __call__(self, id_: str, payload: Mapping[str, Json]) -> None:
        """Do the work."""
        try:
            self.begun.set()
            await self.may_end.wait()
            self.ends.append(f"{id_} {payload['n']}")
        except asyncio.CancelledError:
            await self.give_up(id_, payload, _CANCELLED)

    async def give_up(self, id_: str, payload: Mapping[str, Json], failure: Failure) -> None:
        """Write the end."""
        assert {"n": 1} == payload
        self.ends.append(f"{id_} {failure.code}")
        envelope = await self.store.load(id_, Diarization, of=NAME)
        assert envelope is not None
        await self.store.save(failed(envelope, failure, CallRecord(), at=PENDING.provenance.created_at))


@dataclass
class Scene:
    """A runner over a workplace, with one kind of work."""

    place: Workplace
    runner: DurableRunner
    work: Work

    async def submit(self, id_: str) -> None:
        """Submit work."""
        await self.runner.submit(NAME, replace(PENDING, id=id_), {"n": 1})

    async def envelope(self, id_: str) -> Envelope[Diarization] | None:
        """Return the newest envelope."""
        return await self.work.store.load(id_, Diarization, of=NAME)

    async def status(self, id_: str) -> str | None:
        """Return how it stands with the envelope."""
        found = await self.envelope(id_)
        return None if found is None else found.status


def _scene(place: Workplace, *, stays: bool = True) -> Scene:
    store = DatabaseStore(place.database, compress_over_bytes=16384, lease_s=None)
    runner = DurableRunner(place.jobs, store, place.executor.stop)
    runner.stays = stays
    work = Work(store)
    runner.register(NAME, work)
    return Scene(place, runner, work)


@pytest.fixture
async def scene(office: Workplace) -> Scene:
    """Return a runner whose jobs nobody runs."""
    return _scene(office)


async def test_envelope_and_work_are_kept_together(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure there is neither; otherwise both, under one id, and a second submission adds nothing."""

    async def fail(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(scene.place.jobs, "enqueue_in", fail)
        with pytest.raises(ZeroDivisionError):
            await scene.submit("dia_1")
    assert (None, None) == (await scene.status("dia_1"), await scene.place.management.find("dia_1"))
    for _ in range(2):
        await scene.submit("dia_1")
    (job,) = await scene.place.management.page()
    assert ("pending", "dia_1", JobStatus.ENQUEUED) == (await scene.status("dia_1"), job.id, job.status)


async def test_work_that_is_unknown_is_neither_awaited_nor_stopped(scene: Scene) -> None:
    """Both return at once."""
    await scene.runner.wait("dia_unknown")
    await scene.runner.cancel("dia_unknown")


@pytest.mark.parametrize("by", ["runner", "management"])
async def test_work_that_waits_writes_its_end_when_it_is_cancelled(scene: Scene, by: str) -> None:
    """Whoever cancels: without any process that runs jobs the envelope ends, and it ends once."""
    await scene.submit("dia_1")
    for _ in range(2):
        await (scene.runner if by == "runner" else scene.place.management).cancel("dia_1")
    assert ("failed", ["dia_1 cancelled"]) == (await scene.status("dia_1"), scene.work.ends)
    record = await scene.place.management.show("dia_1")
    assert (JobStatus.CANCELLED, True) == (record.status, record.stopped)
    await scene.runner.wait("dia_1")


async def test_work_whose_process_is_gone_writes_its_end_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says nothing for a while is not believed to run it any more."""
    monkeypatch.setattr(management, "STOP_S", 0.2)
    await scene.submit("dia_1")
    found = await scene.envelope("dia_1")
    assert found is not None
    await scene.work.store.save(running(found, at=PENDING.provenance.created_at, progress=None, model=None))
    await _write(scene, "status = 'PENDING', executor_id = 'exe_gone', recovery_attempts = 1")
    await scene.runner.cancel("dia_1")
    assert ("failed", ["dia_1 cancelled"]) == (await scene.status("dia_1"), scene.work.ends)


async def _write(scene: Scene, values: str) -> None:
    """Bring a job where processes that ended would have brought it."""
    async with scene.place.database.writing() as connection:
        await connection.exec_driver_sql(f"UPDATE {scene.place.engine_table} SET {values}")  # noqa: S608 - both stand in this file


@pytest.mark.parametrize(
    ("status", "code"), [("MAX_RECOVERY_ATTEMPTS_EXCEEDED", "attempts_exhausted"), ("CANCELLED", "cancelled")]
)
async def test_the_end_of_work_that_runs_nowhere_is_written(scene: Scene, status: str, code: str) -> None:
    """Work that is dead, or whose canceller died, ends for its caller too: once, and not before others had time."""
    began = datetime.now(UTC)
    await scene.submit("dia_1")
    await _write(scene, f"status = '{status}', completed_at = {time.time() * 1000:.0f}")
    await end_unwritten(scene.place.management, after=began, now=began + timedelta(seconds=10))
    assert ("pending", []) == (await scene.status("dia_1"), scene.work.ends)
    for _ in range(2):
        await end_unwritten(scene.place.management, after=began, now=began + timedelta(seconds=60))
    assert ("failed", [f"dia_1 {code}"]) == (await scene.status("dia_1"), scene.work.ends)
    assert (await scene.place.management.show("dia_1")).stopped

    await scene.place.management.retry("dia_1")
    assert not (await scene.place.management.show("dia_1")).stopped


async def test_an_end_that_cannot_be_written_keeps_no_other_from_its_own(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of one is told; an outage ends the look, and the next one begins where this one did."""
    began = datetime.now(UTC)
    for id_ in ("dia_1", "dia_2"):
        await scene.submit(id_)
    await _write(scene, f"status = 'CANCELLED', completed_at = {time.time() * 1000:.0f}")
    later = began + timedelta(seconds=60)
    give_up = scene.work.give_up

    async def fail(id_: str, payload: Mapping[str, Json], failure: Failure) -> None:
        if id_ == "dia_1":
            raise error
        await give_up(id_, payload, failure)

    declared = scene.place.jobs.declared
    monkeypatch.setitem(declared, NAME, replace(declared[NAME], give_up=fail))
    error: Exception = StorageUnavailableError("away")
    with pytest.raises(StorageUnavailableError):
        await end_unwritten(scene.place.management, after=began, now=later)
    error = ZeroDivisionError("defect")
    await end_unwritten(scene.place.management, after=began, now=later)
    assert ["dia_2 cancelled"] == scene.work.ends
    (line,) = [line for line in caplog.records if line.message == "job_end_not_written"]
    assert ("dia_1", "ZeroDivisionError: defect") == (vars(line)["job_id"], vars(line)["error"])


async def test_running_work_is_awaited_and_cancelled(url: str) -> None:
    """Its own code writes the end, in the process where it runs, before the cancellation returns."""
    async with opened(url) as place:
        scene = _scene(place)
        await place.executor.start()
        await scene.submit("dia_1")
        await scene.work.begun.wait()
        waiting = asyncio.create_task(scene.runner.wait("dia_1"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await asyncio.gather(scene.runner.cancel("dia_1"), scene.runner.cancel("dia_1"))
        assert ("failed", ["dia_1 cancelled"]) == (await scene.status("dia_1"), scene.work.ends)
        await asyncio.wait_for(waiting, 5)

        scene.work.may_end.set()
        await scene.submit("dia_2")
        await asyncio.wait_for(scene.runner.wait("dia_2"), 10)
        assert "dia_2 1" == scene.work.ends[-1]
        await scene.runner.aclose()


async def test_a_short_command_does_its_work_itself(office: Workplace) -> None:
    """In a process that makes one call nothing is enqueued: the work runs here, and ends with it."""
    scene = _scene(office, stays=False)
    await scene.submit("dia_1")
    await asyncio.wait_for(scene.work.begun.wait(), 5)
    assert [] == await office.management.page()
    await scene.runner.cancel("dia_1")
    assert ("failed", ["dia_1 cancelled"]) == (await scene.status("dia_1"), scene.work.ends)
    scene.work.may_end.set()
    await scene.submit("dia_2")
    await asyncio.wait_for(scene.runner.wait("dia_2"), 5)
    assert "dia_2 1" == scene.work.ends[-1]
