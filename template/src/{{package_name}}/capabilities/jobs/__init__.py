"""Jobs: work that outlives the process, on the database of the service. Its FEATURE."""

from typing import TYPE_CHECKING

from ...chassis.features import Feature
from .settings import JobsSection

if TYPE_CHECKING:
    from ...chassis.config.settings import Settings
    from ...chassis.container import Container


async def install(container: "Container", settings: "Settings") -> None:
    """Open the way to the jobs; none runs yet."""
    from .serving import open_jobs  # noqa: PLC0415 - brings SQLAlchemy and DBOS

    open_jobs(container, settings)


FEATURE = Feature(name="jobs", section=JobsSection, install=install, capability=True)
