"""Runner: long work of the objects as durable jobs; the id of a job is that of its envelope."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from ...chassis.contracts.context import Context, entered
from ...chassis.contracts.envelope import Pending
from ...chassis.contracts.identity import new_id
from ...chassis.contracts.json import Json
from ...chassis.contracts.work import Work
from ...chassis.work import InProcessRunner
from ..database.envelopes import DatabaseStore
from .jobs import Jobs
from .management import JobManagement
from .records import JobRecord

STOP_S = 10.0
"""How long the code of a cancelled job may take to end before nobody believes any more that it runs."""

_FIRST_S, _LONGEST_S = 0.05, 1.0

type Pause = Callable[[float], Awaitable[None]]


class DurableRunner:
    """Runs work that outlives the process: what was begun is begun again when the process that ran it has ended.

    That is for processes that stay. In one that makes a single call, work runs where the call is, and ends with it.
    """

    def __init__(
        self, jobs: Jobs, store: DatabaseStore, stop: Callable[[], Awaitable[None]], pause: Pause = asyncio.sleep
    ) -> None:
        """Take the jobs, where envelopes are kept, and what ends the jobs that run in this process."""
        self._jobs = jobs
        self._store = store
        self._stop = stop
        self._pause = pause
        self._management = JobManagement(jobs)
        self._brief = InProcessRunner(store)
        self.stays = False

    def register(self, name: str, work: Work) -> None:
        """Tell what to call for submissions under `name`."""
        self._jobs.register(name, work)
        self._brief.register(name, work)

    async def submit(self, name: str, envelope: Pending, payload: Mapping[str, Json]) -> None:
        """Keep the envelope and its work in one transaction; a second submission of one id changes nothing."""
        if not self.stays:
            await self._brief.submit(name, envelope, payload)
            return
        async with self._store.database.writing() as connection:
            await self._store.save_in(connection, envelope)
            await self._jobs.enqueue_in(connection, name, payload, id_=envelope.id)

    async def wait(self, id_: str) -> None:
        """Return when the work has ended, wherever it runs."""
        await self._brief.wait(id_)
        await self._until(id_, lambda record: record.status.finished, limit=None)

    async def cancel(self, id_: str) -> None:
        """Stop the work and wait until it has stopped.

        Where no process runs it, it is begun here with nothing but its cancellation ahead, so that it writes its end.
        """
        await self._brief.cancel(id_)
        record = await self._management.find(id_)
        if record is None or record.status.finished:
            return
        await self._management.cancel(id_)
        limit = time.monotonic() + STOP_S
        last = await self._until(id_, lambda now: now.stopped or not now.attempts, limit=limit)
        if last is not None and not last.stopped:
            await self._end(last)

    async def aclose(self) -> None:
        """Run nothing more in this process, and return when nothing runs here any more."""
        await self._brief.aclose()
        await self._stop()

    async def _until(self, id_: str, enough: Callable[[JobRecord], bool], *, limit: float | None) -> JobRecord | None:
        pause_s = _FIRST_S
        while True:
            record = await self._management.find(id_)
            if record is None or enough(record) or (limit is not None and time.monotonic() > limit):
                return record
            await self._pause(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_S)

    async def _end(self, record: JobRecord) -> None:
        work = self._jobs.declared[record.name].function
        payload = await self._management.payload(record.id)
        with entered(Context(record.correlation_id or new_id("cor"), None, record.traceparent)):
            task = asyncio.ensure_future(work(record.id, payload))
        await asyncio.sleep(0)  # a task that is cancelled before its first step never runs
        task.cancel()
        await asyncio.wait([task])
