"""Serving: which processes run jobs.

On SQLite, `serve` does, in the same process: one machine, one file, one lock. On PostgreSQL, `serve` only enqueues, and
`worker` runs them, as many as are started.
"""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from ...chassis.config.settings import Settings
from ...chassis.container import Container
from ...chassis.contracts.errors import ServiceError, StorageUnavailableError
from ...chassis.contracts.work import LongWork
from ...chassis.identity import SERVICE
from ...chassis.metrics import Metrics
from ..database.database import Database
from ..database.settings import DatabaseSection
from .engine import open_client, open_engine, sync_url
from .executor import Executor
from .internals import behind
from .jobs import Jobs, reached
from .management import JobManagement
from .retention import keep_deleting
from .runner import DurableRunner
from .settings import JobsSection
from .waiting import JobMetrics, keep_looking
from .webhooks import NAME as WEBHOOK
from .webhooks import QUEUE as WEBHOOKS
from .webhooks import AnnouncingStore, Deliveries

_ASK_AGAIN_S = 2.0
_log = logging.getLogger(__name__)


def open_jobs(container: Container, settings: Settings) -> None:
    """Provide the jobs, what runs them, and long work that runs on them."""
    database, section = settings[DatabaseSection], settings[JobsSection]
    engine = open_engine(database)
    jobs = container.provide(Jobs, Jobs(open_client(engine)))
    container.provide(JobManagement, JobManagement(jobs))
    executor = container.provide(Executor, Executor(jobs, section, database))
    store = AnnouncingStore(
        container[Database],
        jobs,
        compress_over_bytes=database.compress_over_bytes,
        durable=lambda id_: id_ not in container[DurableRunner].brief,
    )
    if section.webhook.url is not None:
        deliveries = Deliveries(section.webhook)
        container.on_close(deliveries.aclose)
        jobs.add_queue(WEBHOOKS)
        jobs.register(WEBHOOK, deliveries.deliver, queue=WEBHOOKS.name)
    runner = container.provide(DurableRunner, DurableRunner(jobs, store, executor.stop))
    container.provide(LongWork, LongWork(runner, store, "durable", uploads_folder(section, database)))

    async def close() -> None:
        await executor.stop()
        await asyncio.to_thread(engine.dispose)

    async def ping() -> None:
        with reached():
            missing = await asyncio.to_thread(behind, jobs.client)
        if missing is not None:
            raise StorageUnavailableError(missing)

    container.on_close(close)
    container.add_ping("jobs", ping)


def uploads_folder(section: JobsSection, database: DatabaseSection) -> Path:
    """Return where uploads wait that jobs may still need; without a setting, beside the file of SQLite."""
    if section.uploads_dir is not None:
        return section.uploads_dir
    file = sync_url(database).database if database.dialect == "sqlite" else None
    return Path(f"{file}.uploads") if file else Path(tempfile.gettempdir()) / f"{SERVICE}-uploads"


@asynccontextmanager
async def running_jobs(container: Container, settings: Settings) -> AsyncIterator[None]:
    """Run jobs during the block; everything is declared by now.

    At its end, or earlier as soon as the service is about to stop, they are drained, or handed back: the last requests
    and the last jobs have the time until the end together.
    """
    executor = container[Executor]
    await executor.start()
    deleting = asyncio.create_task(keep_deleting(container[Jobs], settings[JobsSection].retention_days))
    ending = asyncio.create_task(_end_with(container, executor))
    try:
        yield
    finally:
        deleting.cancel()
        if not container.stopping.begun:
            ending.cancel()
            await executor.stop()
        await asyncio.gather(ending, return_exceptions=True)


async def _end_with(container: Container, executor: Executor) -> None:
    while await container.stopping.pause(3600):
        pass
    await executor.stop()


@asynccontextmanager
async def beside_server(container: Container, settings: Settings) -> AsyncIterator[None]:
    """Run jobs while `serve` serves, where that is the process that does; elsewhere, jobs are only enqueued."""
    container[DurableRunner].stays = True
    looking = asyncio.create_task(keep_looking(container[Jobs], container[Metrics].of(JobMetrics)))
    try:
        async with running_jobs(container, settings) if _embeds(settings) else nullcontext():
            yield
    finally:
        looking.cancel()


def _embeds(settings: Settings) -> bool:
    return settings[DatabaseSection].dialect == "sqlite"


async def run_until(container: Container, settings: Settings) -> None:
    """Run jobs until the service is about to stop, waiting for the database and its migration where need be."""
    container[DurableRunner].stays = True
    told = False
    while True:
        try:
            async with running_jobs(container, settings):
                _log.info("worker_started")
                while await container.stopping.pause(3600):
                    pass
        except ServiceError as error:
            if not error.retryable:
                raise
            if not told:
                _log.warning("worker_waiting", extra={"error": str(error)})
            told = True
            if await container.stopping.pause(_ASK_AGAIN_S):
                continue
        return
