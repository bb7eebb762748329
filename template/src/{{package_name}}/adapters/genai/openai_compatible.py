"""OpenAI-compatible: any server that speaks the chat completions API.

Source: the public API reference of `POST /chat/completions`. Answers are read leniently: servers other than the
original leave fields out or set them to null.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from ...chassis.contracts.errors import (
    AdapterError,
    AdapterQuotaError,
    AdapterResponseError,
    AdapterStreamInterruptedError,
    AdapterTransientError,
)
from ...chassis.http_client import post_events, post_json
from ...chassis.http_failures import Where
from ...chassis.providers import HttpProviderConfig, ProviderKind, Resources
from ...domain.genai import Answer, FinishReason, Generation, GenerationParams, TextGenerator, Usage

if TYPE_CHECKING:
    import httpx2

_REFUSED = "content_filter"
_FINISH_REASONS = {"length": FinishReason.LENGTH, _REFUSED: FinishReason.REFUSAL}
_END = "[DONE]"
_NO_QUOTA = "insufficient_quota"
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class OpenAICompatibleConfig(HttpProviderConfig):
    """Settings of one server."""

    model: str = Field(min_length=1, description="Model to ask for.")


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: Any = None


class _Piece(BaseModel):
    delta: _Message = _Message()
    finish_reason: str | None = None


class _Chunk(BaseModel):
    error: Any = None
    choices: list[_Piece] = []
    model: str | None = None
    usage: Any = None


class _Refusal(BaseModel):
    error: dict[str, Any]


class OpenAICompatible:
    """One server behind HTTP; one client for the life of the provider."""

    def __init__(self, name: str, model: str, client: "httpx2.AsyncClient") -> None:
        """Take the client; it is closed with the provider."""
        self._name = name
        self._model = model
        self._client = client

    async def generate(self, prompt: str, params: GenerationParams) -> Answer:
        """Ask for one completion.

        Raises:
            AdapterError: of the class that fits the failure.
        """
        body = request_body(self._model, prompt, params)
        content = await post_json(
            self._client, "chat/completions", body, adapter=self._name, operation="generate", explain=explain_failure
        )
        try:
            return answer_of(_Completion.model_validate_json(content))
        except ValidationError as error:
            # The text of a validation error would quote the answer.
            raise AdapterResponseError(
                f"the answer is no chat completion ({error.error_count()} errors)",
                adapter=self._name,
                operation="generate",
            ) from None

    async def stream(self, prompt: str, params: GenerationParams) -> AsyncGenerator[str | Answer]:
        """Ask for one completion in pieces; an answer without the mark of its end is one that was cut off.

        Raises:
            AdapterError: of the class that fits the failure.
        """
        body = request_body(self._model, prompt, params) | {"stream": True, "stream_options": {"include_usage": True}}
        received = _Received()
        where = Where(adapter=self._name, operation="stream")
        events = post_events(self._client, "chat/completions", body, last=_is_end, explain=explain_failure, **where)
        data = ""
        async with aclosing(events):
            async for data in events:
                if data != _END and (text := received.add(self._chunk(data))):
                    yield text
        if data != _END:
            raise AdapterStreamInterruptedError("no mark of the end", **where)
        yield received.answer()

    def _chunk(self, data: str) -> _Chunk:
        where = Where(adapter=self._name, operation="stream")
        try:
            chunk = _Chunk.model_validate_json(data)
        except ValidationError:
            raise AdapterResponseError("a piece is no chat completion", **where) from None
        if chunk.error is not None:
            code, known = explain_failure(data.encode())
            error = known or AdapterTransientError
            raise error("the provider reports a failure", **where, provider_code=code)
        return chunk

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _is_end(data: str) -> bool:
    return data == _END


def request_body(model: str, prompt: str, params: GenerationParams) -> dict[str, Any]:
    """Map a prompt and its params to the body of a request; what is not given is left out."""
    optional = {
        "max_tokens": params.max_output_tokens,
        "temperature": params.temperature,
        "stop": None if params.stop is None else list(params.stop),
    }
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        **{name: value for name, value in optional.items() if value is not None},
    }


def answer_of(completion: _Completion) -> Answer:
    """Map the first choice of an answer; a refusal is its own finish reason."""
    choice = completion.choices[0]
    reason = _FINISH_REASONS.get(choice.finish_reason or "", FinishReason.STOP)
    if choice.message.refusal is not None:
        reason = FinishReason.REFUSAL
    text = choice.message.content or choice.message.refusal or ""
    return Answer(Generation(text, reason, _counted(completion.usage)), completion.model)


class _Received:
    """What the pieces of a streamed answer come to."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._whole = _Completion(choices=[_Choice(message=_Message())])

    def add(self, chunk: _Chunk) -> str:
        """Take a piece in and return its text."""
        whole, last = self._whole, self._whole.choices[0]
        whole.model, whole.usage = chunk.model or whole.model, chunk.usage or whole.usage
        text = ""
        for piece in chunk.choices[:1]:
            reason = _REFUSED if piece.delta.refusal else piece.finish_reason
            last.finish_reason = reason or last.finish_reason
            text = piece.delta.content or piece.delta.refusal or ""
        self._texts.append(text)
        return text

    def answer(self) -> Answer:
        """Return the whole."""
        self._whole.choices[0].message.content = "".join(self._texts)
        return answer_of(self._whole)


def explain_failure(content: bytes) -> tuple[str | None, type[AdapterError] | None]:
    """Return the code in the body of a failure; a quota that is used up comes as a rate limit otherwise."""
    try:
        error = _Refusal.model_validate_json(content).error
    except ValidationError:
        return None, None
    codes = [code for code in (error.get("code"), error.get("type")) if isinstance(code, str) and _CODE.fullmatch(code)]
    return next(iter(codes), None), AdapterQuotaError if _NO_QUOTA in codes else None


def _counted(usage: object) -> Usage | None:
    """Return what was counted; counts that are incomplete or impossible are no reason to lose the text."""
    try:
        counted = _Usage.model_validate(usage)
    except ValidationError:
        return None
    return Usage(counted.prompt_tokens, counted.completion_tokens)


def _build(config: OpenAICompatibleConfig, resources: Resources) -> OpenAICompatible:
    return OpenAICompatible(resources.name, config.model, resources.open_http(config))


KIND: ProviderKind[OpenAICompatibleConfig, TextGenerator] = ProviderKind(OpenAICompatibleConfig, _build)
