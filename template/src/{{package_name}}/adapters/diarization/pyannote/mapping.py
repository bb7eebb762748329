"""Mapping between the words of pyannoteAI and those of the domain; pure.

Source: https://docs.pyannote.ai/api-reference/diarize and /get-job.
"""

import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ....domain.diarization import Diarization, DiarizationParams, ProviderJob, ProviderState, Segment

_STATES = {
    "pending": ProviderState.QUEUED,
    "created": ProviderState.QUEUED,
    "running": ProviderState.RUNNING,
    "succeeded": ProviderState.SUCCEEDED,
    "failed": ProviderState.FAILED,
    "canceled": ProviderState.CANCELLED,
}
_LENGTH = "~"


class Upload(BaseModel):
    """Where a recording may be sent to."""

    url: str


class Job(BaseModel):
    """A job as the vendor tells of it: when it is submitted, read or has ended."""

    job_id: str = Field(alias="jobId", pattern=r"^[A-Za-z0-9_-]{1,128}$")
    status: str
    output: Any = None


class _Turn(BaseModel):
    model_config = ConfigDict(strict=True)

    start: float = Field(ge=0, allow_inf_nan=False)
    end: float = Field(ge=0, allow_inf_nan=False)
    speaker: str = Field(min_length=1)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.end < self.start:
            raise ValueError("a turn ends before it starts")
        return self


class _Output(BaseModel):
    diarization: list[_Turn]


def request_body(media: str, model: str, params: DiarizationParams, webhook: str | None) -> dict[str, Any]:
    """Return the body that submits a job; limits that meet are the number of speakers, which the vendor does best."""
    fewest, most = params.min_speakers, params.max_speakers
    if fewest == most:
        optional = {"numSpeakers": fewest, "webhook": webhook}
    else:
        optional = {"minSpeakers": fewest, "maxSpeakers": most, "webhook": webhook}
    return {"url": media, "model": model, **{name: value for name, value in optional.items() if value is not None}}


def job_of(job: Job, model: str, duration_s: float | None) -> ProviderJob:
    """Return a job in the words of the domain; the vendor's texts stay behind.

    A recording is at least as long as its last turn: a header may claim less than there is, and the vendor rounds.

    Raises:
        ValueError: for a state that is not known, or a result that cannot be right.
    """
    state = _STATES.get(job.status)
    if state is None:
        raise ValueError("the state of the job is not known")
    if state is ProviderState.FAILED:
        return ProviderJob(state, model=model, reason="the vendor says that it failed")
    if state is not ProviderState.SUCCEEDED:
        return ProviderJob(state, model=model)
    turns = [Segment(turn.start, turn.end, turn.speaker) for turn in _Output.model_validate(job.output).diarization]
    known_s = None if duration_s is None else max([duration_s, *(turn.end_s for turn in turns)])
    return ProviderJob(state, 1.0, Diarization.of(turns, duration_s=known_s), model)


def port_id(vendor_id: str, duration_s: float | None) -> str:
    """Return the id of a job with the length of its recording, in milliseconds, where that is known."""
    return vendor_id if duration_s is None else f"{vendor_id}{_LENGTH}{round(duration_s * 1000)}"


def split_id(job_id: str) -> tuple[str, float | None]:
    """Return the vendor's id of a job, and the length of its recording in seconds where that is known."""
    vendor_id, _, length = job_id.partition(_LENGTH)
    return vendor_id, int(length) / 1000 if re.fullmatch("[0-9]{1,12}", length) else None
