"""Database: data that outlive the process, on SQLite or PostgreSQL. Its FEATURE."""

from typing import TYPE_CHECKING

from ...chassis.features import Feature
from .commands import register
from .settings import DatabaseSection

if TYPE_CHECKING:
    from ...chassis.config.settings import Settings
    from ...chassis.container import Container


async def install(container: "Container", settings: "Settings") -> None:
    """Open the database; it is connected to when it is first needed."""
    from .database import Database  # noqa: PLC0415 - brings SQLAlchemy
    from .readiness import Readiness  # noqa: PLC0415 - as above

    database = container.provide(Database, Database(settings[DatabaseSection]))
    container.on_close(database.aclose)
    container.add_ping("database", Readiness(database).ping)


FEATURE = Feature(name="database", section=DatabaseSection, install=install, commands=register, capability=True)
