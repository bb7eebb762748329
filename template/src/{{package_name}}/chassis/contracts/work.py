"""Long work: where envelopes are kept, who runs the work, and how a provider's job is awaited."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

from .envelope import Envelope
from .json import Json


class EnvelopeStore(Protocol):
    """Keeps the newest envelope of each id."""

    async def save(self, envelope: Envelope[Any]) -> None:
        """Keep the envelope, replacing an older one of the same id."""
        ...

    async def load(self, id_: str) -> Envelope[Any] | None:
        """Return the newest envelope, or None for an id that is not known (any more)."""
        ...


type Work = Callable[[str, Mapping[str, Json]], Awaitable[None]]


class WorkRunner(Protocol):
    """Runs long work outside the request that asked for it."""

    def register(self, name: str, work: Work) -> None:
        """Tell what to call, with id and payload, for submissions under `name`."""
        ...

    async def submit(self, name: str, id_: str, payload: Mapping[str, Json]) -> None:
        """Begin the work soon; the payload is plain JSON so that it can outlive the process."""
        ...

    async def wait(self, id_: str) -> None:
        """Return when the work has ended; unknown or ended work is not waited for."""
        ...

    async def cancel(self, id_: str) -> None:
        """Stop the work and wait until it has stopped; unknown or finished work is left alone."""
        ...


@dataclass(frozen=True, slots=True)
class LongWork:
    """Where long work runs and is kept; `mode` is what `/info` says of it."""

    runner: WorkRunner
    store: EnvelopeStore
    mode: Literal["in_process", "durable"]


class PollOutcome(StrEnum):
    """How waiting ended. Neither a provider's state nor the status of an envelope."""

    FINISHED = "finished"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Polled[S]:
    """How the waiting ended, and the last snapshot read."""

    outcome: PollOutcome
    snapshot: S


class Poll(Protocol):
    """Reads a job again and again until it is finished or the time is over."""

    async def __call__[S](
        self, read: Callable[[], Awaitable[S]], finished: Callable[[S], bool], *, timeout_s: float
    ) -> Polled[S]:
        """Wait for `finished(await read())`; errors of `read` pass through, cancellation ends it at once."""
        ...
