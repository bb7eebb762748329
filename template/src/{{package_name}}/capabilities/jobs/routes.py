"""Routes of jobs: list, read, follow, cancel."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from ...chassis.contracts.envelope import Failure
from ...chassis.web.events import EventStream, event, event_stream, events_of
from ...chassis.web.routes import REF_TEMPLATE, json_response, problems, provided
from .management import JobManagement
from .records import JobStatus

MAX_SIZE = 1000
_DEFAULT_SIZE = 50

type Management = Annotated[JobManagement, Depends(provided(JobManagement))]
type Size = Annotated[int, Query(ge=1, le=MAX_SIZE, description="Jobs on one page.")]
type After = Annotated[int, Query(ge=0, description="The value of `next` from the page before.")]


class JobDocument(BaseModel):
    """A job; what is not known is absent."""

    id: str
    name: str
    status: JobStatus
    queue: str | None = None
    attempts: int = Field(description="How often it was begun.")
    created_at: datetime
    due_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: float | None = Field(default=None, description="From 0 to 1.")
    note: str | None = None
    correlation_id: str | None = Field(default=None, description="Of the request that asked for it.")
    traceparent: str | None = None
    parent: str | None = Field(default=None, description="The job that enqueued it.")
    stopped: bool | None = Field(default=None, description="Whether the code of a cancelled job has ended.")
    result: Any = None
    error: Failure | None = None


_JOB = {"$ref": REF_TEMPLATE.format(model="JobDocument")}
_EVENTS = events_of(progress=_JOB, job=_JOB)


class JobPage(BaseModel):
    """Jobs, the newest first, without their results."""

    items: list[JobDocument]
    size: int
    next: str | None = None


def build_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    @router.get("", response_model=JobPage)
    async def listing(
        jobs: Management,
        status: JobStatus | None = None,
        name: str | None = None,
        size: Size = _DEFAULT_SIZE,
        after: After = 0,
    ) -> Response:
        """List jobs, the newest first."""
        found = await jobs.page(status=status, name=name, size=size + 1, offset=after)
        page: dict[str, object] = {"items": found[:size], "size": size}
        return json_response(page | ({"next": str(after + size)} if len(found) > size else {}))

    @router.get("/{id}", response_model=JobDocument)
    async def get(id: str, jobs: Management) -> Response:  # noqa: A002 - the name of the path parameter
        """Return a job."""
        return json_response(await jobs.show(id))

    @router.get("/{id}/events", response_class=EventStream, responses=_EVENTS)
    async def events(id: str, jobs: Management) -> EventStream:  # noqa: A002 - as above
        """Follow a job: `progress` as it comes, `job` when it has ended."""
        await jobs.show(id)

        async def told() -> AsyncGenerator[bytes]:
            async for record in jobs.follow(id):
                yield event("job" if record.status.finished else "progress", record)

        return event_stream(told())

    @router.delete("/{id}", response_model=JobDocument, responses=problems("already_finished"))
    async def cancel(id: str, jobs: Management) -> Response:  # noqa: A002 - as above
        """Stop a job; its code learns of it within seconds."""
        return json_response(await jobs.cancel(id))

    return router
