"""Orchestrates diarization: long work that is started, read, awaited and cancelled by id."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
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
_DEFECT = Failure.of(ServiceError("a defect"))
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
        raise RequestError(f"The diarization has {envelope.status} already.", code="already_finished", location="path")

    async def run(
        self, audio: AudioFile, *, provider: str | None = None, params: DiarizationParams | None = None
    ) -> Finished[Diarization]:
        """Start, wait for the end and return it; cancelling the caller cancels the work.

        Raises:
            RequestError: if the request cannot be served; what the provider refuses is a failed envelope.
        """
        envelope: Envelope[Diarization] = await self.start(audio, provider=provider, params=params)
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

    async def _start(self, audio: AudioFile, chosen: Provider[Diarizer], behaviour: Resolved) -> Pending | Failed:
        pending = self._pending(audio, chosen, behaviour)
        with recording() as record:
            try:
                asked, longest_s = DiarizationParams.of(behaviour.values), self._tools.max_duration_s
                job_id = await chosen.port.start(audio, asked, max_duration_s=longest_s)
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

    async def _end(self, envelope: Finished[Diarization], reason: str | None = None) -> None:
        await self._tools.store.save(envelope)
        level = logging.INFO
        fields = {"work_id": envelope.id, "provider": envelope.provenance.provider, "status": envelope.status}
        if isinstance(envelope, Failed):
            level = logging.INFO if envelope.error == _CANCELLED else logging.WARNING
            fields |= {"code": envelope.error.code, "error": reason or envelope.error.message}
        _log.log(level, "diarization_ended", extra=fields)

    async def _await_job(
        self, id_: str, provider: Provider[Diarizer], job_id: str, record: CallRecord
    ) -> Finished[Diarization]:
        async def read() -> ProviderJob:
            job = await provider.port.get(job_id)
            if job.state is ProviderState.RUNNING:
                known = await self.get(id_)
                seen = running(known, at=self._clock.now(), progress=job.progress, model=job.model)
                await self._tools.store.save(seen)
            return job

        timeout_s = self._tools.job_timeout_s(provider.name)
        polled = await self._tools.poll(read, lambda job: job.state in _ENDED, timeout_s=timeout_s)
        if polled.outcome is PollOutcome.TIMED_OUT:
            await self._stop(provider, job_id)
            raise AdapterTimeoutError(f"not finished in {timeout_s} s", adapter=provider.name, operation="run")
        envelope, job = await self.get(id_), polled.snapshot
        if job.state is ProviderState.CANCELLED:
            return failed(envelope, _CANCELLED, record, at=self._clock.now())
        if job.result is None:
            reason = f"the job failed ({job.reason or 'no reason given'})"
            raise AdapterPermanentError(reason, adapter=provider.name, operation="run")
        return succeeded(envelope, job.result, record, at=self._clock.now(), model=job.model)

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
            created_at=self._clock.now(),
        )
        return Pending(id=new_id("dia"), warnings=behaviour.notices, provenance=provenance)
