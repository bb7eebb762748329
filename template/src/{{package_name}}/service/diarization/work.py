"""Work of diarization: awaits the job of a provider, and writes how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...chassis.contracts.call import CallRecord, recording
from ...chassis.contracts.clock import Clock
from ...chassis.contracts.envelope import Envelope, Failed, Failure, Finished, Succeeded, failed, running, succeeded
from ...chassis.contracts.errors import (
    AdapterNotFoundError,
    AdapterPermanentError,
    AdapterTimeoutError,
    RequestError,
    ServiceError,
    StorageUnavailableError,
)
from ...chassis.contracts.json import Json
from ...chassis.contracts.providers import Provider, Providers
from ...chassis.contracts.work import Awaited, EnvelopeStore, Poll, PollOutcome, WorkRunner
from ...domain import diarization as domain

type Chosen = Provider[domain.Diarizer]
type Ended = Finished[domain.Diarization]

NAME = "diarization"
CANCELLED = Failure("cancelled", "The work was cancelled.", retryable=False)
_DEFECT = Failure.of(ServiceError("a defect"))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkTools:
    """What long work needs beside providers: where it runs, where it is kept, how it is awaited."""

    runner: WorkRunner
    store: EnvelopeStore
    poll: Poll
    discard: Callable[[Path], Awaitable[None]]
    job_timeout_s: Callable[[str], float]
    max_duration_s: float

    async def load(self, id_: str) -> Envelope[domain.Diarization]:
        """Return the newest envelope.

        Raises:
            RequestError: `not_found`.
        """
        envelope = await self.store.load(id_, domain.Diarization, of=NAME)
        if envelope is None:
            raise RequestError("No diarization has this id.", code="not_found", location="path")
        return envelope


class DiarizationWork:
    """The work behind `start`; it may be begun again, in another process, when the one that ran it has ended."""

    def __init__(
        self,
        providers: Providers[domain.Diarizer],
        tools: WorkTools,
        awaited: Awaited[domain.ProviderJob],
        clock: Clock,
    ) -> None:
        """Take the providers, the tools, and where it is noted which jobs are awaited."""
        self._providers = providers
        self._tools = tools
        self._awaited = awaited
        self._clock = clock

    async def __call__(self, id_: str, payload: Mapping[str, Json]) -> None:
        """Await the provider's job and write the end, whatever it is."""
        job_id, name = str(payload["job_id"]), str(payload["provider"])
        audio = domain.AudioFile.of(payload["audio"])
        with recording() as record:
            record.attempts = int(str(payload["attempts"]))
            try:
                await self._end(await self._await_any(id_, name, job_id, audio, record))
            except StorageUnavailableError:
                raise  # nothing can be written, and nothing is lost: the work is begun again
            except ServiceError as error:
                await self._fail(id_, Failure.of(error), record, reason=str(error))
            except asyncio.CancelledError:
                await self._stop(name, job_id)
                await self._fail(id_, CANCELLED, record)
            except Exception:
                await self._fail(id_, _DEFECT, record)
                await self._discard(audio)
                raise
        await self._discard(audio)

    async def give_up(self, id_: str, payload: Mapping[str, Json], failure: Failure) -> None:
        """Write that the work ended like this; the provider's job and the audio stay for a retry that makes sense."""
        if isinstance(await self._tools.load(id_), Succeeded | Failed):
            return
        if not failure.retryable:
            await self._stop(str(payload["provider"]), str(payload["job_id"]))
            await self._discard(domain.AudioFile.of(payload["audio"]))
        await self._fail(id_, failure, CallRecord(attempts=int(str(payload["attempts"]))))

    async def _await_any(self, id_: str, name: str, job_id: str, audio: domain.AudioFile, record: CallRecord) -> Ended:
        """Await the job; one that the provider does not know any more is started again while the recording is there."""
        provider = self._providers.choose(name)
        try:
            return await self._await_job(id_, provider, job_id, record)
        except AdapterNotFoundError as lost:
            if not await asyncio.to_thread(audio.path.exists):
                raise
            _log.warning("provider_job_lost", extra={"work_id": id_, "provider": provider.name, "error": str(lost)})
            asked = domain.DiarizationParams.of((await self._tools.load(id_)).provenance.params)
            job_id = await provider.port.start(audio, asked, max_duration_s=self._tools.max_duration_s)
            try:
                return await self._await_job(id_, provider, job_id, record, since=self._clock.now())
            except asyncio.CancelledError:
                await self._stop(name, job_id)
                raise

    async def _discard(self, audio: domain.AudioFile) -> None:
        if audio.temporary:
            await self._tools.discard(audio.path)

    async def _fail(self, id_: str, failure: Failure, record: CallRecord, reason: str | None = None) -> None:
        await self._end(failed(await self._tools.load(id_), failure, record, at=self._clock.now()), reason)

    async def _end(self, envelope: Ended, reason: str | None = None) -> None:
        await self._tools.store.save(envelope)
        level = logging.WARNING if isinstance(envelope, Failed) and envelope.error != CANCELLED else logging.INFO
        fields = {"work_id": envelope.id, "provider": envelope.provenance.provider, "status": envelope.status}
        if isinstance(envelope, Failed):
            fields |= {"code": envelope.error.code, "error": reason or envelope.error.message}
        _log.log(level, "diarization_ended", extra=fields)

    async def _await_job(
        self, id_: str, provider: Chosen, job_id: str, record: CallRecord, since: datetime | None = None
    ) -> Ended:
        async def read() -> domain.ProviderJob:
            job = await provider.port.get(job_id)
            if job.state is domain.ProviderState.RUNNING:
                known, now = await self._tools.load(id_), self._clock.now()
                await self._tools.store.save(running(known, at=now, progress=job.progress, model=job.model))
            return job

        limit_s = self._tools.job_timeout_s(provider.name)
        try:
            # First of all: a provider may tell the end at any moment.
            with self._awaited.job(provider.name, job_id, id_) as told:
                known = await self._tools.load(id_)
                if isinstance(known, Succeeded):  # the process ended before anybody knew that the work had
                    return known
                # Work that is begun again has no more time than work that is not; after its end it has its time anew.
                begun = since or (self._clock.now() if isinstance(known, Failed) else known.provenance.created_at)
                timeout_s = max(0.0, limit_s - (self._clock.now() - begun).total_seconds())
                word = told if isinstance(provider.port, domain.Notifying) else None
                polled = await self._tools.poll(read, lambda job: job.state.ended, timeout_s=timeout_s, told=word)
            if polled.outcome is PollOutcome.TIMED_OUT:
                raise AdapterTimeoutError(f"not finished in {limit_s} s", adapter=provider.name, operation="run")
        except (AdapterNotFoundError, StorageUnavailableError):
            raise
        except ServiceError:
            await self._stop(provider.name, job_id)  # nobody will know what comes of it
            raise
        envelope, job = await self._tools.load(id_), polled.snapshot
        if job.state is domain.ProviderState.CANCELLED:
            return failed(envelope, CANCELLED, record, at=self._clock.now())
        if job.result is None:
            message = f"the job failed ({job.reason or 'no reason given'})"
            raise AdapterPermanentError(message, adapter=provider.name, operation="run")
        return succeeded(envelope, job.result, record, at=self._clock.now(), model=job.model)

    async def _stop(self, name: str, job_id: str) -> None:
        try:
            await self._providers.choose(name).port.cancel(job_id)
        except ServiceError as error:
            _log.warning("provider_cancel_failed", extra={"provider": name, "code": error.code})
