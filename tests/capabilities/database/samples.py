"""Envelopes of every status, as the two objects of the template make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from object_service.chassis.contracts.envelope import (
    Envelope,
    Failed,
    Failure,
    Notice,
    Pending,
    Provenance,
    Running,
    Succeeded,
)
from object_service.chassis.contracts.money import Cost
from object_service.domain.diarization import Diarization, Segment
from object_service.domain.genai import FinishReason, Generation, Usage

CREATED = datetime(2026, 11, 21, 1, 2, 3, 400_000, tzinfo=UTC)
FINGERPRINT = "sha256:7c761df0fabaadc4650fd3cbdd504ddc7e8122116a15c2ebbb47f89ba350ad5e"


def provenance(object_: str, created: datetime = CREATED, fingerprint: str = FINGERPRINT, **more: Any) -> Provenance:
    """Return where an envelope came from."""
    given: dict[str, Any] = {
        "service": "my-service",
        "service_version": "0.1.0",
        "object": object_,
        "operation": {"genai": "generate", "diarization": "diarize"}[object_],
        "provider": "first",
        "kind": "echo",
        "fingerprint": fingerprint,
        "params": {"temperature": 0.0, "stop": ["a", "b"], "response_schema": {"type": ["object", "null"], "x": None}},
        "policy_version": "1",
        "correlation_id": "3f0c",
        "created_at": created,
    }
    return Provenance(**{**given, **more})


_ENDED: dict[str, Any] = {
    "model": "echo-1",
    "attempts": 2,
    "fallback_used": True,
    "started_at": CREATED + timedelta(microseconds=1),
    "finished_at": CREATED + timedelta(seconds=1),
}
_NOTICES = (Notice("partial_result", "the provider broke off: length"),)

PENDING = Pending(id="dia_1", provenance=provenance("diarization"))
RUNNING = Running(id="dia_2", progress=0.25, provenance=provenance("diarization", started_at=CREATED))
DIARIZED = Succeeded(
    id="dia_3",
    result=Diarization(
        duration_s=2.5, speakers=("S1", "S2"), segments=(Segment(0.0, 1.0, "S1"), Segment(1.0, 2.5, "S2"))
    ),
    provenance=provenance("diarization", **_ENDED),
)
FAILED = Failed(
    id="dia_4",
    error=Failure("provider_timeout", "The provider did not answer in time.", retryable=True, retry_after_s=2.0),
    provenance=provenance("diarization", **_ENDED),
)
GENERATED = Succeeded(
    id="gen_1",
    result=Generation(
        "Zoë: 你好\n\u0000\u2028",
        FinishReason.LENGTH,
        Usage(3, 5, Cost("0.00123", "USD")),
        {"whole": 1, "large": 1e22, "none": None, "list": [True, 0.5, "x"]},
    ),
    warnings=_NOTICES,
    provenance=provenance("genai", **_ENDED),
)
PLAIN = Succeeded(id="gen_2", result=Generation("", FinishReason.STOP), provenance=provenance("genai", **_ENDED))

SAMPLES: dict[str, tuple[Envelope[Any], type[Any]]] = {
    "pending": (PENDING, Diarization),
    "running": (RUNNING, Diarization),
    "succeeded_diarization": (DIARIZED, Diarization),
    "failed": (FAILED, Diarization),
    "succeeded_generation": (GENERATED, Generation),
    "succeeded_generation_plain": (PLAIN, Generation),
}
"""By the name of the golden file: the envelope, and the type of its result."""
