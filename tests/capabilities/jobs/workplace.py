"""A place where jobs are declared, enqueued and run in the process of the tests; each job does what a test says."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from object_service.capabilities.database.database import Database
from object_service.capabilities.database.settings import DatabaseSection
from object_service.capabilities.jobs.declarations import Queue
from object_service.capabilities.jobs.engine import open_client, open_engine
from object_service.capabilities.jobs.executor import Executor
from object_service.capabilities.jobs.jobs import Jobs
from object_service.capabilities.jobs.management import JobManagement
from object_service.capabilities.jobs.records import JobRecord, JobStatus
from object_service.capabilities.jobs.settings import JobsSection
from object_service.chassis.contracts.json import Json

WITHIN_S = 20


@dataclass(slots=True)
class Workplace:
    """Jobs, those who look after them, and the process that can run them; `code` is what jobs do, by name."""

    section: DatabaseSection
    jobs: Jobs
    management: JobManagement
    executor: Executor
    database: Database
    code: dict[str, Any] = field(default_factory=dict)

    @property
    def engine_table(self) -> str:
        """Return the name of the table in which the engine keeps jobs."""
        return "workflow_status" if self.database.dialect == "sqlite" else "dbos.workflow_status"

    async def begin(self, code: Any, payload: Mapping[str, Json] | None = None, **options: Any) -> str:
        """Enqueue a job that does what `code` says, by default as the job `any`, and return its id."""
        name = options.pop("name", "any")
        return await self.jobs.enqueue(name, self.payload(code, payload), **options)

    def payload(self, code: Any, payload: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """Return the payload of a job that does what `code` says."""
        key = f"{code.__name__} {id(code)}"
        self.code[key] = code
        return {"code": key, **(payload or {})}

    async def does(self, id_: str, payload: Mapping[str, Json]) -> Json:
        """Be the code of every job."""
        found: Json = await self.code[str(payload["code"])](id_, payload)
        return found

    async def ended(self, id_: str) -> JobRecord:
        """Return a job when it has ended."""
        return await self.stands(id_, *(status for status in JobStatus if status.finished))

    async def stands(self, id_: str, *statuses: JobStatus) -> JobRecord:
        """Return a job as soon as it stands so."""
        return await self._once(id_, lambda record: record.status in statuses)

    async def stopped(self, id_: str) -> JobRecord:
        """Return a cancelled job when its code has ended."""
        return await self._once(id_, lambda record: bool(record.stopped))

    async def _once(self, id_: str, enough: Callable[[JobRecord], bool]) -> JobRecord:
        record = await self.management.until(id_, enough, within_s=WITHIN_S)
        assert record is not None
        assert enough(record), record
        return record

    async def outcome(self, code: Any, payload: Mapping[str, Json] | None = None, **options: Any) -> JobRecord:
        """Run a job and return how it ended."""
        return await self.ended(await self.begin(code, payload, **options))


@contextmanager
def noted(seen: list[str]) -> Iterator[None]:
    """Note by name what ends a block before its time."""
    try:
        yield
    except BaseException as error:
        seen.append(type(error).__name__)
        raise


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Workplace]:
    """Yield a place where nothing runs yet; whatever was started is stopped."""
    section = DatabaseSection(url=url)
    engine = open_engine(section)
    jobs, database = Jobs(open_client(engine)), Database(section)
    executor = Executor(jobs, JobsSection(**{"poll_interval_s": 0.05, "drain_s": 0, **settings}), section)
    workplace = Workplace(section, jobs, JobManagement(jobs), executor, database)
    for queue in (Queue(name="line", concurrency=1), Queue(name="rated", rate=(3, 1.0))):
        jobs.add_queue(queue)
    jobs.register("any", workplace.does)
    jobs.register("brief", workplace.does, timeout_s=0.3)
    jobs.register("in-line", workplace.does, queue="line")
    jobs.register("rated", workplace.does, queue="rated")
    try:
        yield workplace
    finally:
        await executor.stop()
        await database.aclose()
        engine.dispose()
