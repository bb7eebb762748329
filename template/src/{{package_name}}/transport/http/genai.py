"""HTTP routes of generated text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal, assert_never

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from ...chassis.contracts.envelope import Envelope, Failed, Succeeded
from ...chassis.web.events import EventStream, event, event_stream, events_of
from ...chassis.web.problems import CallFailed, problem_of
from ...chassis.web.routes import (
    CALLING,
    REF_TEMPLATE,
    end_with_caller,
    finished,
    json_response,
    problems,
    provided,
    require_json,
)
from ...domain.genai import Delta, Generation, GenerationParams, GenerationPolicy, GenerationRequest
from ...service.genai import GenAIService, StreamItem

_STRICT = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)
_JSON_BYTES_PER_CHAR = 12
"""A character outside the basic plane, escaped: two times `\\uXXXX`."""


class GenerationParamsBody(BaseModel):
    """Params of one call."""

    model_config = _STRICT

    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    stop: list[Annotated[str, Field(min_length=1)]] | None = Field(default=None, min_length=1, max_length=4)
    response_schema: dict[str, Any] | None = Field(
        default=None,
        description="JSON Schema (draft 2020-12) that the text has to follow; `data` is what it stands for.",
    )


class GenerationPolicyBody(BaseModel):
    """How the answer is treated."""

    model_config = _STRICT

    profile: str | None = None
    allow_partials: bool | None = None
    on_refusal: Literal["fail", "return"] | None = None


class GenerationBody(BaseModel):
    """One question."""

    model_config = _STRICT

    prompt: str = Field(min_length=1)
    provider: str | None = None
    params: GenerationParamsBody = GenerationParamsBody()
    policy: GenerationPolicyBody = GenerationPolicyBody()

    def to_request(self) -> GenerationRequest:
        """Return the question in the words of the domain."""
        stop = self.params.stop
        params = GenerationParams(
            self.params.max_output_tokens,
            self.params.temperature,
            None if stop is None else tuple(stop),
            self.params.response_schema,
        )
        policy = GenerationPolicy(self.policy.profile, self.policy.allow_partials, self.policy.on_refusal)
        return GenerationRequest(self.prompt, self.provider, params, policy)


class BatchBody(BaseModel):
    """Several questions, answered in order."""

    model_config = _STRICT

    items: list[GenerationBody] = Field(min_length=1, max_length=100)


class BatchAnswer(BaseModel):
    """One envelope per question, in order."""

    items: list[Envelope[Generation]]


_FAILURES = problems(*CALLING, "prompt_too_long")
_EVENTS = events_of(
    delta={"type": "object", "properties": {"index": {"type": "integer"}, "text": {"type": "string"}}},
    envelope={"$ref": REF_TEMPLATE.format(model="GenerationSucceeded")},
    error={"$ref": REF_TEMPLATE.format(model="ProblemDocument")},
)

type Service = Annotated[GenAIService, Depends(provided(GenAIService))]


def build_router(max_prompt_chars: int) -> APIRouter:
    """Return the routes; the longest body follows from the longest prompt."""
    needs = [Depends(require_json), Depends(end_with_caller, scope="function")]
    router = APIRouter(prefix="/v1/generations", tags=["genai"], dependencies=needs)
    max_body_size = 64 * 1024 + _JSON_BYTES_PER_CHAR * max_prompt_chars

    @router.post("", response_model=Succeeded[Generation], responses=_FAILURES, max_body_size=max_body_size)
    async def generate(body: GenerationBody, service: Service) -> Response:
        """Answer one prompt."""
        return finished(await service.generate(body.to_request()))

    @router.post("/stream", response_class=EventStream, responses=_EVENTS | _FAILURES, max_body_size=max_body_size)
    async def stream(body: GenerationBody, request: Request, service: Service) -> Response:
        """Answer one prompt in pieces: `delta` events, and `envelope` or `error` as the last one."""
        items = service.stream(body.to_request())
        first = await anext(items)
        if isinstance(first, Failed):
            raise CallFailed(first)  # nothing was sent: an ordinary problem
        return event_stream(_events(first, items, request.url.path))

    @router.post("/batch", response_model=BatchAnswer, responses=_FAILURES, max_body_size=10 * max_body_size)
    async def generate_batch(body: BatchBody, service: Service) -> Response:
        """Answer up to 100 prompts; each item succeeds or fails by itself."""
        answered = await service.generate_all([item.to_request() for item in body.items])
        return finished(answered) if isinstance(answered, Failed) else json_response({"items": answered})

    return router


async def _events(first: StreamItem, rest: AsyncGenerator[StreamItem], path: str) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        item: StreamItem | None = first
        while item is not None:
            yield _event(item, path)
            item = await anext(rest, None)


def _event(item: StreamItem, path: str) -> bytes:
    match item:
        case Delta():
            return event("delta", item)
        case Succeeded():
            return event("envelope", item)
        case Failed():
            return event("error", problem_of(item, path))
        case _:
            assert_never(item)
