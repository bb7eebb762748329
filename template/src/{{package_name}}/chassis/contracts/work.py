"""Long work: where envelopes are kept, who runs the work, and how a provider's job is awaited."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from .envelope import Envelope, Failure, Notice, Pending, Succeeded
from .json import Json


class EnvelopeStore(Protocol):
    """Keeps the newest envelope of each id."""

    async def save(self, envelope: Envelope[Any]) -> None:
        """Keep the envelope, replacing an older one of the same id."""
        ...

    async def load[T](self, id_: str, result: type[T], *, of: str) -> Envelope[T] | None:
        """Return the newest envelope `of` an object, with results of a type; None for an id not known (any more)."""
        ...


type Keep = Callable[[Succeeded[Any]], Awaitable[tuple[Notice, ...]]]
"""Keeps the envelope of an answered call, where anything keeps them; returns what the caller should know of that."""


async def unkept(_: Succeeded[Any]) -> tuple[Notice, ...]:
    """Keep nothing."""
    return ()


class Work(Protocol):
    """Long work of an object; it may be begun again when the process that ran it has ended."""

    async def __call__(self, id_: str, payload: Mapping[str, Json]) -> None:
        """Do the work and write how it ended, also when it is cancelled."""
        ...

    async def give_up(self, id_: str, payload: Mapping[str, Json], failure: Failure) -> None:
        """Write that the work ended like this, which runs nowhere; where a retry makes sense, leave what it needs."""
        ...


class WorkRunner(Protocol):
    """Runs long work outside the request that asked for it."""

    def register(self, name: str, work: Work) -> None:
        """Tell what to call, with id and payload, for submissions under `name`."""
        ...

    async def submit(self, name: str, envelope: Pending, payload: Mapping[str, Json]) -> None:
        """Keep the envelope and begin its work soon: both or neither.

        The payload is plain JSON so that it can outlive the process.
        """
        ...

    async def wait(self, id_: str) -> None:
        """Return when the work has ended; unknown or ended work is not waited for."""
        ...

    async def cancel(self, id_: str) -> None:
        """Stop the work and wait until it has stopped; unknown or finished work is left alone."""
        ...

    async def aclose(self) -> None:
        """Take up no more work and return when none is under way; a second call does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class LongWork:
    """Where long work runs and is kept; `mode` is what `/info` says of it.

    `uploads` is the folder for files that the work may still need in another process; None where there is none.
    """

    runner: WorkRunner
    store: EnvelopeStore
    mode: Literal["in_process", "durable"]
    uploads: Path | None = None


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
        self,
        read: Callable[[], Awaitable[S]],
        finished: Callable[[S], bool],
        *,
        timeout_s: float,
        told: asyncio.Future[S] | None = None,
    ) -> Polled[S]:
        """Wait for `finished(await read())`, or for `told`: the last snapshot, where a provider sends it by itself.

        Failures that may pass do not end the wait before its time; others, and cancellation, end it at once.
        """
        ...


class Awaited[S]:
    """The jobs that this process awaits, so that what a provider tells by itself reaches the work that it is about."""

    def __init__(self) -> None:
        """Begin with none."""
        self._jobs: dict[tuple[str, str], tuple[str, asyncio.Future[S]]] = {}

    @contextmanager
    def job(self, provider: str, job_id: str, work_id: str) -> Iterator[asyncio.Future[S]]:
        """Await a job during the block; what is told of it comes with the future."""
        told = asyncio.get_running_loop().create_future()
        self._jobs[provider, job_id] = work_id, told
        try:
            yield told
        finally:
            del self._jobs[provider, job_id]

    def of(self, provider: str) -> Collection[str]:
        """Return the ids of a provider's jobs."""
        return [job_id for name, job_id in self._jobs if name == provider]

    def tell(self, provider: str, job_id: str, snapshot: S) -> str:
        """Pass on the last snapshot of a job and return the id of its work; a second time changes nothing."""
        work_id, told = self._jobs[provider, job_id]
        if not told.done():
            told.set_result(snapshot)
        return work_id
