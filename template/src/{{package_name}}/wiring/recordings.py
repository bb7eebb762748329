"""Recordings, put together: what callers may ask of them, and its FEATURE."""

from typing import TYPE_CHECKING

from ..chassis.config.settings import Settings
from ..chassis.features import Feature

if TYPE_CHECKING:
    from fastapi import APIRouter


def router(settings: Settings) -> "APIRouter":
    """Return the routes."""
    from ..adapters.tables.recordings import RecordingRow  # noqa: PLC0415 - brings SQLAlchemy
    from ..capabilities.database.resources.resource import Resource  # noqa: PLC0415 - as above
    from ..capabilities.database.resources.router import build_router  # noqa: PLC0415 - brings the web framework
    from ..transport.http.recordings import Recording, RecordingBody  # noqa: PLC0415 - only routes need them

    del settings
    recordings = Resource(
        name="recordings",
        prefix="rec",
        table=RecordingRow,
        body=RecordingBody,
        record=Recording,
        filters=("title", "language", "is_active", "duration_s", "tags", "created_at", "updated_at"),
        sorts=("created_at", "title", "duration_s"),
        search=("title",),
    )
    return build_router(recordings)


FEATURE = Feature(name="recordings", router=router, tags={"recordings": "Recordings that the service knows of."})
