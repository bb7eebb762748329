"""Anthropic Messages: any server that speaks the messages API of Anthropic.

Source: the public API reference of `POST /v1/messages`, with its pages on versions, errors, rate limits, stop reasons,
streaming and structured outputs. Blocks and events of unknown kinds are passed over, as it demands.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, HttpUrl, ValidationError

from ....chassis.contracts import errors
from ....chassis.http_client import post_events, post_json
from ....chassis.http_failures import Where
from ....chassis.providers import ProviderKind, Resources, TokenProviderConfig
from ....domain.genai import Answer, FinishReason, Generation, GenerationParams, TextGenerator, Usage
from .failures import explain_failure, failure_in

if TYPE_CHECKING:
    import httpx2

_PATH = "v1/messages"
_TEXTS = ("text", "text_delta")
_FINISH_REASONS = {
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.INTERRUPTED,
    "tool_use": FinishReason.INTERRUPTED,
}
type _Count = Annotated[int, Field(ge=0, le=10**12)]


class AnthropicMessagesConfig(TokenProviderConfig):
    """Settings of one server. The API demands a limit of every request, and thinking counts towards it."""

    base_url: HttpUrl = Field(HttpUrl("https://api.anthropic.com"), description="Where its API begins, without `/v1`.")
    api_version: Literal["2023-06-01", "2026-10-21"] = Field(
        "2023-06-01", description="Version of its API; the later one takes no temperature."
    )
    model: str = Field(min_length=1, description="Model to ask for.")
    default_max_tokens: int = Field(4096, ge=1, description="Tokens of an answer at most, where a call sets no limit.")


class _Block(BaseModel):
    type: str


class _Text(_Block):
    text: str


class _Event(_Block):
    message: Any = None
    content_block: Any = None
    delta: Any = None
    usage: Any = None


class _Usage(BaseModel):
    input_tokens: _Count
    cache_creation_input_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    output_tokens: _Count


class _Head(BaseModel):
    model: str | None = None
    stop_reason: str | None = None
    usage: Any = None


class _Message(_Head):
    type: Literal["message"] = "message"
    content: list[Any]


class _Received(_Message):
    begun: bool = False

    def add(self, event: _Event) -> str:
        """Take an event of a stream in and return its text; the counts of a later event replace earlier ones."""
        heads = {"message_start": event.message, "message_delta": event.delta}
        self.begun = self.begun or event.type == "message_start"
        if event.type in heads:
            head = _Head.model_validate(heads[event.type])
            self.model, self.stop_reason = head.model or self.model, head.stop_reason or self.stop_reason
            usage = event.usage or head.usage
            if isinstance(usage, dict):
                self.usage |= {name: count for name, count in usage.items() if count is not None}
        pieces = {"content_block_start": [event.content_block], "content_block_delta": [event.delta]}
        blocks = pieces.get(event.type, [])
        self.content += blocks
        return _text(blocks)


class AnthropicMessages:
    """One server behind HTTP; one client for the life of the provider."""

    def __init__(self, name: str, config: AnthropicMessagesConfig, client: "httpx2.AsyncClient") -> None:
        """Take the client; it is closed with the provider."""
        self._name = name
        self._config = config
        self._client = client

    async def generate(self, prompt: str, params: GenerationParams) -> Answer:
        """Ask for one message.

        Raises:
            AdapterError: of the class that fits the failure.
            RequestError: for params that this API does not take.
        """
        body, where = request_body(self._config, prompt, params), Where(adapter=self._name, operation="generate")
        content = await post_json(self._client, _PATH, body, explain=explain_failure, **where)
        try:
            return answer_of(_Message.model_validate_json(content))
        except ValidationError:
            # The text of a validation error would quote the answer.
            unreadable = errors.AdapterResponseError("the answer is no message", **where)
            raise failure_in(content, where) or unreadable from None

    async def stream(self, prompt: str, params: GenerationParams) -> AsyncGenerator[str | Answer]:
        """Ask for one message in pieces; an answer without the event of its end is one that was cut off.

        Raises:
            AdapterError: of the class that fits the failure.
            RequestError: for params that this API does not take.
        """
        body, where = request_body(self._config, prompt, params), Where(adapter=self._name, operation="stream")
        whole, data = _Received(content=[], usage={}), ""
        body["stream"] = True
        events = post_events(self._client, _PATH, body, last=_is_last, explain=explain_failure, **where)
        async with aclosing(events):
            async for data in events:
                if text := _added(whole, data, where):
                    yield text
        if not _is_last(data):
            raise errors.AdapterStreamInterruptedError("no event of the end", **where)
        if not whole.begun:
            raise errors.AdapterResponseError("no event begins a message", **where)
        yield answer_of(whole)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _added(whole: _Received, data: str, where: Where) -> str:
    try:
        text = whole.add(event := _Event.model_validate_json(data))
    except ValidationError:
        unreadable = errors.AdapterResponseError("an event is no part of a message", **where)
        raise failure_in(data.encode(), where) or unreadable from None
    if event.type == "error" and (failure := failure_in(data.encode(), where)):
        raise failure
    return text


def _is_last(data: str) -> bool:
    return "message_stop" in data and _Event.model_validate_json(data).type == "message_stop"


def request_body(config: AnthropicMessagesConfig, prompt: str, params: GenerationParams) -> dict[str, Any]:
    """Map a prompt and its params to the body of a request; what is not given is left out, except the limit.

    Raises:
        RequestError: for a temperature that the version of the API does not take, and for a blank stop text.
    """
    taken = "0 to 1" if config.api_version == "2023-06-01" else "none"
    if params.temperature is not None and (taken == "none" or params.temperature > 1):
        message = f"The temperature is {params.temperature:g}; this provider takes {taken}."
        raise errors.RequestError(message, pointer="/params/temperature")
    for index, text in enumerate(params.stop or ()):
        if not text.strip():
            message = f"Stop text {index + 1} is blank; this provider takes texts with visible characters."
            raise errors.RequestError(message, pointer=f"/params/stop/{index}")
    schema = params.response_schema
    optional = {
        "max_tokens": params.max_output_tokens,
        "temperature": params.temperature,
        "stop_sequences": None if params.stop is None else list(params.stop),
        "output_config": None if schema is None else {"format": {"type": "json_schema", "schema": schema}},
    }
    given = {name: value for name, value in optional.items() if value is not None}
    fixed = {"model": config.model, "max_tokens": config.default_max_tokens}
    return {**fixed, "messages": [{"role": "user", "content": prompt}], **given}


def answer_of(message: _Message) -> Answer:
    """Map an answer; an unknown reason of the end is an ordinary end."""
    reason = _FINISH_REASONS.get(message.stop_reason or "", FinishReason.STOP)
    return Answer(Generation(_text(message.content), reason, _counted(message.usage)), message.model)


def _text(blocks: list[Any]) -> str:
    """Return the text of blocks of content, or of pieces of one; other kinds have none."""
    texts = (block for block in blocks if _Block.model_validate(block).type in _TEXTS)
    return "".join(_Text.model_validate(text).text for text in texts)


def _counted(usage: object) -> Usage | None:
    """Return what was counted; input that was written to a cache or read from it is input too.

    Counts that are incomplete or impossible are no reason to lose the text.
    """
    try:
        counted = _Usage.model_validate(usage)
    except ValidationError:
        return None
    cached = (counted.cache_creation_input_tokens or 0) + (counted.cache_read_input_tokens or 0)
    return Usage(counted.input_tokens + cached, counted.output_tokens)


def _build(config: AnthropicMessagesConfig, resources: Resources) -> AnthropicMessages:
    headers = {"x-api-key": config.api_key.get_secret_value(), "anthropic-version": config.api_version}
    return AnthropicMessages(resources.name, config, resources.open_http(config, headers=headers))


KIND: ProviderKind[AnthropicMessagesConfig, TextGenerator] = ProviderKind(AnthropicMessagesConfig, _build)
