"""Orchestrates diarization: long work that is started, read, awaited and cancelled by id."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
    Succeeded,
)
from ..chassis.contracts.errors import (
    AdapterError,
    AdapterPermanentError,
    AdapterTimeoutError,
    RequestError,
    ServiceError,
)
from ..chassis.contracts.identity import fingerprint, new_id
from ..chassis.contracts.json import Json, to_json
from ..chassis.contracts.policy import Level, Resolved, resolve
from ..chassis.contracts.providers import Provider, Providers
from ..chassis.contracts.work import EnvelopeStore, Poll, PollOutcome, WorkRunner
from ..domain.diarization import (
    POLICY_VERSION,
    AudioFile,
    Diarization,
    DiarizationParams,
    Diarizer,
    ProviderJob,
    ProviderState,
)

_log = logging.getLogger(__name__)
_CANCELLED = Failure("cancelled", "The work was cancelled.", retryable=False)
_ENDED = frozenset({ProviderState.SUCCEEDED, ProviderState.FAILED, ProviderState.CANCELLED})


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
        self, providers: Providers[Diarizer], tools: WorkTools, *, origin: Origin, clock: Clock, stated: Level
    ) -> None:
        """Take the providers, the tools of long work, and what the settings state about behaviour."""
        self._providers = providers
        self._tools = tools
        self._origin = origin
        self._clock = clock
        self._stated = stated
        tools.runner.register(self.NAME, self._execute)

    async def start(
        self, audio: AudioFile, *, provider: str | None = None, params: DiarizationParams | None = None
    ) -> Pending | Failed:
        """Hand the audio to a provider and return at once.

        A temporary audio file is deleted when the work has ended, also when it could not begin.

        Raises:
            RequestError: if the request cannot be served, or the audio cannot be read.
        """
        envelope: Pending | Failed | None = None
        try:
            envelope = await self._start(audio, *self.check(provider=provider, params=params))
        finally:
            if not isinstance(envelope, Pending) and audio.temporary:
                await self._tools.discard(audio.path)
        return envelope

    def check(
        self, *, provider: str | None = None, params: DiarizationParams | None = None
    ) -> tuple[Provider[Diarizer], Resolved]:
        """Check what can be checked before any audio has arrived.

        Raises:
            RequestError: `unknown_provider`, or params that contradict each other.
        """
        asked = params or DiarizationParams()
        contradiction = asked.contradiction()
        if contradiction is not None:
            raise RequestError(f"Expected {contradiction}.", pointer="/params")
        behaviour = resolve([Level.of("request", **to_json(asked)), self._stated])
        if DiarizationParams.of(behaviour.values).contradiction() is not None:
            # The request states one limit and the settings the other: the request's counts.
            stronger, weaker = sorted(behaviour.sources, key=lambda limit: behaviour.sources[limit] != "request")
            behaviour = behaviour.without(weaker, stronger)
        return self._providers.choose(provider), behaviour

    async def get(self, id_: str) -> Envelope[Diarization]:
        """Return the newest envelope.

        Raises:
            RequestError: `not_found`.
        """
        envelope = await self._tools.store.load(id_)
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
        text = f"The diarization has {envelope.status} already."
        raise RequestError(text, code="already_finished", location="path")

    async def run(
        self, audio: AudioFile, *, provider: str | None = None, params: DiarizationParams | None = None
    ) -> Finished[Diarization]:
        """Start, wait for the end and return it; cancelling the caller cancels the work.

        Raises:
            RequestError: if the request cannot be served, or the audio cannot be read.
        """
        envelope: Envelope[Diarization] = await self.start(audio, provider=provider, params=params)
        try:
            await self._tools.runner.wait(envelope.id)
        except asyncio.CancelledError:
            await self.cancel(envelope.id)
            raise
        if isinstance(envelope, Pending):
            envelope = await self.get(envelope.id)
        if isinstance(envelope, Pending | Running):
            raise TypeError(f"the work ended, its envelope is still {envelope.status}")
        return envelope

    async def _start(self, audio: AudioFile, chosen: Provider[Diarizer], behaviour: Resolved) -> Pending | Failed:
        pending = self._pending(audio, chosen, behaviour)
        with recording() as record:
            try:
                asked, longest_s = DiarizationParams.of(behaviour.values), self._tools.max_duration_s
                job_id = await chosen.port.start(audio, asked, max_duration_s=longest_s)
            except AdapterError as error:
                return self._failed(pending, Failure.of(error), record)
        await self._tools.store.save(pending)
        payload: dict[str, Json] = {"job_id": job_id, "provider": chosen.name, "attempts": record.attempts}
        payload["temporary"] = str(audio.path) if audio.temporary else None
        await self._tools.runner.submit(self.NAME, pending.id, payload)
        return pending

    async def _execute(self, id_: str, payload: Mapping[str, Json]) -> None:
        """Await the provider's job and write the end: the work behind `start`."""
        job_id = str(payload["job_id"])
        provider = self._providers.choose(str(payload["provider"]))
        with recording() as record:
            record.attempts = int(str(payload["attempts"]))
            try:
                envelope = await self._await_job(id_, provider, job_id, record)
            except AdapterError as error:
                envelope = self._failed(await self.get(id_), Failure.of(error), record)
            except asyncio.CancelledError:
                await self._stop(provider, job_id)
                envelope = self._failed(await self.get(id_), _CANCELLED, record)
        await self._tools.store.save(envelope)
        _log.info("diarization_ended", extra={"work_id": id_, "status": envelope.status})
        if payload.get("temporary") is not None:
            await self._tools.discard(Path(str(payload["temporary"])))

    async def _await_job(
        self, id_: str, provider: Provider[Diarizer], job_id: str, record: CallRecord
    ) -> Finished[Diarization]:
        async def read() -> ProviderJob:
            job = await provider.port.get(job_id)
            if job.state is ProviderState.RUNNING:
                await self._tools.store.save(self._running(await self.get(id_), job))
            return job

        timeout_s = self._tools.job_timeout_s(provider.name)
        polled = await self._tools.poll(read, lambda job: job.state in _ENDED, timeout_s=timeout_s)
        if polled.outcome is PollOutcome.TIMED_OUT:
            await self._stop(provider, job_id)
            raise AdapterTimeoutError(f"not finished in {timeout_s} s", adapter=provider.name, operation="run")
        envelope, job = await self.get(id_), polled.snapshot
        if job.state is ProviderState.CANCELLED:
            return self._failed(envelope, _CANCELLED, record)
        if job.result is None:
            raise AdapterPermanentError("the job failed", adapter=provider.name, operation="run")
        provenance = envelope.provenance.after(record, finished_at=self._clock.now(), model=job.model)
        provenance = replace(provenance, started_at=provenance.started_at or provenance.created_at)
        return Succeeded(id=id_, result=job.result, warnings=envelope.warnings, provenance=provenance)

    async def _stop(self, provider: Provider[Diarizer], job_id: str) -> None:
        try:
            await provider.port.cancel(job_id)
        except ServiceError as error:
            _log.warning("provider_cancel_failed", extra={"provider": provider.name, "code": error.code})

    def _pending(self, audio: AudioFile, chosen: Provider[Diarizer], behaviour: Resolved) -> Pending:
        params = dict(behaviour.values)
        content = {"audio": {"bytes": audio.bytes, "sha256": audio.sha256}}
        provenance = Provenance(
            **asdict(self._origin),
            object=self.NAME,
            operation="diarize",
            provider=chosen.name,
            kind=chosen.kind,
            fingerprint=fingerprint("diarize", content, params),
            params=params,
            policy_version=POLICY_VERSION,
            correlation_id=current().correlation_id,
            attempts=0,
            fallback_used=False,
            created_at=self._clock.now(),
        )
        return Pending(id=new_id("dia"), warnings=behaviour.notices, provenance=provenance)

    def _running(self, envelope: Envelope[Any], job: ProviderJob) -> Running:
        begun = envelope.provenance.started_at or self._clock.now()
        provenance = replace(envelope.provenance, started_at=begun, model=job.model)
        return Running(id=envelope.id, progress=job.progress, warnings=envelope.warnings, provenance=provenance)

    def _failed(self, envelope: Envelope[Any], failure: Failure, record: CallRecord) -> Failed:
        provenance = envelope.provenance.after(record, finished_at=self._clock.now())
        return Failed(id=envelope.id, error=failure, warnings=envelope.warnings, provenance=provenance)
