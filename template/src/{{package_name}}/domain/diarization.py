"""Diarization: who spoke when. Value objects, the provider port and the behaviour policy; pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..chassis.contracts.call import Operation
from ..chassis.contracts.errors import RequestError
from ..chassis.contracts.json import Json, to_json
from ..chassis.contracts.policy import Level, Resolved, resolve

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

    def content(self) -> dict[str, Json]:
        """Return what stands for the file in the fingerprint."""
        return {"audio": {"bytes": self.bytes, "sha256": self.sha256}}

    def to_json(self) -> dict[str, Json]:
        """Return what `of` makes the file from again."""
        return {"path": str(self.path), "bytes": self.bytes, "sha256": self.sha256, "temporary": self.temporary}

    @classmethod
    def of(cls, stored: Json) -> "AudioFile":
        """Return the file that `to_json` described."""
        match stored:
            case {"path": str(path), "bytes": int(size), "sha256": str(digest), "temporary": bool(temporary)}:
                return cls(Path(path), size, digest, temporary)
            case _:
                raise ValueError("not a stored audio file")


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


def behaviour_of(params: DiarizationParams | None, stated: Level) -> Resolved:
    """Return what holds for one call: the params that it asks for over those that the settings state.

    Raises:
        RequestError: for params that contradict each other.
    """
    asked = params or DiarizationParams()
    contradiction = asked.contradiction()
    if contradiction is not None:
        raise RequestError(f"Expected {contradiction}.", pointer="/params")
    behaviour = resolve([Level.of("request", **to_json(asked)), stated])
    if DiarizationParams.of(behaviour.values).contradiction() is None:
        return behaviour
    # The request states one limit and the settings the other: the request's counts.
    stronger, weaker = sorted(behaviour.sources, key=lambda limit: behaviour.sources[limit] != "request")
    return behaviour.without(weaker, stronger)


@dataclass(frozen=True, slots=True)
class Segment:
    """One uninterrupted turn of one speaker, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """The turns of a recording, ordered by start; speakers are named S1, S2, ... in order of first speech.

    `duration_s` is None where nobody knows how long the recording is.
    """

    duration_s: float | None = field(default=None, kw_only=True)
    speakers: tuple[str, ...]
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, turns: Iterable[Segment], *, duration_s: float | None = None) -> "Diarization":
        """Return turns in any order, of speakers by any name, as they are told here."""
        ordered = sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker))
        names = {name: f"S{number}" for number, name in enumerate(dict.fromkeys(turn.speaker for turn in ordered), 1)}
        segments = tuple(replace(turn, speaker=names[turn.speaker]) for turn in ordered)
        return cls(tuple(names.values()), segments, duration_s=duration_s)


class ProviderState(StrEnum):
    """Where a provider says its job stands. Not the status of an envelope."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Tell whether it stays so."""
        return self not in (ProviderState.QUEUED, ProviderState.RUNNING)


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


@runtime_checkable
class Notifying(Protocol):
    """What a diarizer also has when its provider tells by itself that a job has ended."""

    def read_notification(
        self, headers: Mapping[str, str], body: bytes, *, awaited: Collection[str]
    ) -> tuple[str, ProviderJob] | None:
        """Check that the provider sent this, and return which of the `awaited` jobs it is about; None for another one.

        Names of headers are in lower case. Nothing is sent and nothing is kept: the same message may come twice.

        Raises:
            RequestError: `unauthenticated`, when somebody else may have sent it, or it is too old; `invalid_request`,
                when it cannot be read.
        """
        ...


OPERATIONS: Mapping[str, Operation] = {
    "start": Operation("start", idempotent=False, control=True),
    "get": Operation("get", idempotent=True, control=True),
    "cancel": Operation("cancel", idempotent=True, control=True),
}
