"""Announcements: one for each end of durable work, sent until the receiver has it, on both engines."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
import pytest_asyncio

from capabilities.database.samples import DIARIZED, FAILED, PENDING, RUNNING, provenance
from capabilities.jobs.migrated import ENGINES, NewDatabase
from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.jobs import webhooks
from object_service.capabilities.jobs.internals import put_back
from object_service.capabilities.jobs.jobs import Jobs, key_id
from object_service.capabilities.jobs.records import JobRecord, JobStatus
from object_service.capabilities.jobs.webhook_settings import WebhookSection
from object_service.chassis.contracts.envelope import Envelope, Failed, Succeeded
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.contracts.identity import new_id
from object_service.domain.diarization import Diarization
from receiver import HANG, OLD_SECRET, SECRET, Receiver, receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSES_S = (0.05, 0.05)
NOWHERE = "http://127.0.0.1:9/hook"


@dataclass(slots=True)
class Office:
    """What announces, who runs the jobs, and who hears of it; work whose id begins with `brief` is not durable."""

    workplace: Workplace
    receiver: Receiver
    store: webhooks.AnnouncingStore

    async def announced(self, envelope: Envelope[Any]) -> str:
        """Keep an envelope and return the id of its announcement."""
        await self.store.save(envelope)
        return key_id("evt", envelope.id, envelope.status)

    async def outcome(self, envelope: Envelope[Any]) -> JobRecord:
        """Keep an envelope and return how its announcement ended."""
        return await self.workplace.ended(await self.announced(envelope))


@pytest.fixture(scope="module")
def listener() -> Iterator[Receiver]:
    """Yield a receiver."""
    with receiver() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def office(
    request: pytest.FixtureRequest, new_database: NewDatabase, listener: Receiver
) -> AsyncIterator[Office]:
    """Yield a process that runs one job of a queue at once, and each of them only once."""
    section = WebhookSection.model_validate(
        {"url": listener.url, "secret": f"{SECRET} {OLD_SECRET}", "pauses_s": PAUSES_S, "timeout_s": 0.5}
    )
    deliveries = webhooks.Deliveries(section)
    with new_database(request.param) as url:
        async with opened(url, concurrency=1, max_attempts=1) as workplace:
            jobs = workplace.jobs
            store = webhooks.AnnouncingStore(
                workplace.database,
                jobs,
                compress_over_bytes=10_000,
                durable=lambda id_: not id_.startswith("brief"),
            )
            jobs.add_queue(replace(webhooks.QUEUE, poll_interval_s=None))
            jobs.register(webhooks.NAME, deliveries.deliver, queue=webhooks.QUEUE.name)
            await workplace.executor.start()
            yield Office(workplace, listener, store)
    await deliveries.aclose()


def _done(id_: str) -> Succeeded[Diarization]:
    return replace(DIARIZED, id=id_)


async def test_the_end_of_work_is_announced(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """That it ended and how, and where to read what came of it; never the result itself."""
    id_ = new_id("dia")
    with caplog.at_level(logging.INFO):
        record = await office.outcome(_done(id_))
    (heard,) = office.receiver.about(id_)
    expected = {
        "type": "diarization.succeeded",
        "timestamp": "2026-11-21T01:02:04.400000Z",
        "data": {
            "id": id_,
            "object": "diarization",
            "status": "succeeded",
            "location": f"/v1/envelopes/{id_}",
            "correlation_id": "3f0c",
        },
    }
    assert (expected, expected, "/hook", "application/json") == (
        *(heard.event(SECRET), heard.event(OLD_SECRET)),
        *(heard.path, heard.headers["content-type"]),
    )
    assert (JobStatus.SUCCEEDED, {"status": 204, "attempt": 1}, record.id) == (record.status, record.result, heard.id)
    told = [line for line in caplog.records if line.message == "webhook_delivered"]
    assert [(record.id, 204)] == [(vars(line)["webhook_id"], vars(line)["status"]) for line in told]


async def test_failures_are_announced_with_their_reason(office: Office) -> None:
    """The words that callers may see, and nothing else."""
    id_ = new_id("dia")
    await office.outcome(replace(FAILED, id=id_))
    event = office.receiver.about(id_)[0].event()
    error = {"code": "provider_timeout", "message": "The provider did not answer in time.", "retryable": True}
    assert ("diarization.failed", {**error, "retry_after_s": 2.0}) == (event["type"], event["data"]["error"])


async def test_a_receiver_is_asked_again_until_it_has_it(office: Office) -> None:
    """Same id, same body, a signature of its own each time; what waits counts neither as running nor as attempts."""
    id_ = new_id("dia")
    office.receiver.refuses(id_, 500, 307, Location=f"{office.receiver.url}/elsewhere")
    job = await office.announced(_done(id_))
    await office.workplace.stands(job, JobStatus.DELAYED)
    record = await office.workplace.ended(job)
    heard = office.receiver.about(id_)
    assert (JobStatus.SUCCEEDED, {"status": 204, "attempt": 3}, 1) == (record.status, record.result, record.attempts)
    assert [("/hook", job)] * 3 == [(one.path, one.id) for one in heard]
    assert 1 == len({one.body for one in heard})
    assert [id_] * 3 == [one.event()["data"]["id"] for one in heard]
    assert [True] * 3 == [0 <= one.at - int(one.headers["webhook-timestamp"]) < 2 for one in heard]


async def test_what_is_given_up_can_be_sent_again(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """After the last attempt the job has failed, and `jobs retry` makes another one."""
    id_ = new_id("dia")
    office.receiver.refuses(id_, 503, 404, 500)
    record = await office.outcome(_done(id_))
    failures = [line for line in caplog.records if line.message == "webhook_failed"]
    told = [(line.levelname, vars(line)["final"], vars(line)["error"]) for line in failures]
    assert [("WARNING", False, "HTTP 503"), ("WARNING", False, "HTTP 404"), ("ERROR", True, "HTTP 500")] == told
    assert record.error is not None
    assert (JobStatus.FAILED, "webhook_failed", 3) == (
        record.status,
        record.error.code,
        len(office.receiver.about(id_)),
    )

    await office.workplace.management.retry(record.id)
    again = await office.workplace.ended(record.id)
    assert (JobStatus.SUCCEEDED, 4) == (again.status, len(office.receiver.about(id_)))


async def test_a_receiver_that_is_gone_is_left_alone(office: Office) -> None:
    """410 ends it at once; it can be sent again."""
    id_ = new_id("dia")
    office.receiver.refuses(id_, 410)
    record = await office.outcome(_done(id_))
    assert record.error is not None
    assert (JobStatus.FAILED, "webhook_gone", False) == (record.status, record.error.code, record.error.retryable)
    assert 1 == len(office.receiver.about(id_))
    await office.workplace.management.retry(record.id)
    assert JobStatus.SUCCEEDED == (await office.workplace.ended(record.id)).status


async def test_one_that_waits_holds_up_no_other(office: Office) -> None:
    """`Retry-After` is honoured where it is longer than the pause; meanwhile the place of the job is free."""
    first, second = new_id("dia"), new_id("dia")
    office.receiver.refuses(first, 429, Retry_After="3600")
    job = await office.announced(_done(first))
    record = await office.workplace.stands(job, JobStatus.DELAYED)
    assert record.due_at is not None
    assert timedelta(minutes=59) < record.due_at - datetime.now(UTC) <= timedelta(minutes=60)
    assert JobStatus.SUCCEEDED == (await office.outcome(_done(second))).status
    cancelled = await office.workplace.management.cancel(job)
    assert (JobStatus.CANCELLED, 1) == (cancelled.status, len(office.receiver.about(first)))


async def test_a_receiver_that_hangs_is_not_waited_for(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """An attempt has its time."""
    id_ = new_id("dia")
    office.receiver.refuses(id_, HANG)
    record = await office.outcome(_done(id_))
    assert (JobStatus.SUCCEEDED, 2) == (record.status, len(office.receiver.about(id_)))
    failures = [vars(line)["error"] for line in caplog.records if line.message == "webhook_failed"]
    assert ["no answer within 0.5 s"] == failures


async def test_nobody_there_is_a_failure_like_others(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is told without the URL, which may hold what nobody should read."""
    section = WebhookSection.model_validate({"url": f"{NOWHERE}?key=word", "secret": SECRET, "pauses_s": []})
    deliveries = webhooks.Deliveries(section)
    with pytest.raises(webhooks.DeliveryError, match=r"^no answer \(ConnectError\)$"):
        await deliveries.deliver("evt_1", webhooks.event_of(DIARIZED))
    await deliveries.aclose()
    assert "word" not in caplog.text


