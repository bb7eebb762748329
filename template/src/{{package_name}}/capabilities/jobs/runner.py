"""Runner: long work of the objects as durable jobs; the id of a job is that of its envelope."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from ...chassis.contracts.envelope import Pending
from ...chassis.contracts.errors import RequestError
from ...chassis.contracts.json import Json
from ...chassis.contracts.work import Work
from ...chassis.work import InProcessRunner
from ..database.envelopes import DatabaseStore
from .jobs import Jobs
from .management import JobManagement


class DurableRunner:
    """Runs work that outlives the process: what was begun is begun again when the process that ran it has ended.

    That is for processes that stay. In one that makes a single call, work runs where the call is, and ends with it:
    `brief` has the ids of such work.
    """

    def __init__(self, jobs: Jobs, store: DatabaseStore, stop: Callable[[], Awaitable[None]]) -> None:
        """Take the jobs, where envelopes are kept, and what ends the jobs that run in this process."""
        self._jobs = jobs
        self._store = store
        self._stop = stop
        self._management = JobManagement(jobs)
        self._brief = InProcessRunner(store)
        self.stays = False
        self.brief = set[str]()

    def register(self, name: str, work: Work) -> None:
        """Tell what to call for submissions under `name`."""
        self._jobs.register(name, work, give_up=work.give_up)
        self._brief.register(name, work)

    async def submit(self, name: str, envelope: Pending, payload: Mapping[str, Json]) -> None:
        """Keep the envelope and its work in one transaction; a second submission of one id changes nothing."""
        if not self.stays:
            self.brief.add(envelope.id)
            await self._brief.submit(name, envelope, payload)
            return
        async with self._store.database.writing() as connection:
            await self._store.save_in(connection, envelope)
            await self._jobs.enqueue_in(connection, name, payload, id_=envelope.id)

    async def wait(self, id_: str) -> None:
        """Return when the work has ended, wherever it runs."""
        await self._brief.wait(id_)
        await self._management.until(id_, lambda record: record.status.finished)

    async def cancel(self, id_: str) -> None:
        """Stop the work and wait until it has stopped, and written its end."""
        await self._brief.cancel(id_)
        with suppress(RequestError):  # it is not known, or has ended
            await self._management.cancel(id_)

    async def aclose(self) -> None:
        """Run nothing more in this process, and return when nothing runs here any more."""
        await self._brief.aclose()
        await self._stop()
