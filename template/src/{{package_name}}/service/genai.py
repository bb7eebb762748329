"""Orchestrates text generation: limits, policy, provider, envelope."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..chassis.contracts.call import recording
from ..chassis.contracts.clock import Clock
from ..chassis.contracts.context import current, entered
from ..chassis.contracts.envelope import Failed, Failure, Finished, Origin, Provenance, Succeeded
from ..chassis.contracts.errors import AdapterDeadlineError, AdapterPermanentError, RequestError, ServiceError
from ..chassis.contracts.identity import fingerprint, new_id
from ..chassis.contracts.policy import Level, Resolved, resolve
from ..chassis.contracts.providers import MAX_SHOWN_CHARS, Provider, Providers, did_you_mean
from ..domain.genai import (
    POLICY_VERSION,
    PROFILES,
    FinishReason,
    Generation,
    GenerationParams,
    GenerationRequest,
    TextGenerator,
    check_prompt,
)

_LATE = AdapterDeadlineError.default_code
_PARAMS = ("max_output_tokens", "temperature", "stop")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that passed every check, with its behaviour resolved."""

    request: GenerationRequest
    provider: Provider[TextGenerator]
    behaviour: Resolved

    @property
    def allow_partials(self) -> bool:
        return bool(self.behaviour.values.get("allow_partials"))


class GenAIService:
    """Generates text with whichever provider a request or the settings name."""

    def __init__(
        self,
        providers: Providers[TextGenerator],
        *,
        origin: Origin,
        clock: Clock,
        stated: Level,
        max_prompt_chars: int,
        max_concurrent: int,
    ) -> None:
        """Take the providers, and what the settings state about behaviour; counts are per service and batch."""
        self._providers = providers
        self._origin = origin
        self._clock = clock
        self._stated = stated
        self._max_prompt_chars = max_prompt_chars
        self._max_concurrent = max_concurrent

    async def generate(self, request: GenerationRequest) -> Finished[Generation]:
        """Answer one request; a provider's failure comes back as a failed envelope.

        Raises:
            RequestError: if the request itself cannot be served.
        """
        return await self._answer(self._prepare(request))

    async def generate_all(self, requests: Sequence[GenerationRequest]) -> list[Finished[Generation]] | Failed:
        """Answer a batch, in order; each item has an envelope, and an idempotency key, of its own.

        If the time runs out and an unfinished item does not allow partial results, its envelope stands for the whole.

        Raises:
            RequestError: if any item cannot be served; nothing is sent then.
        """
        prepared = [self._prepare(request, above=f"/items/{index}") for index, request in enumerate(requests)]
        slots = asyncio.Semaphore(self._max_concurrent)

        async def answer(index: int, item: _Prepared) -> Finished[Generation]:
            async with slots:
                with entered(current().part(index)):
                    return await self._answer(item)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer(index, item)) for index, item in enumerate(prepared)]
        envelopes = [task.result() for task in tasks]
        for item, envelope in zip(prepared, envelopes, strict=True):
            if isinstance(envelope, Failed) and envelope.error.code == _LATE and not item.allow_partials:
                return envelope
        return envelopes

    def _prepare(self, request: GenerationRequest, above: str = "") -> _Prepared:
        check_prompt(request.prompt, above=above)
        length = len(request.prompt)
        if length > self._max_prompt_chars:
            message = f"The prompt has {length} characters; at most {self._max_prompt_chars} are allowed."
            raise RequestError(message, code="prompt_too_long", pointer=f"{above}/prompt")
        return _Prepared(request, self._providers.choose(request.provider, above), self._behaviour(request, above))

    def _behaviour(self, request: GenerationRequest, above: str) -> Resolved:
        policy = request.policy
        asked = Level.of(
            "request",
            max_output_tokens=request.params.max_output_tokens,
            temperature=request.params.temperature,
            stop=None if request.params.stop is None else list(request.params.stop),
            allow_partials=policy.allow_partials,
            on_refusal=policy.on_refusal,
        )
        profile = policy.profile or str(self._stated.values.get("profile", "default"))
        if profile not in PROFILES:
            hint = f"{did_you_mean(profile, PROFILES)} Available: {', '.join(sorted(PROFILES))}."
            message = f"No profile named {profile[:MAX_SHOWN_CHARS]!r}.{hint}"
            raise RequestError(message, pointer=f"{above}/policy/profile")
        return resolve([asked, Level("profile", PROFILES[profile]), self._stated])

    async def _answer(self, prepared: _Prepared) -> Finished[Generation]:
        id_ = new_id("gen")
        warnings = prepared.behaviour.notices
        params = {name: value for name, value in prepared.behaviour.values.items() if name in _PARAMS}
        started = self._clock.now()
        provenance = Provenance(
            **asdict(self._origin),
            object="genai",
            operation="generate",
            provider=prepared.provider.name,
            kind=prepared.provider.kind,
            fingerprint=fingerprint("generate", {"prompt": prepared.request.prompt}, params),
            params=params,
            policy_version=POLICY_VERSION,
            correlation_id=current().correlation_id,
            created_at=started,
            started_at=started,
        )
        with recording() as record:
            try:
                effective = GenerationParams.of(prepared.behaviour.values)
                answer = await prepared.provider.port.generate(prepared.request.prompt, effective)
                self._check_refusal(prepared, answer.generation)
            except ServiceError as error:
                if isinstance(error, RequestError) and not record.attempts:
                    raise  # no provider was called
                provenance = provenance.after(record, finished_at=self._clock.now())
                return Failed(id=id_, error=Failure.of(error), warnings=warnings, provenance=provenance)
        provenance = provenance.after(record, finished_at=self._clock.now(), model=answer.model)
        return Succeeded(id=id_, result=answer.generation, warnings=warnings, provenance=provenance)

    def _check_refusal(self, prepared: _Prepared, generation: Generation) -> None:
        refused = generation.finish_reason is FinishReason.REFUSAL
        if refused and prepared.behaviour.values.get("on_refusal", "fail") == "fail":
            text = "The provider refused to answer."
            raise AdapterPermanentError(
                "refusal", adapter=prepared.provider.name, operation="generate", user_message=text
            )
