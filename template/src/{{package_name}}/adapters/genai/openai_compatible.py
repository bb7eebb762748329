"""OpenAI-compatible: any server that speaks the chat completions API.

Source: the public API reference of `POST /chat/completions`. Answers are read leniently: servers other than the
original leave fields out or set them to null.
"""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from ...chassis.contracts.errors import AdapterResponseError
from ...chassis.http_client import post_json
from ...chassis.providers import HttpProviderConfig, ProviderKind, Resources
from ...domain.genai import Answer, FinishReason, Generation, GenerationParams, TextGenerator, Usage

if TYPE_CHECKING:
    import httpx2

_FINISH_REASONS = {"length": FinishReason.LENGTH, "content_filter": FinishReason.REFUSAL}


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
    prompt_tokens: int
    completion_tokens: int


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


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
        content = await post_json(self._client, "chat/completions", body, adapter=self._name, operation="generate")
        try:
            return answer_of(_Completion.model_validate_json(content))
        except ValidationError as error:
            # The text of a validation error would quote the answer.
            raise AdapterResponseError(
                f"the answer is no chat completion ({error.error_count()} errors)",
                adapter=self._name,
                operation="generate",
            ) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


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
    usage = completion.usage
    counted = None if usage is None else Usage(usage.prompt_tokens, usage.completion_tokens)
    text = choice.message.content or choice.message.refusal or ""
    return Answer(Generation(text, reason, counted), completion.model)


def _build(config: OpenAICompatibleConfig, resources: Resources) -> OpenAICompatible:
    return OpenAICompatible(resources.name, config.model, resources.open_http(config))


KIND: ProviderKind[OpenAICompatibleConfig, TextGenerator] = ProviderKind(OpenAICompatibleConfig, _build)
