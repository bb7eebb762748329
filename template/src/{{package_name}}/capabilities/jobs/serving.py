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
from .endings import keep_ending
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
        with reached(told=True):
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
    """Run jobs during the block, once the database is there and migrated; everything is declared by now.

    At its end, or earlier as soon as the service is about to stop, they are drained, or handed back: the last requests
    and the last jobs have the time until the end together.

    Raises:
        ServiceError: if it is of no use to wait.
    """
    executor = container[Executor]
    obstacle = await _obstacle(executor, None)
    running = asyncio.create_task(_run(container, settings, executor, obstacle))
    try:
        yield
    finally:
        if not container.stopping.begun:
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await executor.stop()


async def _run(container: Container, settings: Settings, executor: Executor, obstacle: str | None) -> None:
    """Run jobs until the service is about to stop; as long as something is in the way, try again and again."""
    while obstacle is not None:
        if not await container.stopping.pause(_ASK_AGAIN_S):
            return
        obstacle = await _obstacle(executor, obstacle)
    deleting = asyncio.create_task(keep_deleting(container[Jobs], settings[JobsSection].retention_days))
    ending = asyncio.create_task(keep_ending(container[JobManagement]))
    try:
        while await container.stopping.pause(3600):
            pass
    finally:
        deleting.cancel()
        ending.cancel()
    await executor.stop()


async def _obstacle(executor: Executor, known: str | None) -> str | None:
    """Start to run jobs; return what is in the way, and tell of it unless it is known."""
    try:
        await executor.start()
    except Exception as error:
        if known is None and not (isinstance(error, ServiceError) and error.retryable):
            raise
        reason = str(error) if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"
        if reason != known:
            _log.warning("jobs_waiting", extra={"error": reason})
        return reason
    return None


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


async def run_until_stopped(container: Container, settings: Settings) -> None:
    """Run jobs until the service is about to stop."""
    container[DurableRunner].stays = True
    async with running_jobs(container, settings):
        while await container.stopping.pause(3600):
            pass
