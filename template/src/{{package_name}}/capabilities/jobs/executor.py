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
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, ClientScheduleInput
from sqlalchemy import Engine

from ...chassis.contracts.context import Context, entered
from ...chassis.contracts.errors import ServiceError
from ...chassis.contracts.identity import new_id
from ...chassis.contracts.json import Json
from ..database.settings import DatabaseSection
from .declarations import DEFAULT_QUEUE, Job, Queue, Schedule
from .engine import configuration, open_engine, sync_url
from .heartbeat import Heartbeat, Succession
from .internals import behind, hand_over
from .jobs import Jobs, key_id
from .leases import Leases
from .records import CORRELATION_ID, KEY, STOPPED, TRACEPARENT
from .running import RUN, Body, Interrupted, Run
from .settings import JobsSection

_WATCH_S = 1.0
"""How often a process asks which of its jobs were cancelled elsewhere, or have used up their time."""

_log = logging.getLogger(__name__)


class NotMigratedError(ServiceError):
    """The tables of the jobs are not what this version expects."""

    default_code = "not_migrated"


class AlreadyRunningError(ServiceError):
    """Another process runs the jobs of this SQLite file."""

    default_code = "jobs_locked"


class Executor:
    """Runs what `jobs` declares, from `start` to `stop`; one per process, since DBOS has one per process."""

    def __init__(self, jobs: Jobs, engine: Engine, section: JobsSection, database: DatabaseSection) -> None:
        """Take what to run and where it lies; nothing runs yet."""
        self.id = new_id("exe")
        self._jobs = jobs
        self._engine = engine
        self._section = section
        self._database = database
        self._runs: dict[str, Run] = {}
        self._held = ExitStack()
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to run jobs on this event loop; everything is declared by now.

        Raises:
            NotMigratedError: if `migrate` has not run.
            AlreadyRunningError: if another process runs the jobs of the same SQLite file.
        """
        if self._database.dialect == "sqlite":
            _lock(f"{sync_url(self._database).database}.jobs-lock", self._held)
        missing = await asyncio.to_thread(behind, self._jobs.client)
        if missing is not None:
            raise NotMigratedError(f"{missing}", user_message="The tables of the jobs are behind; run `migrate`.")
        heartbeat = await self._take_lease() if self._database.dialect == "postgresql" else None
        # Before the engine begins: it looks for queues only every second.
        await asyncio.to_thread(self._declare)
        self._launch()
        if heartbeat is None:
            await asyncio.to_thread(self._take_over_all)
        else:
            heartbeat.start()
        self._jobs.on_cancel = self._cancel
        self._watcher = asyncio.create_task(self._watch())
        _log.info("jobs_started", extra={"executor": self.id, "queues": sorted(self._jobs.queues)})

    async def stop(self) -> None:
        """Begin nothing more, let running jobs end for `drain_s`, and hand back what is left."""
        if self._watcher is None:
            return
        interrupting = asyncio.create_task(self._interrupt_later())
        # It waits for the jobs, which run on this loop; a second job of this kind is not to be had from its threads.
        patience_s = math.ceil(self._section.drain_s) + 5 if self._runs else 0
        await _in_thread(lambda: DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience_s))
        interrupting.cancel()
        self._interrupt()
        self._watcher.cancel()
        await asyncio.gather(interrupting, self._watcher, return_exceptions=True)
        # DBOS has lent its threads to the loop, and they have ended.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        left = await asyncio.to_thread(self._hand_over, self.id)
        await asyncio.to_thread(self._held.close)
        _log.info("jobs_stopped", extra={"executor": self.id, "handed_back": left})

    async def _interrupt_later(self) -> None:
        await asyncio.sleep(self._section.drain_s)
        self._interrupt()

    def _interrupt(self) -> None:
        for run in list(self._runs.values()):
            run.interrupt()

    def _cancel(self, id_: str) -> None:
        if id_ in self._runs and not self._runs[id_].cancelled:
            self._runs[id_].cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            asked: dict[str, Any] = {"workflow_ids": list(self._runs), "status": "CANCELLED"}
            if not self._runs:
                continue
            try:
                found = await self._jobs.client.list_workflows_async(**asked, load_input=False, load_output=False)
            except Exception as error:  # noqa: BLE001 - asked again soon
                _log.debug("jobs_not_watched", extra={"error": str(error)})
                continue
            for one in found:
                self._cancel(one.workflow_id)

    async def _take_lease(self) -> Heartbeat:
        engine = open_engine(self._database, connections=1)
        self._held.callback(engine.dispose)
        leases = Leases(engine, self._section.lease_s)
        await asyncio.to_thread(leases.take, self.id)
        self._held.callback(leases.release, self.id)
        succession = Succession(executors=self._executors, hand_over=self._hand_over, grace_s=self._section.grace_s)
        heartbeat = Heartbeat(leases, self.id, succession)
        self._held.callback(heartbeat.stop)
        return heartbeat

    def _launch(self) -> None:
        """Start the engine; from here on jobs run. It has to happen on the loop that jobs run on."""
        DBOS(config=configuration(self._engine, self.id, self._section.concurrency))
        for job in self._jobs.declared.values():
            self._offer(job)
        for schedule in self._jobs.schedules.values():
            self._offer_schedule(schedule)
        DBOS.launch()

    def _declare(self) -> None:
        """Tell the engine the queues and schedules there are, and forget the schedules of earlier releases."""
        client, schedules = self._jobs.client, self._jobs.schedules
        for queue in self._jobs.queues.values():
            self._open(queue)
        for known in client.list_schedules():
            if known["schedule_name"] not in schedules:
                client.delete_schedule(known["schedule_name"])
        client.apply_schedules([_entry(schedule) for schedule in schedules.values()])

    def _open(self, queue: Queue) -> None:
        self._jobs.client.register_queue(
            queue.name,
            global_concurrency=queue.concurrency,
            worker_concurrency=min(filter(None, (queue.per_process or self._section.concurrency, queue.concurrency))),
            limiter=None if queue.rate is None else {"limit": queue.rate[0], "period": queue.rate[1]},
            polling_interval_sec=self._section.poll_interval_s,
        )

    def _offer(self, job: Job) -> None:
        async def run(payload: Mapping[str, Json], surroundings: Mapping[str, Any]) -> Json:
            context = Context(
                surroundings.get(CORRELATION_ID) or new_id("cor"), surroundings.get(KEY), surroundings.get(TRACEPARENT)
            )
            with entered(context):
                return await self._run(job, payload)

        attempts = job.max_attempts or self._section.max_attempts
        DBOS.workflow(name=job.name, max_recovery_attempts=attempts - 1)(run)

    async def _run(self, job: Job, payload: Mapping[str, Json]) -> Json:
        task, id_ = asyncio.current_task(), DBOS.workflow_id
        if task is None or id_ is None:
            raise RuntimeError("a job runs as a task of the engine")
        run = self._runs[id_] = Run(id_, datetime.now(UTC), task)
        token = RUN.set(run)
        fields: dict[str, object] = {"job": job.name, "job_id": id_}
        outcome = "interrupted"
        try:
            result = await Body(job.function(id_, payload), run)
            outcome = "cancelled" if run.cancelled else "succeeded"
        except asyncio.CancelledError:
            outcome = "cancelled"
        except Interrupted:
            pass
        except Exception as error:
            fields |= {"error": f"{type(error).__name__}: {error}"}
            outcome = "failed"
            raise
        else:
            if not run.cancelled:
                return result
        finally:
            RUN.reset(token)
            self._runs.pop(id_, None)
            _log.log(logging.WARNING if outcome == "failed" else logging.INFO, f"job_{outcome}", extra=fields)
        if run.cancelled:
            with suppress(ServiceError):
                await self._jobs.annotate(id_, {STOPPED: True})
        raise asyncio.CancelledError

    def _offer_schedule(self, schedule: Schedule) -> None:
        async def fire(at: str, _: object) -> Json:
            id_ = key_id("job", schedule.name, at)
            await self._jobs.enqueue(schedule.job, {"scheduled_at": at, **schedule.payload}, id_=id_)
            return {"job": id_}

        DBOS.workflow(name=_workflow_name(schedule))(fire)

    def _executors(self) -> set[str]:
        """Return whoever runs jobs, as far as the engine knows (blocking)."""
        found = self._jobs.client.list_workflows(status="PENDING", load_input=False, load_output=False)
        return {one.executor_id for one in found if one.executor_id is not None}

    def _hand_over(self, executor_id: str) -> int:
        """Return the running jobs of an executor to their queues, and how many there were (blocking)."""
        client = self._jobs.client
        found = client.list_workflows(status="PENDING", executor_id=executor_id, load_input=False, load_output=False)
        return sum(hand_over(client, one.workflow_id, executor_id, DEFAULT_QUEUE) for one in found)

    def _take_over_all(self) -> None:
        for executor_id in sorted(self._executors() - {self.id}):
            _log.info("jobs_taken_over", extra={"executor": executor_id, "jobs": self._hand_over(executor_id)})


def _workflow_name(schedule: Schedule) -> str:
    return f"schedule_{schedule.name}"


def _entry(schedule: Schedule) -> ClientScheduleInput:
    return ClientScheduleInput(
        schedule_name=schedule.name,
        workflow_name=_workflow_name(schedule),
        schedule=schedule.cron,
        context=None,
        automatic_backfill=schedule.catch_up,
        cron_timezone=schedule.timezone,
        queue_name=DEFAULT_QUEUE,
    )


def _lock(path: str, until: ExitStack) -> None:
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until.callback(os.close, opened)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"Another process runs the jobs of this SQLite file ({path} is locked); stop it, or use PostgreSQL."
        raise AlreadyRunningError(message, user_message=message) from error


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
