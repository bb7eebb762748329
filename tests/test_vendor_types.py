"""Vendor types: requests and answers of chat completions are held against the types of the vendor's own SDK."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import ConfigDict, TypeAdapter, ValidationError

from object_service.adapters.genai.openai_compatible import OpenAICompatible, OpenAICompatibleConfig
from object_service.adapters.genai.openai_compatible.vendors import VENDORS
from object_service.domain.genai import Answer, FinishReason, Generation, GenerationParams, Usage

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
PARAMS = {
    "none": GenerationParams(),
    "all": GenerationParams(5, 0.5, ("END", "STOP"), SCHEMA),
    "schema": GenerationParams(response_schema=SCHEMA),
}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def strictly(type_: Any) -> TypeAdapter[Any]:
    """Return what validates a body against a request type of the SDK, refusing fields that it does not know."""
    type_.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return TypeAdapter(type_)


WHOLE, STREAMED = strictly(CompletionCreateParamsNonStreaming), strictly(CompletionCreateParamsStreaming)


class Exchange:
    """Answers every request with one content, and keeps the bodies that were sent."""

    def __init__(self, content: str, content_type: str = "application/json") -> None:
        """Begin with nothing sent."""
        self._content, self._type = content, content_type
        self.bodies: list[Any] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer."""
        self.bodies.append(TypeAdapter(Any).validate_json(await request.aread()))
        return httpx2.Response(200, headers={"Content-Type": self._type}, text=self._content)


@asynccontextmanager
async def provider(exchange: Exchange, vendor: str = "openai") -> AsyncIterator[OpenAICompatible]:
    """Open a provider whose server is an exchange."""
    values = {"vendor": vendor, "api_key": "key", "model": "model-6"}
    config = OpenAICompatibleConfig.model_validate(values)
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(exchange), base_url="http://vendor.test/v1")
    port = OpenAICompatible("acme", config, client)
    yield port
    await port.aclose()


def completion(**choice: Any) -> str:
    """Return a whole answer as the SDK's own model writes it, nulls included."""
    message = {"role": "assistant", "content": "hi", "refusal": None} | choice.pop("message", {})
    choices = [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message} | choice]
    values = {"id": "c1", "created": 1, "model": "model-7", "object": "chat.completion", "choices": choices}
    return ChatCompletion.model_validate(values | {"usage": USAGE}, strict=True).model_dump_json()


def chunk(delta: Mapping[str, Any] | None = None, **more: Any) -> str:
    """Return a piece as the SDK's own model writes it, as an event."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None} | more]
    values = {"id": "c1", "created": 1, "model": "model-7", "object": "chat.completion.chunk", "choices": choices}
    usage = {"usage": USAGE} if delta is None else {}
    return f"data: {ChatCompletionChunk.model_validate(values | usage, strict=True).model_dump_json()}\n\n"


def valid(adapter: TypeAdapter[Any], body: Any) -> None:
    """Validate a body; messages and stop texts are only looked at when they are asked for."""
    checked = adapter.validate_python(body)
    for name in ("messages", "stop"):
        list(checked.get(name) or ())


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("params", PARAMS.values(), ids=PARAMS)
async def test_requests_have_the_form_of_the_sdk(params: GenerationParams, vendor: str) -> None:
    """What goes to any vendor is a request that the SDK could have sent, whole or streamed."""
    exchange = Exchange(completion())
    async with provider(exchange, vendor) as port:
        await port.generate("hello", params)
    events = Exchange(chunk({"content": "hi"}) + "data: [DONE]\n\n", "text/event-stream")
    async with provider(events, vendor) as port:
        assert ["hi"] == [item async for item in port.stream("hello", params) if isinstance(item, str)]
    valid(WHOLE, exchange.bodies[0])
    valid(STREAMED, events.bodies[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_output_tokens": 5},
        {"messages": [{"role": "user"}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        {"temperature": "hot"},
    ],
    ids=["field", "message", "schema", "type"],
)
def test_the_types_refuse_what_is_wrong(wrong: dict[str, Any]) -> None:
    """The comparison can fail: a field of another name, place or type is seen."""
    with pytest.raises(ValidationError):
        valid(WHOLE, {"model": "model-6", "messages": [{"role": "user", "content": "hello"}]} | wrong)


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({}, "hi", FinishReason.STOP),
        ({"finish_reason": "length"}, "hi", FinishReason.LENGTH),
        ({"finish_reason": "content_filter"}, "hi", FinishReason.REFUSAL),
        ({"finish_reason": "tool_calls", "message": {"content": None}}, "", FinishReason.INTERRUPTED),
        ({"message": {"content": None, "refusal": "no"}}, "no", FinishReason.REFUSAL),
    ],
    ids=["stop", "length", "filter", "tools", "refusal"],
)
async def test_answers_of_the_sdk_are_read(choice: dict[str, Any], text: str, reason: FinishReason) -> None:
    """A whole answer of the vendor's own model comes out with text, reason, usage and model."""
    async with provider(Exchange(completion(**choice))) as port:
        answer = await port.generate("hello", GenerationParams())
    assert Answer(Generation(text, reason, Usage(3, 2)), "model-7") == answer


async def test_pieces_of_the_sdk_are_read() -> None:
    """So does a streamed one, whose usage comes in a chunk without choices."""
    events = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "h"}),
        chunk({"content": "i"}),
        chunk({}, finish_reason="length"),
        chunk(),
        "data: [DONE]\n\n",
    ]
    async with provider(Exchange("".join(events), "text/event-stream")) as port:
        *pieces, last = [item async for item in port.stream("hello", GenerationParams())]
    assert ["h", "i"] == pieces
    assert Answer(Generation("hi", FinishReason.LENGTH, Usage(3, 2)), "model-7") == last
