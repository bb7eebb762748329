"""Jobs: work that outlives the process, on the database of the service. Its FEATURE."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ...chassis.config.settings import Settings
from ...chassis.container import Container
from ...chassis.features import Feature
from .commands import register
from .settings import JobsSection

if TYPE_CHECKING:
    from fastapi import APIRouter


async def install(container: Container, settings: Settings) -> None:
    """Open the way to the jobs; none runs yet."""
    from .serving import open_jobs  # noqa: PLC0415 - brings SQLAlchemy and DBOS

    open_jobs(container, settings)


def router(_: Settings) -> "APIRouter":
    """Return the routes."""
    from .routes import build_router  # noqa: PLC0415 - brings the web framework

    return build_router()


@asynccontextmanager
async def serve(container: Container, settings: Settings) -> AsyncIterator[None]:
    """Run the jobs beside the server where that is the process that does: on SQLite."""
    from .serving import beside_server  # noqa: PLC0415 - brings SQLAlchemy and DBOS

    async with beside_server(container, settings):
        yield


FEATURE = Feature(
    name="jobs",
    section=JobsSection,
    install=install,
    router=router,
    commands=register,
    capability=True,
    durable=True,
    serve=serve,
    tags={"jobs": "Work that goes on after the answer: list, read, follow, cancel."},
)
