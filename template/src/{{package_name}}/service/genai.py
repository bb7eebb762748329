"""Orchestrates text generation: limits, policy, provider, envelope."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

from ..chassis.contracts.call import CallRecord, recording
from ..chassis.contracts.clock import Clock
from ..chassis.contracts.context import current, entered
from ..chassis.contracts.envelope import Failed, Failure, Finished, Notice, Origin, Provenance, Succeeded
from ..chassis.contracts.errors import (
    AdapterDeadlineError,
    AdapterError,
    AdapterStreamInterruptedError,
    RequestError,
    ServiceError,
)
from ..chassis.contracts.identity import fingerprint, new_id
from ..chassis.contracts.json import Json
from ..chassis.contracts.money import Price
from ..chassis.contracts.policy import Level, Resolved
from ..chassis.contracts.providers import Provider, Providers
from ..chassis.contracts.schemas import Follows, SchemaLanguage, parsed
from ..chassis.contracts.work import Keep, unkept
from ..domain.genai import (
    POLICY_VERSION,
    Answer,
    Delta,
    FinishReason,
    Generation,
    GenerationParams,
    GenerationRequest,
    OffSchemaError,
    RefusedError,
    TextGenerator,
    UnusableAnswerError,
    behaviour,
    check_prompt,
    pieces_of,
)

_LATE = AdapterDeadlineError.default_code
_PARAMS = ("max_output_tokens", "temperature", "stop", "response_schema")
_UNFINISHED = (FinishReason.LENGTH, FinishReason.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that passed every check, with its behaviour resolved."""

    request: GenerationRequest
    provider: Provider[TextGenerator]
    behaviour: Resolved
    follows: Follows | None

    @property
    def allow_partials(self) -> bool:
        return bool(self.behaviour.values.get("allow_partials"))


type StreamItem = Delta | Finished[Generation]
"""Pieces come first; the envelope is the last."""


