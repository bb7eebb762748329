"""Orchestrates diarization: long work that is started, read, awaited and cancelled by id."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from ..chassis.contracts.call import CallRecord, recording
from ..chassis.contracts.clock import Clock
from ..chassis.contracts.context import current
from ..chassis.contracts.envelope import (
    Envelope,
    Failed,
    Failure,
    Finished,
    Origin,
    Pending,
    Provenance,
    Running,
    failed,
    running,
    succeeded,
)
from ..chassis.contracts.errors import AdapterPermanentError, AdapterTimeoutError, RequestError, ServiceError
from ..chassis.contracts.identity import fingerprint, new_id
from ..chassis.contracts.json import Json
from ..chassis.contracts.policy import Level, Resolved
from ..chassis.contracts.providers import Provider, Providers
from ..chassis.contracts.work import Awaited, EnvelopeStore, Poll, PollOutcome, WorkRunner
from ..domain import diarization as domain

type Chosen = Provider[domain.Diarizer]
type Ended = Finished[domain.Diarization]

_log = logging.getLogger(__name__)
_CANCELLED = Failure("cancelled", "The work was cancelled.", retryable=False)
_DEFECT = Failure.of(ServiceError("a defect"))
_LARGE_BYTES = 1_000_000  # reading more takes long enough to hold everybody else up


@dataclass(frozen=True, slots=True)
class WorkTools:
    """What long work needs beside providers: where it runs, where it is kept, how it is awaited."""

    runner: WorkRunner
    store: EnvelopeStore
    poll: Poll
    discard: Callable[[Path], Awaitable[None]]
    job_timeout_s: Callable[[str], float]
    max_duration_s: float


class DiarizationService:
    """Finds out who spoke when, with whichever provider a request or the settings name."""

    NAME = "diarization"

    def __init__(
        self, providers: Providers[domain.Diarizer], tools: WorkTools, *, origin: Origin, clock: Clock, stated: Level
    ) -> None:
        """Take the providers, the tools of long work, and what the settings state about behaviour."""
        self._providers = providers
        self._tools = tools
        self._origin = origin
        self._clock = clock
        self._stated = stated
        self._awaited = Awaited[domain.ProviderJob]()
        tools.runner.register(self.NAME, self._execute)

    async def start(
        self, audio: domain.AudioFile, *, provider: str | None = None, params: domain.DiarizationParams | None = None
    ) -> Pending | Failed:
        """Hand the audio to a provider and return at once.

        A temporary audio file is deleted when the work has ended, also when it could not begin.

        Raises:
            RequestError: if the request cannot be served; what the provider refuses is a failed envelope.
        """
        envelope: Pending | Failed | None = None
        try:
            envelope = await self._start(audio, *self.check(provider=provider, params=params))
        finally:
            if not isinstance(envelope, Pending) and audio.temporary:
                await self._tools.discard(audio.path)
        return envelope

    def check(
        self, *, provider: str | None = None, params: domain.DiarizationParams | None = None
    ) -> tuple[Chosen, Resolved]:
        """Check what can be checked before any audio has arrived; RequestError says what is wrong."""
        return self._providers.choose(provider), domain.behaviour_of(params, self._stated)

    async def get(self, id_: str) -> Envelope[domain.Diarization]:
        """Return the newest envelope.

        Raises:
            RequestError: `not_found`.
        """
        envelope = await self._tools.store.load(id_, domain.Diarization, of=self.NAME)
        if envelope is None:
            raise RequestError("No diarization has this id.", code="not_found", location="path")
        return envelope

    async def cancel(self, id_: str) -> Failed:
        """Stop the work; cancelling again returns the same envelope.

        Raises:
            RequestError: `not_found`, or `already_finished` when there is nothing left to stop.
        """
        await self.get(id_)
        await self._tools.runner.cancel(id_)
        envelope = await self.get(id_)
        if isinstance(envelope, Failed) and envelope.error.code == _CANCELLED.code:
            return envelope
        raise RequestError(f"The diarization has {envelope.status} already.", code="already_finished", location="path")

    async def notified(self, provider: str, headers: Mapping[str, str], body: bytes) -> None:
        """Take what a provider tells by itself about one of its jobs, and return when its end is written.

        A job that nobody awaits here (any more) is passed over: polling finds its end where it is awaited.

        Raises:
            RequestError: `not_found`, for a provider that does not do so; otherwise see `domain.Notifying`.
        """
        known = self._providers.by_name.get(provider)
        if known is None or not isinstance(known.port, domain.Notifying):
            raise RequestError("No provider of this name sends notifications.", code="not_found", location="path")
        read = partial(known.port.read_notification, headers, body, awaited=self._awaited.of(provider))
        told = await asyncio.to_thread(read) if len(body) > _LARGE_BYTES else read()
        # While a thread reads, polling may have found the end.
        if told is not None and told[1].state.ended and told[0] in self._awaited.of(provider):
            await self._tools.runner.wait(self._awaited.tell(provider, *told))

    async def run(
        self, audio: domain.AudioFile, *, provider: str | None = None, params: domain.DiarizationParams | None = None
    ) -> Ended:
        """Start, wait for the end and return it; cancelling the caller cancels the work.

        Raises:
            RequestError: if the request cannot be served; what the provider refuses is a failed envelope.
        """
        envelope: Envelope[domain.Diarization] = await self.start(audio, provider=provider, params=params)
        try:
            await self._tools.runner.wait(envelope.id)
        except asyncio.CancelledError:
            await self._tools.runner.cancel(envelope.id)
            raise
        if isinstance(envelope, Pending):
            envelope = await self.get(envelope.id)
        if isinstance(envelope, Pending | Running):
            raise TypeError(f"the work ended, its envelope is still {envelope.status}")
        return envelope

    async def _start(self, audio: domain.AudioFile, chosen: Chosen, behaviour: Resolved) -> Pending | Failed:
        pending = self._pending(audio, chosen, behaviour)
        with recording() as record:
            try:
                asked = domain.DiarizationParams.of(behaviour.values)
                job_id = await chosen.port.start(audio, asked, max_duration_s=self._tools.max_duration_s)
            except ServiceError as error:
                if isinstance(error, RequestError) and not record.attempts:
                    raise  # no provider was called
                return failed(pending, Failure.of(error), record, at=self._clock.now())
        # The job belongs to the provider that took it, which may be another one than the chosen.
        pending = replace(pending, provenance=pending.provenance.by(record))
        await self._tools.store.save(pending)
        payload: dict[str, Json] = {"job_id": job_id, "provider": pending.provenance.provider}
        payload |= {"attempts": record.attempts, "temporary": str(audio.path) if audio.temporary else None}
        await self._tools.runner.submit(self.NAME, pending.id, payload)
        return pending

    async def _execute(self, id_: str, payload: Mapping[str, Json]) -> None:
        """Await the provider's job and write the end, whatever it is: the work behind `start`."""
        job_id, name = str(payload["job_id"]), str(payload["provider"])
        with recording() as record:
            record.attempts = int(str(payload["attempts"]))
            try:
                await self._end(await self._await_job(id_, self._providers.choose(name), job_id, record))
            except ServiceError as error:
                await self._fail(id_, Failure.of(error), record, reason=str(error))
            except asyncio.CancelledError:
                await self._stop(self._providers.choose(name), job_id)
                await self._fail(id_, _CANCELLED, record)
            except Exception:
                await self._fail(id_, _DEFECT, record)
                raise
            finally:
                if payload.get("temporary") is not None:
                    await self._tools.discard(Path(str(payload["temporary"])))

    async def _fail(self, id_: str, failure: Failure, record: CallRecord, reason: str | None = None) -> None:
        await self._end(failed(await self.get(id_), failure, record, at=self._clock.now()), reason)

    async def _end(self, envelope: Ended, reason: str | None = None) -> None:
        await self._tools.store.save(envelope)
        level = logging.WARNING if isinstance(envelope, Failed) and envelope.error != _CANCELLED else logging.INFO
        fields = {"work_id": envelope.id, "provider": envelope.provenance.provider, "status": envelope.status}
        if isinstance(envelope, Failed):
            fields |= {"code": envelope.error.code, "error": reason or envelope.error.message}
        _log.log(level, "diarization_ended", extra=fields)

    async def _await_job(self, id_: str, provider: Chosen, job_id: str, record: CallRecord) -> Ended:
        async def read() -> domain.ProviderJob:
            job = await provider.port.get(job_id)
            if job.state is domain.ProviderState.RUNNING:
                known, now = await self.get(id_), self._clock.now()
                await self._tools.store.save(running(known, at=now, progress=job.progress, model=job.model))
            return job

        timeout_s = self._tools.job_timeout_s(provider.name)
        try:
            with self._awaited.job(provider.name, job_id, id_) as told:
                word = told if isinstance(provider.port, domain.Notifying) else None
                polled = await self._tools.poll(read, lambda job: job.state.ended, timeout_s=timeout_s, told=word)
            if polled.outcome is PollOutcome.TIMED_OUT:
                raise AdapterTimeoutError(f"not finished in {timeout_s} s", adapter=provider.name, operation="run")
        except ServiceError:
            await self._stop(provider, job_id)  # nobody will know what comes of it
            raise
        envelope, job = await self.get(id_), polled.snapshot
        if job.state is domain.ProviderState.CANCELLED:
            return failed(envelope, _CANCELLED, record, at=self._clock.now())
        if job.result is None:
            message = f"the job failed ({job.reason or 'no reason given'})"
            raise AdapterPermanentError(message, adapter=provider.name, operation="run")
        return succeeded(envelope, job.result, record, at=self._clock.now(), model=job.model)

    async def _stop(self, provider: Chosen, job_id: str) -> None:
        try:
            await provider.port.cancel(job_id)
        except ServiceError as error:
            _log.warning("provider_cancel_failed", extra={"provider": provider.name, "code": error.code})

    def _pending(self, audio: domain.AudioFile, chosen: Chosen, behaviour: Resolved) -> Pending:
        provenance = Provenance(
            **asdict(self._origin),
            object=self.NAME,
            operation="diarize",
            provider=chosen.name,
            kind=chosen.kind,
            fingerprint=fingerprint("diarize", audio.content(), behaviour.values),
            params=behaviour.values,
            policy_version=domain.POLICY_VERSION,
            correlation_id=current().correlation_id,
            created_at=self._clock.now(),
        )
        return Pending(id=new_id("dia"), warnings=behaviour.notices, provenance=provenance)
