"""Provenance: where a result comes from, complete enough to trace or repeat it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .call import CallRecord
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
    attempts: int
    fallback_used: bool
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def after(self, record: CallRecord, *, finished_at: datetime, model: str | None = None) -> "Provenance":
        """Return the provenance of the finished call."""
        return replace(
            self,
            attempts=self.attempts + record.attempts,
            fallback_used=record.fallback_used,
            provider=record.provider or self.provider,
            kind=record.kind or self.kind,
            model=model or self.model,
            finished_at=finished_at,
        )
