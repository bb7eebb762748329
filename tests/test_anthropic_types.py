"""Anthropic Messages speaks what the vendor's own SDK speaks: its requests, answers, events and failures."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast, get_args

import anthropic
import httpx2
import pytest
from anthropic import types
from anthropic._constants import ANTHROPIC_API_VERSION
from anthropic.types import shared
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from pydantic import BaseModel, TypeAdapter

from object_service.adapters.genai import anthropic_messages as adapter
from object_service.chassis.clock import SystemClock
from object_service.chassis.contracts import errors
from object_service.chassis.providers import HttpProviderConfig, Resources
from object_service.domain.genai import Answer, FinishReason, Generation, GenerationParams, StreamingGenerator, Usage

type Handler = Callable[[httpx2.Request], httpx2.Response]

KEY = "key"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
NOTHING = GenerationParams()
ASKED = [
    pytest.param(NOTHING, id="nothing-asked"),
    pytest.param(GenerationParams(50, None, ("END", "###"), SCHEMA), id="everything-asked"),
]
USAGE = types.Usage(
    input_tokens=3,
    output_tokens=5,
    cache_creation=types.CacheCreation(ephemeral_1h_input_tokens=0, ephemeral_5m_input_tokens=10),
    cache_creation_input_tokens=10,
    cache_read_input_tokens=100,
    output_tokens_details=types.OutputTokensDetails(thinking_tokens=2),
    server_tool_use=types.ServerToolUsage(web_search_requests=0, web_fetch_requests=0),
    service_tier="standard",
)
THOUGHT = types.ThinkingBlock(type="thinking", thinking="hm", signature="c2ln")
BLOCKS: list[types.ContentBlock] = [
    THOUGHT,
    types.RedactedThinkingBlock(type="redacted_thinking", data="ZGF0YQ=="),
    types.TextBlock(type="text", text="hel"),
    types.TextBlock(
        type="text",
        text="lo",
        citations=[
            types.CitationCharLocation(
                type="char_location", cited_text="lo", document_index=0, end_char_index=2, start_char_index=0
            )
        ],
    ),
]
ENDS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.INTERRUPTED,
    "tool_use": FinishReason.INTERRUPTED,
}
FAILURES: dict[str, tuple[int, type[errors.AdapterError]]] = {
    "invalid_request_error": (400, errors.AdapterInvalidRequestError),
    "authentication_error": (401, errors.AdapterAuthenticationError),
    "billing_error": (402, errors.AdapterQuotaError),
    "permission_error": (403, errors.AdapterAuthenticationError),
    "not_found_error": (404, errors.AdapterNotFoundError),
    "rate_limit_error": (429, errors.AdapterRateLimitedError),
    "api_error": (500, errors.AdapterTransientError),
    "timeout_error": (504, errors.AdapterTimeoutError),
    "overloaded_error": (529, errors.AdapterUnavailableError),
}


@asynccontextmanager
async def provider(handle: Handler) -> AsyncIterator[StreamingGenerator]:
    """Build a provider in the version that the SDK speaks, whose requests go to `handle` instead of the network."""

    def open_http(config: HttpProviderConfig, headers: Mapping[str, str] | None = None) -> httpx2.AsyncClient:
        transport = httpx2.MockTransport(handle)
        return httpx2.AsyncClient(base_url=str(config.base_url), headers=headers, transport=transport)

    config = adapter.AnthropicMessagesConfig.model_validate(
        {"api_key": KEY, "model": "claude-7", "api_version": ANTHROPIC_API_VERSION}
    )
    port = adapter.KIND.create(config, Resources("acme", SystemClock(), open_http))
    assert isinstance(port, StreamingGenerator)
    yield port
    await port.aclose()


async def asked(params: GenerationParams, *, stream: bool) -> httpx2.Request:
    """Return the request that the adapter sends."""
    requests = list[httpx2.Request]()

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(401)

    async with provider(handle) as port:
        with pytest.raises(errors.AdapterAuthenticationError):
            await (anext(port.stream("hello", params)) if stream else generate(port, params))
    return requests[0]


async def generate(port: Any, params: GenerationParams = NOTHING) -> Answer:
    """Return a whole answer."""
    return cast("Answer", await port.generate("hello", params))


@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="in-pieces")])
@pytest.mark.parametrize("params", ASKED)
async def test_requests_are_of_the_type_of_the_sdk(params: GenerationParams, *, stream: bool) -> None:
    """Every key is one that the SDK knows, with a value of its type: an unknown one would not come back."""
    body = json.loads((await asked(params, stream=stream)).content)
    kind = TypeAdapter[Any](MessageCreateParamsStreaming if stream else MessageCreateParamsNonStreaming)
    assert body == json.loads(kind.dump_json(kind.validate_python(body)))


@pytest.mark.parametrize("params", ASKED)
async def test_requests_are_those_that_the_sdk_sends(params: GenerationParams) -> None:
    """The same address, version and body for the same question, and the same credential in the older header."""
    sent = list[httpx2.Request]()

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(401)

    optional: dict[str, Any] = {
        "stop_sequences": params.stop,
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}} if params.response_schema else None,
    }
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as http:
        sdk = anthropic.AsyncAnthropic(api_key=KEY, http_client=http, max_retries=0)
        with pytest.raises(anthropic.AuthenticationError):
            await sdk.messages.create(
                model="claude-7",
                max_tokens=params.max_output_tokens or 4096,
                messages=[{"role": "user", "content": "hello"}],
                **{name: value for name, value in optional.items() if value is not None},
            )
    ours, theirs = await asked(params, stream=False), sent[0]
    assert (theirs.method, theirs.url) == (ours.method, ours.url)
    assert json.loads(theirs.content) == json.loads(ours.content)
    for name in ("anthropic-version", "content-type"):
        assert theirs.headers[name] == ours.headers[name]
    assert theirs.headers["authorization"] == f"Bearer {ours.headers['x-api-key']}"


async def test_the_version_of_the_sdk_takes_no_temperature() -> None:
    """The older version takes one from 0 to 1, which no SDK of the newer one could send."""
    assert "temperature" not in MessageCreateParamsNonStreaming.__annotations__
    async with provider(lambda _: httpx2.Response(500)) as port:
        with pytest.raises(errors.RequestError, match="takes none") as failure:
            await generate(port, GenerationParams(temperature=0.0))
    assert failure.value.pointer == "/params/temperature"


def test_every_end_of_the_sdk_is_known() -> None:
    """A stop reason that a later SDK brings has to be decided on."""
    assert set(get_args(types.StopReason)) == set(ENDS)


@pytest.mark.parametrize(("end", "reason"), [pytest.param(*pair, id=pair[0]) for pair in ENDS.items()])
async def test_answers_of_the_sdk_are_read(end: types.StopReason, reason: FinishReason) -> None:
    """Text, end, model and counts are found among all else that an answer can hold."""
    message = types.Message(
        id="msg_1", type="message", role="assistant", model="claude-7", content=BLOCKS, stop_reason=end, usage=USAGE
    )
    async with provider(lambda _: httpx2.Response(200, content=message.model_dump_json())) as port:
        answer = await generate(port)
    assert answer == Answer(Generation("hello", reason, Usage(113, 5)), "claude-7")


def events(end: types.StopReason) -> list[types.RawMessageStreamEvent]:
    """Return the events of one answer, in order."""
    usage = types.Usage(input_tokens=3, output_tokens=1, cache_read_input_tokens=100)
    begun = types.Message(id="msg_1", type="message", role="assistant", model="claude-7", content=[], usage=usage)
    deltas: list[types.RawContentBlockDelta] = [
        types.ThinkingDelta(type="thinking_delta", thinking="hm"),
        types.SignatureDelta(type="signature_delta", signature="c2ln"),
        types.InputJSONDelta(type="input_json_delta", partial_json='{"text": "x"}'),
        types.TextDelta(type="text_delta", text="hel"),
        types.TextDelta(type="text_delta", text="lo"),
    ]
    return [
        types.RawMessageStartEvent(type="message_start", message=begun),
        types.RawContentBlockStartEvent(type="content_block_start", index=0, content_block=THOUGHT),
        *(types.RawContentBlockDeltaEvent(type="content_block_delta", index=0, delta=delta) for delta in deltas),
        types.RawContentBlockStopEvent(type="content_block_stop", index=0),
        types.RawMessageDeltaEvent(
            type="message_delta",
            delta={"stop_reason": end},
            usage=types.MessageDeltaUsage(output_tokens=5, cache_creation_input_tokens=10),
        ),
        types.RawMessageStopEvent(type="message_stop"),
    ]


@pytest.mark.parametrize(("end", "reason"), [pytest.param(*pair, id=pair[0]) for pair in ENDS.items()])
async def test_events_of_the_sdk_are_read(end: types.StopReason, reason: FinishReason) -> None:
    """The pieces of text come one by one; what they come to is the answer."""
    content = "".join(f"event: {event.type}\ndata: {event.model_dump_json()}\n\n" for event in events(end))
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    async with provider(lambda _: httpx2.Response(200, headers=headers, content=content)) as port:
        *pieces, answer = [item async for item in port.stream("hello", NOTHING)]
    assert pieces == ["hel", "lo"]
    assert answer == Answer(Generation("hello", reason, Usage(113, 5)), "claude-7")


def test_every_failure_of_the_sdk_is_known() -> None:
    """A type of error that a later SDK brings has to be decided on; the others are those of other endpoints."""
    kinds: tuple[type[BaseModel], ...] = get_args(get_args(shared.ErrorObject)[0])
    assert set(FAILURES) == {get_args(kind.model_fields["type"].annotation)[0] for kind in kinds}


@pytest.mark.parametrize(("code", "expected"), [pytest.param(*pair, id=pair[0]) for pair in FAILURES.items()])
async def test_failures_of_the_sdk_are_read(code: str, expected: tuple[int, type[errors.AdapterError]]) -> None:
    """As an answer with a status of its own, and as the event of a stream."""
    status, kind = expected
    failure = {"type": "error", "error": {"type": code, "message": "words"}, "request_id": "req_1"}
    content = shared.ErrorResponse.model_validate(failure).model_dump_json()
    async with provider(lambda _: httpx2.Response(status, content=content)) as port:
        with pytest.raises(errors.AdapterError) as whole:
            await generate(port)
    headers = {"content-type": "text/event-stream"}
    async with provider(lambda _: httpx2.Response(200, headers=headers, content=f"data: {content}\n\n")) as port:
        with pytest.raises(errors.AdapterError) as streamed:
            await anext(port.stream("hello", NOTHING))
    assert [(kind, code)] * 2 == [(type(error.value), error.value.provider_code) for error in (whole, streamed)]


@pytest.mark.parametrize(
    "details",
    [shared.EnforcedSpendLimitReachedErrorDetails, shared.ContractSpendLimitReachedErrorDetails],
    ids=["tier", "contract"],
)
async def test_a_limit_of_spending_is_no_limit_of_rate(details: type[BaseModel]) -> None:
    """Both come as 429; the SDK tells them apart by the code in the details, and so does the adapter."""
    code = get_args(details.model_fields["error_code"].annotation)[0]
    error = {"type": "rate_limit_error", "message": "words", "details": details(error_code=code).model_dump()}
    async with provider(lambda _: httpx2.Response(429, json={"type": "error", "error": error})) as port:
        with pytest.raises(errors.AdapterQuotaError) as failure:
            await generate(port)
    assert (code, False) == (failure.value.provider_code, failure.value.retryable)
