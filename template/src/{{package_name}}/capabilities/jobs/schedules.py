"""Schedules: what the engine is told of those that are declared, and the job that each firing is."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from dbos import ClientScheduleInput, DBOSClient
from sqlalchemy.exc import SQLAlchemyError

from ...chassis.contracts.json import Json
from .declarations import DEFAULT_QUEUE, Job, Schedule
from .jobs import Jobs, key_id
from .records import ENGINE_UNFINISHED

EVERY_S = 600.0
"""How often they are declared again; after a rollout the last word is that of the new release."""

_log = logging.getLogger(__name__)


def firing(jobs: Jobs, schedule: Schedule) -> Job:
    """Return the job that the engine begins when the time has come, which is `at` in its payload."""

    async def fire(_: str, payload: Mapping[str, Json]) -> Json:
        at = str(payload["at"])
        id_ = key_id("job", schedule.name, at)
        await jobs.enqueue(schedule.job, {"scheduled_at": at, **schedule.payload}, id_=id_)
        return {"job": id_}

    return Job(name=f"schedule_{schedule.name}", function=fire)


def declare(jobs: Jobs, elsewhere: Callable[[], set[str]]) -> None:
    """Tell the engine the schedules there are, and forget those that no living process declares (blocking).

    In a rollout, old and new processes live side by side, and begin in any order.
    """
    client = jobs.client
    known = {str(one["schedule_name"]) for one in client.list_schedules()}
    client.apply_schedules([_entry(jobs, schedule) for schedule in jobs.schedules.values()])
    # Whoever declares a schedule has said so in its lease before: in this order none is missed.
    for name in known - jobs.schedules.keys() - elsewhere():
        client.delete_schedule(name)
        _cancel_fired(client, name)


async def keep_declaring(declared: Callable[[], None]) -> None:
    """Declare the schedules every `EVERY_S`, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await asyncio.to_thread(declared)
        except SQLAlchemyError as error:
            _log.debug("schedules_not_declared", extra={"error": str(error)})


def _cancel_fired(client: DBOSClient, name: str) -> None:
    """End the firings that nobody has code for any more."""
    found = client.list_workflows(schedule_name=name, status=ENGINE_UNFINISHED, load_input=False, load_output=False)
    client.cancel_workflows([one.workflow_id for one in found])


def _entry(jobs: Jobs, schedule: Schedule) -> ClientScheduleInput:
    return ClientScheduleInput(
        schedule_name=schedule.name,
        workflow_name=firing(jobs, schedule).name,
        schedule=schedule.cron,
        context=None,
        automatic_backfill=schedule.catch_up,
        cron_timezone=schedule.timezone,
        queue_name=DEFAULT_QUEUE,
    )
