"""Runs: the jobs that run in this process, each a task of its event loop."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dbos import DBOS

from ...chassis.contracts.context import Context, entered
from ...chassis.contracts.errors import ServiceError, StorageUnavailableError
from ...chassis.contracts.identity import new_id
from ...chassis.contracts.json import Json
from .declarations import DEFAULT_QUEUE, Job
from .internals import hand_over, put_back
from .jobs import Jobs, reached
from .records import CALLER, CORRELATION_ID, KEY, STOPPED, TRACEPARENT
from .running import RUN, Body, Interrupted, Postponed, Run
from .serializer import JsonSerializer
from .takeover import running_on

WATCH_S = 1.0
"""How often a process asks which of its jobs were cancelled elsewhere, or have used up their time."""

STRAYED_S = 60.0
"""A job that was claimed for this process and has not begun for so long is given back.

Its claim may have been committed while the connection broke. One that nothing is registered for here is given back at
once, for so long, and that is no attempt: it does not hold up the others, and a process that knows it may come.
"""

_AUDIT_TURNS = 10
_log = logging.getLogger(__name__)


class Runs:
    """Runs the code of jobs, and ends it where it is cancelled, out of time, or the process stops."""

    def __init__(self, jobs: Jobs, executor_id: str) -> None:
        """Begin with none."""
        self._jobs = jobs
        self._executor_id = executor_id
        self.known: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._strayed: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._closed = False

    def __len__(self) -> int:
        """Return how many jobs run here."""
        return len(self._runs)

    async def perform(self, job: Job, payload: Mapping[str, Json], surroundings: Mapping[str, Any]) -> Json:
        """Run a job to its end, as the engine asks for it."""
        if self._closed:
            raise asyncio.CancelledError  # claimed while the process was about to end, it is handed back with the rest
        correlation_id = surroundings.get(CORRELATION_ID) or new_id("cor")
        known = {name: surroundings.get(name) for name in (KEY, TRACEPARENT, CALLER)}
        with entered(Context(correlation_id, **known)):
            return await self._perform(job, payload)

    async def _perform(self, job: Job, payload: Mapping[str, Json]) -> Json:
        task, id_ = asyncio.current_task(), DBOS.workflow_id
        if task is None or id_ is None:
            raise RuntimeError("a job runs as a task of the engine")
        run = self._runs[id_] = Run(id_, task, self._is_cancelled)
        token = RUN.set(run)
        fields: dict[str, object] = {"job": job.name, "job_id": id_}
        result: Json = None
        ended = "succeeded"
        until: float | None = None
        try:
            result = await _result(job, payload, run)
        except (asyncio.CancelledError, Interrupted):
            ended = "interrupted"
        except Postponed as later:
            ended = "postponed"
            until = later.until
        except StorageUnavailableError as error:
            # No fault of the job, which is begun again when the database is back.
            fields["error"] = str(error)
            ended = "interrupted"
            self._waiting.add(id_)
        except Exception as error:
            _log.warning("job_failed", extra={**fields, "error": f"{type(error).__name__}: {error}"})
            raise
        finally:
            RUN.reset(token)
            if self._runs.get(id_) is run:  # tried again, it may run anew before its cancelled code has ended
                del self._runs[id_]
        ended = "cancelled" if run.cancelled else ended
        _log.info("job_ended", extra={**fields, "outcome": ended})
        if ended == "succeeded":
            return result
        await self._settle(run, until)
        raise asyncio.CancelledError  # the engine records nothing

    async def _settle(self, run: Run, until: float | None) -> None:
        """Write that a cancelled job has stopped, or when a postponed one goes on."""
        if run.cancelled:
            with suppress(ServiceError):
                await self._jobs.annotate(run.id, {STOPPED: True})
        elif until is not None:
            try:
                with reached(told=True):
                    await asyncio.to_thread(put_back, self._jobs.client, run.id, self._executor_id, until)
            except ServiceError:
                self._waiting.add(run.id)  # begun again too early, it postpones itself once more

    def cancel(self, id_: str) -> None:
        """Have the code of a job that runs here see its cancellation."""
        run = self._runs.get(id_)
        if run is not None and not run.cancelled:
            run.cancel()

    def interrupt(self) -> None:
        """End whatever runs here, without telling it that it was cancelled; nothing begins any more."""
        self._closed = True
        for run in list(self._runs.values()):
            run.interrupt()

    async def watch(self) -> None:
        """End what was cancelled elsewhere or is out of time, and give back what has strayed, until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(WATCH_S)
            turn += 1
            try:
                if self._runs:
                    await self._end_cancelled()
                if turn % _AUDIT_TURNS == 0:
                    await self._give_back_strayed()
            except Exception as error:  # noqa: BLE001 - nobody else would look after the jobs
                self._strayed.clear()
                _log.debug("jobs_not_watched", extra={"error": str(error)})

    async def _end_cancelled(self) -> None:
        for id_ in await self._cancelled(list(self._runs)):
            self.cancel(id_)

    async def _is_cancelled(self, id_: str) -> bool:
        with reached(told=True):
            return bool(await self._cancelled([id_]))

    async def _cancelled(self, ids: list[str]) -> list[str]:
        asked: dict[str, Any] = {"workflow_ids": ids, "status": "CANCELLED", "load_input": False, "load_output": False}
        return [one.workflow_id for one in await self._jobs.client.list_workflows_async(**asked)]

    async def _give_back_strayed(self) -> None:
        now = time.monotonic()
        claimed = await asyncio.to_thread(running_on, self._jobs.client, self._executor_id)
        names = {one.workflow_id: one.name for one in claimed if one.workflow_id not in self._runs}
        self._strayed = {id_: self._strayed.get(id_, now) for id_ in names}
        for id_, since in list(self._strayed.items()):
            place = self._jobs.client, id_, self._executor_id
            if names[id_] not in self.known:
                await asyncio.to_thread(put_back, *place, time.time() + STRAYED_S)
            elif id_ in self._waiting:
                await asyncio.to_thread(put_back, *place)
            elif now - since >= STRAYED_S:
                await asyncio.to_thread(hand_over, *place, DEFAULT_QUEUE)
            else:
                continue
            self._waiting.discard(id_)
            del self._strayed[id_]
            _log.warning("job_given_back", extra={"job": names[id_], "job_id": id_})


async def _result(job: Job, payload: Mapping[str, Json], run: Run) -> Json:
    try:
        result = await Body(job.function(run.id, payload), run)
    except asyncio.CancelledError as error:
        if run.cancelled or run.interrupted or run.task.cancelling():
            raise
        raise RuntimeError("its code ended with a cancellation that nobody had asked for") from error
    JsonSerializer().serialize(result)  # the engine would fail with less of a word
    return result
