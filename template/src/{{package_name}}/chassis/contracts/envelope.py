"""Envelope: what every service call returns, a union discriminated on `status`, with its provenance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from .call import CallRecord
from .errors import ServiceError
from .json import Json


@dataclass(frozen=True, slots=True)
class Origin:
    """The service itself, as it names itself in every provenance."""

    service: str
    service_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What accompanies every envelope; times are aware and in UTC."""

    service: str
    service_version: str
    object: str
    operation: str
    provider: str
    kind: str
    model: str | None = None
    fingerprint: str
    params: Mapping[str, Json]
    policy_version: str
    correlation_id: str
    attempts: int = 0
    fallback_used: bool = False
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def by(self, record: CallRecord) -> "Provenance":
        """Return the provenance with the provider that really took the call."""
        return replace(
            self,
            fallback_used=self.fallback_used or record.fallback_used,
            provider=record.provider or self.provider,
            kind=record.kind or self.kind,
        )

    def after(self, record: CallRecord, *, finished_at: datetime, model: str | None = None) -> "Provenance":
        """Return the provenance of the finished call."""
        return replace(
            self.by(record),
            attempts=self.attempts + record.attempts,
            model=model or self.model,
            finished_at=finished_at,
        )


SCHEMA_VERSION: Literal["1"] = "1"


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning for the caller: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed, in words that are safe to show; `retry_after_s` in seconds where known."""

    code: str
    message: str
    retryable: bool
    retry_after_s: float | None = None

    @classmethod
    def of(cls, error: ServiceError) -> "Failure":
        """Return the part of an error that callers may see."""
        return cls(error.code, error.user_message, error.retryable, error.retry_after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Accepted, not begun."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    id: str
    status: Literal["pending"] = "pending"
    warnings: tuple[Notice, ...] = ()
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Begun; `progress` runs from 0 to 1 where the provider tells it."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    id: str
    status: Literal["running"] = "running"
    progress: float | None = None
    warnings: tuple[Notice, ...] = ()
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded[T]:
    """Done; the only envelope that has a result."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    id: str
    status: Literal["succeeded"] = "succeeded"
    result: T
    warnings: tuple[Notice, ...] = ()
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Not done; cancelled is failed with the code `cancelled`."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    id: str
    status: Literal["failed"] = "failed"
    error: Failure
    warnings: tuple[Notice, ...] = ()
    provenance: Provenance


type Finished[T] = Succeeded[T] | Failed
type Envelope[T] = Pending | Running | Succeeded[T] | Failed


def running(envelope: Envelope[Any], *, at: datetime, progress: float | None, model: str | None) -> Running:
    """Return the envelope of work that is seen running at `at`; the first such time stays."""
    begun = envelope.provenance.started_at or at
    provenance = replace(envelope.provenance, started_at=begun, model=model)
    return Running(id=envelope.id, progress=progress, warnings=envelope.warnings, provenance=provenance)


def succeeded[T](
    envelope: Envelope[Any], result: T, record: CallRecord, *, at: datetime, model: str | None
) -> Succeeded[T]:
    """Return the envelope of work that is done; work that nobody saw running began when it was accepted."""
    provenance = envelope.provenance.after(record, finished_at=at, model=model)
    provenance = replace(provenance, started_at=provenance.started_at or provenance.created_at)
    return Succeeded(id=envelope.id, result=result, warnings=envelope.warnings, provenance=provenance)


def failed(envelope: Envelope[Any], failure: Failure, record: CallRecord, *, at: datetime) -> Failed:
    """Return the envelope of work that ended without a result."""
    provenance = envelope.provenance.after(record, finished_at=at)
    return Failed(id=envelope.id, error=failure, warnings=envelope.warnings, provenance=provenance)
