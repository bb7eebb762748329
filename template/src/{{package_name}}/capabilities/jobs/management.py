"""Management: jobs as operators and callers see them: found, listed, cancelled, tried again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dbos import error as engine_errors

from ...chassis.contracts.context import Context, entered
from ...chassis.contracts.errors import RequestError, StorageUnavailableError
from ...chassis.contracts.identity import new_id
from ...chassis.contracts.json import Json, timestamp
from .declarations import DEFAULT_QUEUE
from .internals import try_again
from .jobs import Jobs, reached
from .records import ENGINE_FINISHED, ENGINE_STATUS, STOPPED, JobRecord, JobStatus, record_of
from .serializer import JsonSerializer

STOP_S = 10.0
"""How long the code of a cancelled job may take to end before nobody believes any more that it runs."""

_ENDED_FROM_OUTSIDE = (JobStatus.CANCELLED, JobStatus.TIMED_OUT)
_UNSUCCESSFUL = [name for name in ENGINE_FINISHED if name != ENGINE_STATUS[JobStatus.SUCCEEDED]]
_PAGE = 200
_LOOK_S = 0.5
_FIRST_S, _LONGEST_S = 0.05, 1.0


class JobManagement:
    """Reads and changes what is stored; needs no process that runs jobs, except to begin them."""

    def __init__(self, jobs: Jobs) -> None:
        """Take the jobs."""
        self._jobs = jobs

    async def find(self, id_: str, *, told: bool = False) -> JobRecord | None:
        """Return a job, or None for an id that is not known (any more); an outage is logged unless it is `told`."""
        if not _storable(id_):
            return None
        with reached(told=told):
            found = await self._jobs.client.list_workflows_async(workflow_ids=[id_], load_input=False)
        return record_of(found[0]) if found else None

    async def show(self, id_: str) -> JobRecord:
        """Return a job.

        Raises:
            RequestError: `not_found`.
        """
        record = await self.find(id_)
        if record is None:
            raise RequestError("No job has this id.", code="not_found", location="path")
        return record

    async def page(
        self, *, status: JobStatus | None = None, name: str | None = None, size: int = 50, offset: int = 0
    ) -> list[JobRecord]:
        """Return jobs, the newest first, without their results."""
        if name is not None and not _storable(name):
            return []
        records = self._all(status=status, name=name)
        return [record async for number, record in _counted(records, offset + size) if number >= offset]

    async def _all(self, *, status: JobStatus | None, name: str | None) -> AsyncIterator[JobRecord]:
        asked: dict[str, Any] = {"name": name, "status": None if status is None else ENGINE_STATUS[status]}
        offset, more = 0, True
        while more:
            with reached():
                found = await self._jobs.client.list_workflows_async(
                    **asked, limit=_PAGE, offset=offset, sort_desc=True, load_input=False, load_output=False
                )
            for one in found:
                record = record_of(one)
                if status in (None, record.status):
                    yield replace(record, result=None)
            offset, more = offset + _PAGE, len(found) == _PAGE

    async def follow(self, id_: str) -> AsyncIterator[JobRecord]:
        """Yield a job as it is, and again whenever it has changed, until it has ended or is deleted.

        Nothing comes while the database is away.
        """
        last: JobRecord | None = None
        away = False
        while last is None or not last.status.finished:
            try:
                record = await self.find(id_, told=away)
            except StorageUnavailableError:
                away = True
                await asyncio.sleep(_LOOK_S)
                continue
            away = False
            if record is None:
                return
            if record != last:
                last = record
                yield record
            if not record.status.finished:
                await asyncio.sleep(_LOOK_S)

    async def payload(self, id_: str) -> Mapping[str, Json]:
        """Return what a job was given."""
        with reached():
            found = await self._jobs.client.list_workflows_async(workflow_ids=[id_], load_output=False)
        given: Any = found[0].input if found else None
        return given["args"][0] if given else {}

    async def cancel(self, id_: str) -> JobRecord:
        """Stop a job and its children; its code learns of it within seconds, wherever it runs.

        Of a job that ends itself, the end is awaited, or brought about here.

        Raises:
            RequestError: `not_found`, or `already_finished`.
        """
        before = await self.show(id_)
        if not before.status.finished:
            with reached():
                await self._jobs.client.cancel_workflow_async(id_, cancel_children=True)
            self._jobs.on_cancel(id_)
        record = await self.show(id_)
        if record.status is not JobStatus.CANCELLED:
            raise RequestError(f"The job has ended already: {record.status}.", code="already_finished", location="path")
        declared = self._jobs.declared.get(record.name)
        if declared is None or declared.give_up is None:
            return record
        waits = before.status in (JobStatus.ENQUEUED, JobStatus.DELAYED) or not before.attempts
        last = record if waits else await self.until(id_, lambda now: bool(now.stopped), within_s=STOP_S)
        if last is not None and not last.stopped:
            await self.end(last)
        return await self.show(id_)

    async def until(
        self, id_: str, enough: Callable[[JobRecord], bool], *, within_s: float | None = None
    ) -> JobRecord | None:
        """Return a job once there is enough of it, or the time is over; None for an id that is not known (any more)."""
        limit, pause_s = None if within_s is None else time.monotonic() + within_s, _FIRST_S
        while True:
            record = await self.find(id_)
            if record is None or enough(record) or (limit is not None and time.monotonic() > limit):
                return record
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_S)

    async def end(self, record: JobRecord) -> None:
        """Have a job that ended where its code could not write that down do so now; it runs nowhere."""
        declared = self._jobs.declared.get(record.name)
        if declared is not None and declared.give_up is not None and record.error is not None:
            with entered(Context(record.correlation_id or new_id("cor"), None, record.traceparent)):
                await declared.give_up(record.id, await self.payload(record.id), record.error)
        await self._jobs.annotate(record.id, {STOPPED: True})

    async def unwritten(self, *, after: datetime, before: datetime) -> list[JobRecord]:
        """Return the jobs that ended in a time without success, and whose code may not have written that down."""
        names = [job.name for job in self._jobs.declared.values() if job.give_up is not None]
        asked: dict[str, Any] = {"completed_after": timestamp(after), "completed_before": timestamp(before)}
        asked |= {"name": names, "status": _UNSUCCESSFUL, "load_input": False}
        with reached():
            found = await self._jobs.client.list_workflows_async(**asked) if names else []
        return [record for record in map(record_of, found) if not record.stopped]

    async def retry(self, id_: str) -> JobRecord:
        """Enqueue a job again that has ended without success, with the children that were cancelled with it.

        The steps that were completed before the one that failed are not repeated.

        Raises:
            RequestError: `not_found`, or `conflict` while it has not ended, or when it succeeded.
        """
        record = await self.show(id_)
        if not record.status.finished or record.status is JobStatus.SUCCEEDED:
            message = f"The job is {record.status}; only one that ended without success can be tried again."
            raise RequestError(message, code="conflict", location="path")
        children = await self._cancelled_below(id_) if record.status in _ENDED_FROM_OUTSIDE else []
        if any(map(_stopping, (record, *children))):
            message = "The code of the job, or of a child of it, is about to stop; try again in some seconds."
            raise RequestError(message, code="conflict", location="path")
        for child in children:
            await self._try_again(child)
        if not await self._try_again(record):
            raise RequestError("The job has been tried again already.", code="conflict", location="path")
        return await self.show(id_)

    async def _try_again(self, record: JobRecord) -> bool:
        """Return False if the job does not stand any more as it was seen."""
        if record.stopped:
            await self._jobs.annotate(record.id, {STOPPED: False})
        declared, client = self._jobs.declared.get(record.name), self._jobs.client
        queue = record.queue or (DEFAULT_QUEUE if declared is None else declared.queue)
        with reached():
            if record.status is not JobStatus.FAILED:
                return await asyncio.to_thread(try_again, client, record.id, ENGINE_STATUS[record.status], queue)
            at = await self._failed_at(record.id)
            try:
                await client.rewind_workflow_async(record.id, start_step=at, queue_name=queue)
            except engine_errors.DBOSException:
                return False
        return True

    async def _cancelled_below(self, id_: str) -> list[JobRecord]:
        """Return the cancelled children of a job, and theirs."""
        found: list[JobRecord] = []
        above = [id_]
        while above:
            with reached():
                asked: dict[str, Any] = {"parent_workflow_id": above, "load_input": False, "load_output": False}
                below = await self._jobs.client.list_workflows_async(**asked)
            found += [one for one in map(record_of, below) if one.status in _ENDED_FROM_OUTSIDE]
            above = [one.workflow_id for one in below]
        return found

    async def _failed_at(self, id_: str) -> int:
        """Return the number of the step to go on from: the last one with the error of the job, or the next one."""
        client, form = self._jobs.client, JsonSerializer().serialize
        (job,) = await client.list_workflows_async(workflow_ids=[id_], load_input=False)
        failure = form(job.error)
        steps = await client.list_workflow_steps_async(id_)
        failed = [one["function_id"] for one in steps if one["error"] is not None and form(one["error"]) == failure]
        last = max(steps, key=lambda one: one["function_id"], default=None)
        if failed or last is None:
            return max(failed, default=1)
        return last["function_id"] + (0 if last["error"] else 1)


def _storable(text: str) -> bool:
    """Tell whether PostgreSQL could keep it: it refuses to be asked for anything else."""
    try:
        return "\0" not in text and bool(text.encode())
    except UnicodeEncodeError:
        return False


def _stopping(record: JobRecord) -> bool:
    """Tell whether the code of a job may still run that was ended from outside."""
    if record.status not in _ENDED_FROM_OUTSIDE or not record.attempts or record.stopped or record.finished_at is None:
        return False
    return (datetime.now(UTC) - record.finished_at).total_seconds() < STOP_S


async def _counted[T](items: AsyncIterator[T], limit: int) -> AsyncIterator[tuple[int, T]]:
    number = 0
    async for item in items:
        if number >= limit:
            return
        yield number, item
        number += 1
