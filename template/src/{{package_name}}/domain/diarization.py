"""Diarization: who spoke when. Value objects, the provider port and the behaviour policy; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ..chassis.contracts.call import Operation
from ..chassis.contracts.json import Json

POLICY_VERSION = "1"
"""Raised whenever the meaning of a policy field changes."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """An audio file on local disk that nobody changes any more.

    `bytes` is its size, `sha256` the hex digest of its content; both enter the fingerprint. A temporary file is
    the service's to delete.
    """

    path: Path
    bytes: int
    sha256: str
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class DiarizationParams:
    """What one call may ask for. None leaves the decision to the provider."""

    min_speakers: int | None = None
    max_speakers: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Json]) -> "DiarizationParams":
        """Return the params among resolved values."""
        numbers = {name: value for name, value in values.items() if isinstance(value, int)}
        return cls(numbers.get("min_speakers"), numbers.get("max_speakers"))

    def contradiction(self) -> str | None:
        """Say in which way the fields contradict each other, if they do."""
        if self.min_speakers is None or self.max_speakers is None or self.min_speakers <= self.max_speakers:
            return None
        return f"min_speakers ({self.min_speakers}) at most max_speakers ({self.max_speakers})"


@dataclass(frozen=True, slots=True)
class Segment:
    """One uninterrupted turn of one speaker, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """The turns of a recording, ordered by start; speakers are named S1, S2, ... in order of first speech."""

    duration_s: float
    speakers: tuple[str, ...]
    segments: tuple[Segment, ...]


class ProviderState(StrEnum):
    """Where a provider says its job stands. Not the status of an envelope."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ProviderJob:
    """A snapshot of a provider's job.

    `result` is present only when the state is SUCCEEDED; `progress` runs from 0 to 1 where known. `reason` says why
    a job failed; it is for logs only.
    """

    state: ProviderState
    progress: float | None = None
    result: Diarization | None = None
    model: str | None = None
    reason: str | None = None


class Diarizer(Protocol):
    """A provider of diarization: long-running work that is started, read and cancelled by id."""

    async def start(self, audio: AudioFile, params: DiarizationParams, *, max_duration_s: float) -> str:
        """Begin the work and return the provider's own job id.

        Raises:
            RequestError: `unreadable_audio`, if the provider cannot read this file or it is too long.
        """
        ...

    async def get(self, job_id: str) -> ProviderJob:
        """Read the job; repeating it changes nothing."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Stop the job if it still runs; repeating it changes nothing."""
        ...

    async def aclose(self) -> None:
        """Release what the provider holds; a second call does nothing."""
        ...


OPERATIONS: Mapping[str, Operation] = {
    "start": Operation("start", idempotent=False, control=True),
    "get": Operation("get", idempotent=True, control=True),
    "cancel": Operation("cancel", idempotent=True, control=True),
}
