"""Orchestrates diarization: long work that is started, read, awaited and cancelled by id."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

from ...chassis.contracts.call import recording
from ...chassis.contracts.clock import Clock
from ...chassis.contracts.context import current, id_of_key
from ...chassis.contracts.envelope import Envelope, Failed, Failure, Origin, Pending, Provenance, Running, failed
from ...chassis.contracts.errors import RequestError, ServiceError
from ...chassis.contracts.identity import fingerprint, new_id
from ...chassis.contracts.json import Json
from ...chassis.contracts.policy import Level, Resolved
from ...chassis.contracts.providers import Providers
from ...chassis.contracts.work import Awaited
from ...domain import diarization as domain
from .work import CANCELLED, NAME, Chosen, DiarizationWork, Ended, WorkTools

__all__ = ["DiarizationService", "WorkTools"]

_LARGE_BYTES = 1_000_000  # reading more takes long enough to hold everybody else up


class DiarizationService:
    """Finds out who spoke when, with whichever provider a request or the settings name."""

    NAME = NAME

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
        tools.runner.register(self.NAME, DiarizationWork(providers, tools, self._awaited, clock))

    async def start(
        self, audio: domain.AudioFile, *, provider: str | None = None, params: domain.DiarizationParams | None = None
    ) -> Pending | Failed:
        """Hand the audio to a provider and return at once; repeated with an Idempotency-Key, nothing begins again.

        A temporary audio file is deleted when the work has ended, also when it could not begin.

        Raises:
            RequestError: if the request cannot be served; what the provider refuses is a failed envelope.
        """
        begun = False
        try:
            pending = self._pending(audio, *self.check(provider=provider, params=params))
            if await self._is_known(pending):
                return pending
            envelope = await self._begin(pending, audio)
            begun = isinstance(envelope, Pending)
            return envelope
        finally:
            if not begun and audio.temporary:
                await self._tools.discard(audio.path)

    async def _is_known(self, pending: Pending) -> bool:
        """Tell whether this was accepted before, by whatever process.

        Raises:
            RequestError: `conflict`, if the same key came with something else.
        """
        known = await self._tools.store.load(pending.id, domain.Diarization, of=NAME)
        if known is None or known.provenance.fingerprint == pending.provenance.fingerprint:
            return known is not None
        message = "The Idempotency-Key was used for another recording; choose a new one for each."
        raise RequestError(message, code="conflict", location="header")

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
        return await self._tools.load(id_)

    async def cancel(self, id_: str) -> Failed:
        """Stop the work; cancelling again returns the same envelope.

        Raises:
            RequestError: `not_found`, or `already_finished` when there is nothing left to stop.
        """
        await self.get(id_)
        await self._tools.runner.cancel(id_)
        envelope = await self.get(id_)
        if isinstance(envelope, Failed) and envelope.error.code == CANCELLED.code:
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

    async def _begin(self, pending: Pending, audio: domain.AudioFile) -> Pending | Failed:
        chosen = self._providers.choose(pending.provenance.provider)
        with recording() as record:
            try:
                asked = domain.DiarizationParams.of(pending.provenance.params)
                job_id = await chosen.port.start(audio, asked, max_duration_s=self._tools.max_duration_s)
            except ServiceError as error:
                if isinstance(error, RequestError) and not record.attempts:
                    raise  # no provider was called
                return failed(pending, Failure.of(error), record, at=self._clock.now())
        # The job belongs to the provider that took it, which may be another one than the chosen.
        pending = replace(pending, provenance=pending.provenance.by(record))
        payload: dict[str, Json] = {"job_id": job_id, "provider": pending.provenance.provider}
        payload |= {"attempts": record.attempts, "audio": audio.to_json()}
        await self._tools.runner.submit(NAME, pending, payload)
        return pending

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
        return Pending(id=id_of_key("dia", NAME) or new_id("dia"), warnings=behaviour.notices, provenance=provenance)