class GenAIService:
    """Generates text with whichever provider a request or the settings name."""

    def __init__(  # noqa: PLR0913 - what it works with, each named by its caller
        self,
        providers: Providers[TextGenerator],
        *,
        origin: Origin,
        clock: Clock,
        stated: Level,
        max_prompt_chars: int,
        max_concurrent: int,
        schemas: SchemaLanguage,
        prices: Mapping[str, Price] = MappingProxyType({}),
        keep: Keep = unkept,
    ) -> None:
        """Take the providers with their prices, and what the settings state; counts are per service and batch."""
        self._providers = providers
        self._origin = origin
        self._clock = clock
        self._stated = stated
        self._max_prompt_chars, self._max_concurrent = max_prompt_chars, max_concurrent
        self._schemas = schemas
        self._prices, self._keep = prices, keep

    async def generate(self, request: GenerationRequest) -> Finished[Generation]:
        """Answer one request; a provider's failure comes back as a failed envelope.

        Raises:
            RequestError: if the request itself cannot be served.
        """
        return await self._answer(await self._prepare(request))

    async def generate_all(self, requests: Sequence[GenerationRequest]) -> list[Finished[Generation]] | Failed:
        """Answer a batch, in order; each item has an envelope, and an idempotency key, of its own.

        If the time runs out and an unfinished item does not allow partial results, its envelope stands for the whole.

        Raises:
            RequestError: if any item cannot be served; nothing is sent then.
        """
        prepared = [await self._prepare(request, above=f"/items/{index}") for index, request in enumerate(requests)]
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

    async def _prepare(self, request: GenerationRequest, above: str = "") -> _Prepared:
        check_prompt(request.prompt, above=above)
        if (length := len(request.prompt)) > self._max_prompt_chars:
            message = f"The prompt has {length} characters; at most {self._max_prompt_chars} are allowed."
            raise RequestError(message, code="prompt_too_long", pointer=f"{above}/prompt")
        provider = self._providers.choose(request.provider, above)
        resolved = behaviour(request, self._stated, above=above)
        schema = request.params.response_schema
        try:
            # A large schema takes milliseconds, in which others have their turn.
            follows = None if schema is None else await asyncio.to_thread(self._schemas.compiled, schema)
        except ValueError as error:
            message = f"The response schema cannot be used: {error}."
            raise RequestError(message, pointer=f"{above}/params/response_schema") from None
        return _Prepared(request, provider, resolved, follows)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[StreamItem]:
        """Answer one request in pieces; the last item is the envelope, with the whole text.

        A provider that breaks off after some pieces makes it a failed one, or, where the request allows partial
        results, a succeeded one with the text so far and a warning.

        Raises:
            RequestError: if the request itself cannot be served.
        """
        prepared = await self._prepare(request)
        id_, provenance, record, pieces = new_id("gen"), self._begun(prepared), CallRecord(), list[str]()
        effective = GenerationParams.of(prepared.behaviour.values)
        async with aclosing(pieces_of(prepared.provider.port, request.prompt, effective)) as stream:
            try:
                # The pipeline begins with the first item, in a task of its own that inherits the record.
                with recording(record):
                    item = await anext(stream, None)
                while isinstance(item, str):
                    yield Delta(len(pieces), item)
                    pieces.append(item)
                    item = await anext(stream, None)
                answer = item or _cut_off(prepared)
                with suppress(AdapterError):  # the answer is whole, whatever comes of its connection
                    await anext(stream, None)
                yield await self._succeeded(prepared, id_, provenance, record, answer)
            except AdapterError as error:
                if pieces and prepared.allow_partials and not isinstance(error, UnusableAnswerError):
                    answer = Answer(Generation("".join(pieces), FinishReason.INTERRUPTED))
                    yield await self._succeeded(prepared, id_, provenance, record, answer, cut=error.code)
                else:
                    yield self._failed(prepared, id_, provenance, record, error)

    async def _answer(self, prepared: _Prepared) -> Finished[Generation]:
        id_, provenance = new_id("gen"), self._begun(prepared)
        with recording() as record:
            try:
                effective = GenerationParams.of(prepared.behaviour.values)
                answer = await prepared.provider.port.generate(prepared.request.prompt, effective)
                return await self._succeeded(prepared, id_, provenance, record, answer)
            except ServiceError as error:
                if isinstance(error, RequestError) and not record.attempts:
                    raise  # no provider was called
                return self._failed(prepared, id_, provenance, record, error)

    def _begun(self, prepared: _Prepared) -> Provenance:
        params = {name: value for name, value in prepared.behaviour.values.items() if name in _PARAMS}
        started = self._clock.now()
        return Provenance(
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

    async def _succeeded(
        self, prepared: _Prepared, id_: str, provenance: Provenance, record: CallRecord, answer: Answer, cut: str = ""
    ) -> Succeeded[Generation]:
        provenance = provenance.after(record, finished_at=self._clock.now(), model=answer.model)
        result, warnings = answer.generation, prepared.behaviour.notices
        if not cut:
            result = replace(result, data=_data(prepared, result))
            if prepared.follows and result.data is None and result.finish_reason in _UNFINISHED:
                cut = result.finish_reason
        if cut:
            warnings = (*warnings, Notice("partial_result", f"the provider broke off: {cut}"))
        price, usage = self._prices.get(provenance.provider), result.usage  # of the one that answered
        if price is not None and usage is not None:
            cost = price.cost(usage.input_tokens, usage.output_tokens)
            result = replace(result, usage=replace(usage, cost=cost))
        envelope = Succeeded(id=id_, result=result, warnings=warnings, provenance=provenance)
        return replace(envelope, warnings=(*warnings, *await self._keep(envelope)))

    def _failed(
        self, prepared: _Prepared, id_: str, provenance: Provenance, record: CallRecord, error: ServiceError
    ) -> Failed:
        provenance = provenance.after(record, finished_at=self._clock.now())
        return Failed(id=id_, error=Failure.of(error), warnings=prepared.behaviour.notices, provenance=provenance)


def _data(prepared: _Prepared, generation: Generation) -> Json | None:
    """Return the JSON that was asked for, or None where there is none to expect.

    A refusal has none. Nor has a text that broke off, which is returned only where partial results are allowed.

    Raises:
        UnusableAnswerError: for a refusal that is a failure, and for a text that does not follow the schema.
    """
    reason, name = generation.finish_reason, prepared.provider.name
    refused = reason is FinishReason.REFUSAL
    if refused and prepared.behaviour.values.get("on_refusal", "fail") == "fail":
        raise RefusedError("refusal", adapter=name, operation="generate")
    if refused or prepared.follows is None:
        return None
    try:
        return parsed(generation.text, prepared.follows)
    except ValueError as error:
        if prepared.allow_partials and reason in _UNFINISHED:
            return None
        raise OffSchemaError(f"{error} ({reason})", adapter=name, operation="generate") from None


def _cut_off(prepared: _Prepared) -> Answer:
    """Raise what a stream without an answer at its end is."""
    raise AdapterStreamInterruptedError("no answer at the end", adapter=prepared.provider.name, operation="stream")
