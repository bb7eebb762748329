"""Executor: runs jobs in this process, and takes over those of processes that ended.

On SQLite one process holds the lock of the file: whatever others began is its own from the start. On PostgreSQL there
may be many, and leases say who is alive.
"""

import asyncio
import fcntl
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from ...chassis.contracts.errors import ServiceError, StorageUnavailableError
from ...chassis.contracts.identity import new_id
from ...chassis.contracts.json import Json
from ..database.settings import DatabaseSection
from .declarations import Job, Schedule
from .engine import configuration, open_engine, quiet, sync_url
from .heartbeat import Heartbeat, Succession
from .internals import behind
from .jobs import Jobs, reached
from .leases import Leases
from .runs import Runs
from .schedules import declare, firing, keep_declaring
from .settings import JobsSection
from .takeover import executors, hand_over_all, put_all_back

_SETTLE_S = 5
"""How long the engine waits for jobs that were interrupted."""

_log = logging.getLogger(__name__)


class NotMigratedError(ServiceError):
    """The tables of the jobs are not what this version expects."""

    default_code = "not_migrated"
    default_retryable = True


class AlreadyRunningError(ServiceError):
    """Another process runs the jobs of this SQLite file."""

    default_code = "jobs_locked"


class Executor:
    """Runs what `jobs` declares, from `start` to `stop`; one per process, since DBOS has one per process."""

    def __init__(self, jobs: Jobs, section: JobsSection, database: DatabaseSection) -> None:
        """Take what to run and where it lies; nothing runs yet."""
        self.id = new_id("exe")
        self._jobs = jobs
        self._section = section
        self._database = database
        self._runs = Runs(jobs, self.id)
        self._held = ExitStack()
        self._elsewhere: Callable[[], set[str]] = set
        self._watching: asyncio.Future[Any] | None = None
        self._launched = False

    async def start(self) -> None:
        """Begin to run jobs on this event loop; everything is declared by now.

        Raises:
            NotMigratedError: if `migrate` has not run.
            AlreadyRunningError: if another process runs the jobs of the same SQLite file.
            StorageUnavailableError: if the database cannot be asked.
        """
        try:
            with reached(told=True):
                await self._start()
        except BaseException:
            if self._launched:
                await _in_thread(lambda: DBOS.destroy(destroy_registry=True))
            await asyncio.to_thread(self._held.close)
            raise
        self._jobs.on_cancel = self._runs.cancel
        declaring = keep_declaring(partial(declare, self._jobs, self._elsewhere))
        self._watching = asyncio.gather(self._runs.watch(), declaring)
        _log.info("jobs_started", extra={"executor": self.id, "queues": sorted(self._jobs.queues)})

    async def _start(self) -> None:
        client = self._jobs.client
        if self._database.dialect == "sqlite":
            _lock(f"{sync_url(self._database).database}.jobs-lock", self._held)
        missing = await asyncio.to_thread(behind, client)
        if missing is not None:
            raise NotMigratedError(missing, user_message="The tables of the jobs are behind; run `migrate`.")
        heartbeat = await asyncio.to_thread(self._take_lease) if self._database.dialect == "postgresql" else None
        # Before the engine begins: it looks for queues only every second.
        await asyncio.to_thread(self._declare)
        self._launch()
        if heartbeat is not None:
            heartbeat.start()
            return
        # The lock of the file says that nobody else is alive.
        for executor_id in sorted(await asyncio.to_thread(executors, client) - {self.id}):
            jobs = await asyncio.to_thread(hand_over_all, client, executor_id)
            _log.info("jobs_taken_over", extra={"executor": executor_id, "jobs": jobs})

    async def stop(self) -> None:
        """Begin nothing more, let running jobs end for `drain_s`, and hand back what is left; twice does no harm."""
        watching, self._watching = self._watching, None
        if watching is None:
            return
        patience_s = math.ceil(self._section.drain_s) + _SETTLE_S if self._runs else 0
        interrupting = asyncio.create_task(self._interrupt_later())
        # It waits for the jobs, which need this loop, and ends the threads that the loop has from it.
        await _in_thread(lambda: DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience_s))
        self._runs.interrupt()
        watching.cancel()
        interrupting.cancel()
        await asyncio.gather(interrupting, watching, return_exceptions=True)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        left = 0
        try:
            left = await asyncio.to_thread(put_all_back, self._jobs.client, self.id)
        except SQLAlchemyError as error:
            _log.warning("jobs_not_handed_back", extra={"error": f"{type(error).__name__}: {error}"})
        await asyncio.to_thread(self._held.close)
        _log.info("jobs_stopped", extra={"executor": self.id, "handed_back": left})

    async def _interrupt_later(self) -> None:
        await asyncio.sleep(self._section.drain_s)
        self._runs.interrupt()

    def _take_lease(self) -> Heartbeat:
        engine = open_engine(self._database, connections=2)
        self._held.callback(engine.dispose)
        leases = Leases(engine, self._section.lease_s, self._section.grace_s)
        leases.take(self.id, self._jobs.schedules)
        self._held.callback(_release, leases, self.id)
        self._elsewhere = leases.schedules
        client = self._jobs.client
        succession = Succession(executors=partial(executors, client), hand_over=partial(hand_over_all, client))
        heartbeat = Heartbeat(leases, self.id, succession)
        self._held.callback(heartbeat.stop)
        return heartbeat

    def _declare(self) -> None:
        """Tell the engine the queues and schedules there are."""
        client = self._jobs.client
        for queue in self._jobs.queues.values():
            per_process = queue.per_process or self._section.concurrency
            client.register_queue(
                queue.name,
                global_concurrency=queue.concurrency,
                worker_concurrency=min(per_process, queue.concurrency or per_process),
                limiter=None if queue.rate is None else {"limit": queue.rate[0], "period": queue.rate[1]},
                polling_interval_sec=queue.poll_interval_s or self._section.poll_interval_s,
            )
        declare(self._jobs, self._elsewhere)

    def _launch(self) -> None:
        """Start the engine; from here on jobs run. It has to happen on the loop that jobs run on."""
        self._launched = True
        # It finds out by itself that a connection is gone, and asks the database several times a second.
        engine = open_engine(self._database, tested=False)
        self._held.callback(engine.dispose)
        DBOS(config=configuration(engine, self.id, self._section.concurrency))
        quiet()
        for job in self._jobs.declared.values():
            self._offer(job)
        for schedule in self._jobs.schedules.values():
            self._offer_schedule(schedule)
        DBOS.launch()

    def _offer(self, job: Job) -> None:
        self._runs.known.add(job.name)

        async def run(payload: Mapping[str, Json], surroundings: Mapping[str, Any]) -> Json:
            return await self._runs.perform(job, payload, surroundings)

        attempts = job.max_attempts or self._section.max_attempts
        DBOS.workflow(name=job.name, max_recovery_attempts=attempts - 1)(run)

    def _offer_schedule(self, schedule: Schedule) -> None:
        job = firing(self._jobs, schedule)
        self._runs.known.add(job.name)

        async def run(at: str, _: object) -> Json:
            return await self._runs.perform(job, {"at": at}, {})

        DBOS.workflow(name=job.name)(run)


def _release(leases: Leases, executor_id: str) -> None:
    with suppress(SQLAlchemyError):  # it lapses
        leases.release(executor_id)


def _lock(path: str, until: ExitStack) -> None:
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until.callback(os.close, opened)
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"Another process runs the jobs of this SQLite file ({path} is locked); stop it, or use PostgreSQL."
        raise AlreadyRunningError(message, user_message=message) from error
    except OSError as error:
        raise StorageUnavailableError(f"{type(error).__name__}: {error}") from error


async def _in_thread(work: Callable[[], None]) -> None:
    """Await blocking work in a thread of its own."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def run() -> None:
        try:
            work()
        finally:
            loop.call_soon_threadsafe(done.set_result, None)

    threading.Thread(target=run, name="jobs-stop", daemon=True).start()
    await done
