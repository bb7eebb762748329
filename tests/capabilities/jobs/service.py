"""A service of a database, jobs and one object that asks for them: as an application, and as a command line."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from typer.testing import CliRunner, Result

from object_service.capabilities.database import FEATURE as DATABASE
from object_service.capabilities.jobs import FEATURE as JOBS
from object_service.capabilities.jobs.executor import Executor
from object_service.capabilities.jobs.jobs import Jobs
from object_service.chassis.cli.main import build_cli
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.json import Json
from object_service.chassis.features import Feature
from object_service.chassis.runtime import Runtime
from object_service.chassis.web.app import build_app


async def _count(container: Container, payload: Mapping[str, Json]) -> Json:
    """Count to where the payload says, and tell how far it is; a number below nothing is a defect."""
    to = int(str(payload["to"]))
    if to < 0:
        raise ValueError("a defect with a secret")
    for n in range(to):
        await container[Jobs].progress((n + 1) / to, f"{n + 1} of {to}")
        await asyncio.sleep(float(str(payload.get("pause_s", 0))))
    return to


async def _install(container: Container, _: Settings) -> None:
    async def count(_: str, payload: Mapping[str, Json]) -> Json:
        return await _count(container, payload)

    container[Jobs].register("count", count)
    container[Jobs].register("other", count)


RUNTIME = Runtime((DATABASE, JOBS, Feature(name="counting", install=_install)))


@asynccontextmanager
async def served(*, running: bool = False) -> AsyncIterator[tuple[httpx2.AsyncClient, Container]]:
    """Yield a client of a service that is set by the environment; with `running`, its process runs jobs."""
    settings = RUNTIME.load()
    async with RUNTIME.started(settings) as container:
        if running:
            await container[Executor].start()
        transport = httpx2.ASGITransport(build_app(settings, RUNTIME.features, container))
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client, container


def run(*words: str, **options: Any) -> Result:
    """Run one command."""
    return CliRunner().invoke(build_cli(RUNTIME), list(words), **options)
