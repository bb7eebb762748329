"""Database: data that outlive the process, on SQLite or PostgreSQL. Its FEATURE."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from ...chassis.config.settings import Settings
from ...chassis.container import Container
from ...chassis.contracts.work import unkept
from ...chassis.features import Feature
from ...chassis.work import Storage
from .commands import register
from .settings import DatabaseSection

if TYPE_CHECKING:
    from fastapi import APIRouter
    from starlette.types import ASGIApp


async def install(container: Container, settings: Settings) -> None:
    """Open the database, which is connected to when it is first needed, and offer what is kept in it."""
    from .database import Database  # noqa: PLC0415 - brings SQLAlchemy
    from .envelopes import DatabaseStore  # noqa: PLC0415 - as above
    from .readiness import Readiness  # noqa: PLC0415 - as above
    from .replies import Replies  # noqa: PLC0415 - as above
    from .retention import Sweeper  # noqa: PLC0415 - as above

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells whenever it looks at a table
    section = settings[DatabaseSection]
    database = container.provide(Database, Database(section))
    container.on_close(database.aclose)
    readiness = Readiness(database)
    container.add_ping("database", readiness.ping)
    if container.serving:
        readiness.warm()
    container.on_close(Sweeper(database, section).aclose)
    long_bytes, lease_s = section.compress_over_bytes, section.lease_s
    store = DatabaseStore(database, compress_over_bytes=long_bytes, lease_s=lease_s)
    container.provide(DatabaseStore, store)
    container.on_close(store.aclose)
    kept = timedelta(hours=section.replay_hours)
    container.provide(Replies, Replies(database, kept=kept, compress_over_bytes=long_bytes, lease_s=lease_s))
    container.provide(Storage, Storage(store, store.keep if section.keep_answers else unkept))


def router(_: Settings) -> "APIRouter":
    """Return the routes."""
    from fastapi import APIRouter  # noqa: PLC0415 - only to serve

    from .resources.audit_routes import build_audit_router  # noqa: PLC0415 - as above
    from .routes import build_router  # noqa: PLC0415 - as above

    both = APIRouter()
    both.include_router(build_router())
    both.include_router(build_audit_router())
    return both


def around(app: "ASGIApp", container: Container) -> "ASGIApp":
    """Wrap the application in the layer that answers repeated requests."""
    from .replaying import Replaying  # noqa: PLC0415 - brings SQLAlchemy

    return Replaying(app, container)


FEATURE = Feature(
    name="database",
    section=DatabaseSection,
    install=install,
    router=router,
    commands=register,
    capability=True,
    around=around,
    tags={
        "envelopes": "What the service has answered, by id and by what was asked.",
        "audit": "Who changed what.",
    },
    problems={"*": ("storage_unavailable",), "POST": ("conflict",)},
)
