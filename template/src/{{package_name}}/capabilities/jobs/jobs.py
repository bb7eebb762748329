"""Jobs: what a service declares and enqueues, in every process, whether it runs jobs or not.

A job that is enqueued inside another one is its child: it ends with it when that is cancelled, and is enqueued once,
however often the parent is begun. Fan-out is enqueueing several, fan-in is awaiting their results, order is awaiting
one before enqueueing the next, or a queue with a concurrency of 1. A job that was enqueued with `enqueue_in`, or inside
a step, is enqueued once as well, but is no child: it stands for itself, and nobody's cancellation is its own.
"""

import asyncio
import hashlib
import json
import logging
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
from .internals import given, outcome_of
from .records import CALLER, CORRELATION_ID, KEY, NOTE, PROGRESS, TRACEPARENT
from .running import RUN, between_steps, owned, step
from .serializer import JsonSerializer

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # commands say what is wrong, once

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

        Without `id_`, the same Idempotency-Key of the same caller gives the same id to the same job each time. Several
        jobs of a name in one request have to be given ids of their own.

        Raises:
            RequestError: `conflict`, if the key has given its id to a job with another payload.
            StorageUnavailableError: if it could not be stored.
        """
        options = self._options(name, id_, delay_s, priority)
        arguments = dict(payload), _surroundings()
        run, by_key = between_steps(), _by_key(id_)

        def write() -> None:
            self.client.enqueue(options, *arguments)
            if by_key:
                _refuse_another(options["workflow_id"], payload, given(self.client, options["workflow_id"]))

        with reached():
            if run is None:
                await asyncio.to_thread(write)
            else:
                async with owned(run):
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
        """Enqueue inside a transaction of the database: the job runs if, and only if, the transaction is committed.

        Raises:
            RequestError: as `enqueue`.
        """
        options = self._options(name, id_, delay_s, priority)
        arguments = dict(payload), _surroundings()
        by_key = _by_key(id_)

        def write(within: Connection) -> None:
            if within.dialect.name == "sqlite":
                teach_time(within.connection.dbapi_connection)
            self.client.enqueue_in_transaction(within, options, *arguments)
            if by_key:
                _refuse_another(options["workflow_id"], payload, given(self.client, options["workflow_id"], within))

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
        """Return what a job returned, when it has ended; raise what it raised.

        Raises:
            RequestError: `not_found`, if no job has this id, or it has been deleted.
        """
        if between_steps() is not None:
            return await step(_awaited, id_, name="result")
        with reached():
            handle: WorkflowHandleAsync[Json] = await self.client.retrieve_workflow_async(id_)
            return await handle.get_result()

    async def progress(self, fraction: float, note: str | None = None) -> None:
        """Tell how far the job has come that runs here, from 0 to 1; outside a job nothing happens.

        No job fails because of that: what is beyond either end is that end, what is no number is 0, what cannot be
        stored is lost.
        """
        run = RUN.get()
        if run is not None:
            told: dict[str, Json] = {PROGRESS: min(1.0, max(0.0, fraction))}
            if note is not None:
                told[NOTE] = note.replace("\0", "").encode(errors="replace").decode()
            with suppress(StorageUnavailableError):
                await self.annotate(run.id, told)

    async def annotate(self, id_: str, attributes: Mapping[str, Json]) -> None:
        """Add attributes to a job."""
        with reached():
            await self.client.update_workflow_attributes_async(id_, dict(attributes), merge=True)


@contextmanager
def reached(*, told: bool = False) -> Iterator[None]:
    """Turn what says that the database cannot be asked into an error of ours; log it unless it is `told` elsewhere."""
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
        if not told:
            _log.warning("database_unavailable", extra={"error": reason})
        raise StorageUnavailableError(reason) from error


def _surroundings() -> dict[str, Json]:
    """Return what leads from a job back to the request that asked for it."""
    context = current()
    known = {CORRELATION_ID: context.correlation_id, TRACEPARENT: context.traceparent}
    known |= {KEY: context.idempotency_key, CALLER: context.caller}
    return {key: value for key, value in known.items() if value is not None}


async def _awaited(id_: str) -> Json:
    with reached():
        found: Json = await outcome_of(id_)
        return found


def _by_key(id_: str | None) -> bool:
    return id_ is None and RUN.get() is None and current().idempotency_key is not None


def _refuse_another(id_: str, payload: Mapping[str, Json], stored: Any) -> None:
    """Have no job vanish behind one that the same Idempotency-Key has asked for."""
    if stored is not None and json.loads(JsonSerializer().serialize(dict(payload))) != stored:
        message = (
            f"The Idempotency-Key of this request has asked for another job already ({id_}), with another payload."
        )
        raise RequestError(message, code="conflict", location="header")


def _id_for(name: str) -> str:
    run = RUN.get()
    return run.child_id() if run is not None else id_of_key("job", name) or new_id("job")


def key_id(prefix: str, *parts: str) -> str:
    """Return the same id for the same parts, such as the name of a schedule and a time."""
    return f"{prefix}_{hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:40]}"
