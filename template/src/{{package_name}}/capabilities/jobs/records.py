"""Records: a job as it is read, whatever the engine calls it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dbos import WorkflowStatus

from ...chassis.contracts.envelope import Failure
from ...chassis.contracts.errors import ServiceError
from ...chassis.contracts.json import Json


class JobStatus(StrEnum):
    """Where a job stands."""

    ENQUEUED = "enqueued"
    DELAYED = "delayed"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    DEAD = "dead"

    @property
    def finished(self) -> bool:
        """Tell whether nothing happens any more unless somebody asks for it."""
        return self not in (JobStatus.ENQUEUED, JobStatus.DELAYED, JobStatus.RUNNING)


ENGINE_STATUS = {
    JobStatus.ENQUEUED: "ENQUEUED",
    JobStatus.DELAYED: "DELAYED",
    JobStatus.RUNNING: "PENDING",
    JobStatus.SUCCEEDED: "SUCCESS",
    JobStatus.FAILED: "ERROR",
    JobStatus.CANCELLED: "CANCELLED",
    JobStatus.TIMED_OUT: "CANCELLED",
    JobStatus.DEAD: "MAX_RECOVERY_ATTEMPTS_EXCEEDED",
}
"""What DBOS calls it; it does not tell apart who cancelled."""

ENGINE_FINISHED = sorted({name for status, name in ENGINE_STATUS.items() if status.finished})
ENGINE_UNFINISHED = sorted({name for status, name in ENGINE_STATUS.items() if not status.finished})

PROGRESS, NOTE, STOPPED = "progress", "note", "stopped"
CORRELATION_ID, TRACEPARENT = "correlation_id", "traceparent"
"""Attributes that jobs carry."""

KEY, CALLER = "idempotency_key", "caller"
"""What a job is given beside its payload, and nobody reads from its record."""

_ENDS = {
    JobStatus.CANCELLED: Failure("cancelled", "The job was cancelled.", retryable=False),
    JobStatus.TIMED_OUT: Failure("timed_out", "The job was not finished in its time.", retryable=True),
    JobStatus.DEAD: Failure("attempts_exhausted", "Too many processes ended while they ran the job.", retryable=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is known of a job; `progress` goes from 0 to 1.

    `attempts` counts how often it was begun, but not after it was postponed, or handed back in good order. `stopped`
    tells that the code of a cancelled job has ended, or that the end of other work is written.
    """

    id: str
    name: str
    status: JobStatus
    queue: str | None
    attempts: int
    created_at: datetime
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: float | None
    note: str | None
    correlation_id: str | None
    traceparent: str | None
    parent: str | None
    stopped: bool | None = None
    result: Json = None
    error: Failure | None = None


def record_of(found: WorkflowStatus) -> JobRecord:
    """Return what the engine knows of a job."""
    status = _status_of(found)
    attributes: Mapping[str, Any] = found.attributes or {}
    return JobRecord(
        id=found.workflow_id,
        name=found.name,
        status=status,
        queue=found.queue_name,
        attempts=found.recovery_attempts or 0,
        created_at=_moment(found.created_at) or datetime.fromtimestamp(0, UTC),
        due_at=_moment(found.delay_until_epoch_ms) if status is JobStatus.DELAYED else None,
        started_at=_moment(found.dequeued_at),
        finished_at=_moment(found.completed_at) if status.finished else None,
        progress=attributes.get(PROGRESS),
        note=attributes.get(NOTE),
        correlation_id=attributes.get(CORRELATION_ID),
        traceparent=attributes.get(TRACEPARENT),
        parent=found.parent_workflow_id,
        stopped=attributes.get(STOPPED),
        result=found.output if status is JobStatus.SUCCEEDED else None,
        error=_failure_of(found.error) if status is JobStatus.FAILED else _ENDS.get(status),
    )


def _status_of(found: WorkflowStatus) -> JobStatus:
    """Return the status; a job that was cancelled after its time was over has timed out."""
    if found.status == ENGINE_STATUS[JobStatus.CANCELLED]:
        limit, end = found.workflow_deadline_epoch_ms, found.completed_at
        timed_out = limit is not None and end is not None and end >= limit
        return JobStatus.TIMED_OUT if timed_out else JobStatus.CANCELLED
    return next(status for status, name in ENGINE_STATUS.items() if name == found.status)


def _failure_of(error: object) -> Failure | None:
    if error is None:
        return None
    return Failure.of(error if isinstance(error, ServiceError) else ServiceError("a defect"))


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
