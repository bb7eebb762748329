"""Serving: which processes run jobs.

On SQLite, `serve` does, in the same process: one machine, one file, one lock. On PostgreSQL, `serve` only enqueues, and
`worker` runs them, as many as are started.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...chassis.config.settings import Settings
from ...chassis.container import Container
from ..database.settings import DatabaseSection
from .engine import open_client, open_engine
from .executor import Executor
from .internals import behind
from .jobs import Jobs
from .management import JobManagement
from .retention import keep_deleting
from .runner import DurableRunner
from .settings import JobsSection


def open_jobs(container: Container, settings: Settings) -> None:
    """Provide the jobs, what runs them, and what long work runs on."""
    database, section = settings[DatabaseSection], settings[JobsSection]
    engine = open_engine(database)
    jobs = container.provide(Jobs, Jobs(open_client(engine)))
    container.provide(JobManagement, JobManagement(jobs))
    container.provide(DurableRunner, DurableRunner(jobs))
    container.provide(Executor, Executor(jobs, engine, section, database))

    async def close() -> None:
        await asyncio.to_thread(engine.dispose)

    async def ping() -> None:
        missing = await asyncio.to_thread(behind, jobs.client)
        if missing is not None:
            raise RuntimeError(missing)

    container.on_close(close)
    container.add_ping("jobs", ping)


def embeds(settings: Settings) -> bool:
    """Tell whether `serve` runs jobs itself."""
    return settings[DatabaseSection].dialect == "sqlite"


@asynccontextmanager
async def running_jobs(container: Container, settings: Settings) -> AsyncIterator[None]:
    """Run jobs during the block; everything is declared by now. At its end they are drained, or handed back."""
    executor, section = container[Executor], settings[JobsSection]
    await executor.start()
    deleting = asyncio.create_task(keep_deleting(container[Jobs], section.retention_days))
    try:
        yield
    finally:
        deleting.cancel()
        await executor.stop()
