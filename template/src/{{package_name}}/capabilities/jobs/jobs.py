"""Jobs: what a service declares and enqueues, in every process, whether it runs jobs or not.

A job that is enqueued inside another one is its child: it ends with it when that is cancelled, and is enqueued once,
however often the parent is begun. Fan-out is enqueueing several, fan-in is awaiting their results, order is awaiting
one before enqueueing the next, or a queue with a concurrency of 1.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from dbos import DBOS, DBOSClient, EnqueueOptions, WorkflowHandleAsync
from dbos import error as engine_errors
from sqlalchemy import Connection, exc
from sqlalchemy.ext.asyncio import AsyncConnection

from ...chassis.contracts.context import current, id_of_key
from ...chassis.contracts.errors import RequestError, StorageUnavailableError
from ...chassis.contracts.identity import new_id
from ...chassis.contracts.json import Json
from ..database.failures import unavailability
from .declarations import DEFAULT_QUEUE, Job, JobFunction, Queue, Schedule
from .engine import teach_time
from .records import CALLER, CORRELATION_ID, KEY, NOTE, PROGRESS, TRACEPARENT
from .running import RUN

PRIORITY = 100
"""Of a job that states none; lower ones run first."""


class Jobs:
    """The jobs of this service; safe to share between tasks of one event loop."""

    def __init__(self, client: DBOSClient) -> None:
        """Take the way to the engine; nothing is connected yet."""
        self.client = client
        self.declared: dict[str, Job] = {}
        self.queues: dict[str, Queue] = {DEFAULT_QUEUE: Queue(name=DEFAULT_QUEUE)}
        self.schedules: dict[str, Schedule] = {}
        self.on_cancel: Callable[[str], None] = lambda _: None

    def register(self, name: str, function: JobFunction, **options: Any) -> None:
        """Declare what to run under a name; the options are those of `Job`."""
        self.declared[name] = Job(name=name, function=function, **options)

    def add_queue(self, queue: Queue) -> None:
        """Declare a queue."""
        self.queues[queue.name] = queue

    def add_schedule(self, schedule: Schedule) -> None:
        """Declare a schedule."""
        self.schedules[schedule.name] = schedule

    async def enqueue(
        self,
        name: str,
        payload: Mapping[str, Json],
        *,
        id_: str | None = None,
        delay_s: float | None = None,
        priority: int = PRIORITY,
    ) -> str:
        """Have a job run soon and return its id; one that exists already is not enqueued again.

        Without `id_`, the same Idempotency-Key of the same caller gives the same id to the same job each time.

        Raises:
            StorageUnavailableError: if it could not be stored.
        """
        options = self._options(name, id_, delay_s, priority)
        arguments = dict(payload), _surroundings()
        with reached():
            if RUN.get() is None:
                await self.client.enqueue_async(options, *arguments)
            else:
                await DBOS.enqueue_workflow_with_options_async(options, *arguments)
        return options["workflow_id"]

    async def enqueue_in(
        self,
        connection: AsyncConnection,
        name: str,
        payload: Mapping[str, Json],
        *,
        id_: str | None = None,
        delay_s: float | None = None,
        priority: int = PRIORITY,
    ) -> str:
        """Enqueue inside a transaction of the database: the job runs if, and only if, the transaction is committed."""
        options = self._options(name, id_, delay_s, priority)
        arguments = dict(payload), _surroundings()

        def write(within: Connection) -> None:
            if within.dialect.name == "sqlite":
                teach_time(within.connection.dbapi_connection)
            self.client.enqueue_in_transaction(within, options, *arguments)

        await connection.run_sync(write)
        return options["workflow_id"]

    def _options(self, name: str, id_: str | None, delay_s: float | None, priority: int) -> EnqueueOptions:
        job = self.declared[name]
        options = EnqueueOptions(
            workflow_name=name,
            queue_name=job.queue,
            workflow_id=id_ or _id_for(name),
            priority=priority,
            attributes={key: value for key, value in _surroundings().items() if key not in (KEY, CALLER)},
        )
        if delay_s is not None:
            options["delay_seconds"] = delay_s
        if job.timeout_s is not None:
            options["workflow_timeout"] = job.timeout_s
        return options

    async def result(self, id_: str) -> Json:
        """Return what a job returned, when it has ended; raise what it raised."""
        with reached():
            if RUN.get() is not None:
                found: Json = await DBOS.get_result_async(id_)
                return found
            handle: WorkflowHandleAsync[Json] = await self.client.retrieve_workflow_async(id_)
            return await handle.get_result()

    async def progress(self, fraction: float, note: str | None = None) -> None:
        """Tell how far the job has come that runs here, from 0 to 1; outside a job nothing happens.

        What cannot be stored is lost: no job fails because of that.
        """
        run = RUN.get()
        if run is not None:
            told = {PROGRESS: fraction} | ({} if note is None else {NOTE: note.replace("\0", "")})
            with suppress(StorageUnavailableError):
                await self.annotate(run.id, told)

    async def annotate(self, id_: str, attributes: Mapping[str, Json]) -> None:
        """Add attributes to a job."""
        with reached():
            await self.client.update_workflow_attributes_async(id_, dict(attributes), merge=True)


@contextmanager
def reached() -> Iterator[None]:
    """Turn what says that the database cannot be asked into an error of this service."""
    try:
        yield
    except engine_errors.DBOSNonExistentWorkflowError as error:
        raise RequestError("No job has this id.", code="not_found", location="path") from error
    except engine_errors.DBOSQueryTimeoutError as error:
        raise StorageUnavailableError(str(error)) from error
    except (exc.DBAPIError, exc.TimeoutError) as error:
        reason = unavailability(error)
        if reason is None:
            raise
        raise StorageUnavailableError(reason) from error


def _surroundings() -> dict[str, Json]:
    """Return what leads from a job back to the request that asked for it."""
    context = current()
    known = {CORRELATION_ID: context.correlation_id, TRACEPARENT: context.traceparent}
    known |= {KEY: context.idempotency_key, CALLER: context.caller}
    return {key: value for key, value in known.items() if value is not None}


def _id_for(name: str) -> str:
    run = RUN.get()
    return run.child_id() if run is not None else id_of_key("job", name) or new_id("job")


def key_id(prefix: str, *parts: str) -> str:
    """Return the same id for the same parts, such as the name of a schedule and a time."""
    return f"{prefix}_{hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:40]}"