async def test_work_that_ends_twice_is_announced_once(office: Office) -> None:
    """Its process ended after the envelope was kept, and it was begun again."""
    envelope = _done(new_id("dia"))
    record = await office.outcome(envelope)
    later = replace(envelope, provenance=replace(envelope.provenance, finished_at=datetime.now(UTC)))
    await office.announced(later)
    await asyncio.sleep(0.3)
    assert (JobStatus.SUCCEEDED, 1) == (record.status, len(office.receiver.about(envelope.id)))


@pytest.mark.parametrize(
    "envelope",
    [replace(PENDING, id="dia_p"), replace(RUNNING, id="dia_r"), replace(DIARIZED, id="brief_1")],
    ids=["pending", "running", "not durable"],
)
async def test_nothing_else_is_announced(office: Office, envelope: Envelope[Any]) -> None:
    """Neither work that goes on, nor work that ends with its process."""
    id_ = await office.announced(envelope)
    assert await office.store.load(envelope.id, Diarization, of="diarization") is not None
    assert None is await office.workplace.management.find(id_)


async def test_without_a_receiver_nothing_is_enqueued(office: Office) -> None:
    """No job waits for somebody who is not there."""
    quiet = webhooks.AnnouncingStore(
        office.workplace.database,
        Jobs(office.workplace.jobs.client),
        compress_over_bytes=10_000,
        durable=lambda _: True,
    )
    envelope = _done(new_id("dia"))
    await quiet.save(envelope)
    assert None is await office.workplace.management.find(key_id("evt", envelope.id, envelope.status))


