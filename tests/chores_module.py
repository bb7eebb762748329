"""The jobs of an owner, as a module that tests put into a variant of a rendered project."""

STEPS = 3
MODULE = '''"""Chores: jobs that leave traces."""

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..chassis.config.settings import Settings
from ..chassis.container import Container
from ..chassis.contracts.json import Json
from ..chassis.features import Feature

if TYPE_CHECKING:
    from fastapi import APIRouter


def _trace(*words: object) -> None:
    opened = os.open(os.environ["CHORES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(opened, (" ".join(map(str, words)) + "\\n").encode())
    os.close(opened)


async def _act(id_: str, number: int, pause_s: float) -> Json:
    _trace("begun", id_, number, os.getpid())
    await asyncio.sleep(pause_s)
    _trace("ended", id_, number, os.getpid())
    return f"{id_} {number} {os.getpid()}"


async def install(container: Container, settings: Settings) -> None:
    """Declare the jobs."""
    from ..capabilities.database.database import Database
    from ..capabilities.jobs.declarations import Schedule
    from ..capabilities.jobs.jobs import Jobs
    from ..capabilities.jobs.running import step

    del settings
    jobs, database = container[Jobs], container[Database]

    async def chore(id_: str, payload: Mapping[str, Json]) -> Json:
        found = []
        for number in range(3):
            found.append(await step(_act, id_, number, float(str(payload["pause_s"]))))
            await jobs.progress((number + 1) / 3)
        return found

    async def tick(id_: str, payload: Mapping[str, Json]) -> Json:
        _trace("tick", id_, payload["scheduled_at"], os.getpid())
        return None

    jobs.register("chore", chore)
    jobs.register("tick", tick)
    if os.environ.get("TICKS"):
        jobs.add_schedule(Schedule(name="ticking", cron="* * * * * *", job="tick"))


def router(_: Settings) -> "APIRouter":
    """Return a route that asks for a job, and one that reads before it writes."""
    from fastapi import APIRouter, Request
    from sqlalchemy import text

    from ..capabilities.database.database import Database
    from ..capabilities.jobs.jobs import Jobs

    router = APIRouter()

    @router.post("/v1/chores", status_code=202)
    async def ask(request: Request, count: int = 1, pause_s: float = 0.0) -> dict[str, list[str]]:
        """Enqueue chores, and with the variable DIE end before the answer."""
        jobs = request.app.state.container[Jobs]
        ids = [await jobs.enqueue("chore", {"pause_s": pause_s}) for _ in range(count)]
        if os.environ.get("DIE"):
            os.kill(os.getpid(), 9)
        return {"ids": ids}

    @router.post("/v1/counts")
    async def count(request: Request) -> dict[str, int]:
        """Read a number and write the next one."""
        database = request.app.state.container[Database]
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE IF NOT EXISTS counts (n INTEGER)"))
            found = (await connection.execute(text("SELECT count(*) FROM counts"))).scalar_one()
            await connection.execute(text("INSERT INTO counts VALUES (:n)"), {"n": found})
        return {"n": found}

    return router


FEATURE = Feature(name="chores", install=install, router=router)
'''