class _RollbackError(Exception):
    """Ends a transaction."""


async def test_envelope_and_announcement_are_one_change(office: Office) -> None:
    """Where one of them cannot be kept, the other is not."""
    envelope = _done(new_id("dia"))
    with suppress(_RollbackError):
        async with office.store.database.writing() as connection:
            await office.store.save_in(connection, envelope)
            raise _RollbackError
    assert None is await office.workplace.management.find(key_id("evt", envelope.id, envelope.status))

    async def fails(*_: object, **__: object) -> str:
        raise StorageUnavailableError("away")

    with patch.object(Jobs, "enqueue_in", fails), pytest.raises(StorageUnavailableError):
        await office.store.save(envelope)
    assert None is await office.store.load(envelope.id, Diarization, of="diarization")


async def test_only_who_runs_a_job_puts_it_back(office: Office) -> None:
    """A run that was taken over changes nothing."""
    begun, on = asyncio.Event(), asyncio.Event()

    async def work(*_: object) -> None:
        begun.set()
        await on.wait()

    id_ = await office.workplace.begin(work)
    await begun.wait()
    client = office.workplace.jobs.client
    assert not await asyncio.to_thread(put_back, client, id_, "exe_other", 1.0)
    on.set()
    assert JobStatus.SUCCEEDED == (await office.workplace.ended(id_)).status


async def test_small_whatever_the_result_is() -> None:
    """An announcement stays below the 20 kB that the standard recommends."""
    long = Failed(
        id="dia_" + "x" * 60, error=FAILED.error, provenance=provenance("diarization", fingerprint="x" * 9999)
    )
    assert 1000 > len(str(webhooks.event_of(long)))
