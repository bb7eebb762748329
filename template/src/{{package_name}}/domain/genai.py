"""Generated text: value objects, the provider port and the behaviour policy; pure."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from ..chassis.contracts.call import Operation
from ..chassis.contracts.errors import AdapterError, AdapterPermanentError, AdapterResponseError, RequestError
from ..chassis.contracts.json import Json
from ..chassis.contracts.money import Cost
from ..chassis.contracts.policy import Level, Resolved, resolve
from ..chassis.contracts.providers import MAX_SHOWN_CHARS, did_you_mean

POLICY_VERSION = "1"
"""Raised whenever a profile or the meaning of a policy field changes."""

PROFILES: Mapping[str, Mapping[str, Json]] = {
    "default": {},
    "precise": {"temperature": 0.0},
    "creative": {"temperature": 1.0, "on_refusal": "return"},
}
"""Named behaviours that a request can ask for; a field that is absent is left to the settings."""

type OnRefusal = Literal["fail", "return"]


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """What one call may ask for; None leaves the decision to the provider.

    `temperature` runs from 0 to 2; generation ends before any of the `stop` texts. `response_schema` is a JSON schema
    that the text has to follow.
    """

    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] | None = None
    response_schema: Mapping[str, Json] | None = None

    @classmethod
    def of(cls, values: Mapping[str, Json]) -> "GenerationParams":
        """Return the params among resolved values."""
        tokens, temperature, stop = (values.get(name) for name in ("max_output_tokens", "temperature", "stop"))
        schema = values.get("response_schema")
        return cls(
            max_output_tokens=tokens if isinstance(tokens, int) else None,
            temperature=float(temperature) if isinstance(temperature, int | float) else None,
            stop=tuple(str(text) for text in stop) if isinstance(stop, list) else None,
            response_schema=schema if isinstance(schema, dict) else None,
        )


@dataclass(frozen=True, slots=True)
class GenerationPolicy:
    """How the service treats the answer; None leaves the decision to the profile and the settings.

    `allow_partials`: keep what is finished when the time runs out. `on_refusal`: fail, or return the refusal.
    """

    profile: str | None = None
    allow_partials: bool | None = None
    on_refusal: OnRefusal | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One question to a provider, by default the selected one."""

    prompt: str
    provider: str | None = None
    params: GenerationParams = GenerationParams()
    policy: GenerationPolicy = GenerationPolicy()


def behaviour(request: GenerationRequest, stated: Level, *, above: str = "") -> Resolved:
    """Return how a request is served: by what it states, then its profile, then what the settings state.

    Raises:
        RequestError: if there is no such profile; `above` is the pointer of the request.
    """
    params, policy = request.params, request.policy
    asked = Level.of(
        "request",
        max_output_tokens=params.max_output_tokens,
        temperature=params.temperature,
        stop=None if params.stop is None else list(params.stop),
        response_schema=None if params.response_schema is None else dict(params.response_schema),
        allow_partials=policy.allow_partials,
        on_refusal=policy.on_refusal,
    )
    profile = policy.profile or str(stated.values.get("profile", "default"))
    if profile not in PROFILES:
        hint = f"{did_you_mean(profile, PROFILES)} Available: {', '.join(sorted(PROFILES))}."
        message = f"No profile named {profile[:MAX_SHOWN_CHARS]!r}.{hint}"
        raise RequestError(message, pointer=f"{above}/policy/profile")
    return resolve([asked, Level("profile", PROFILES[profile]), stated])


class FinishReason(StrEnum):
    """Why the text ends where it ends."""

    STOP = "stop"
    LENGTH = "length"
    REFUSAL = "refusal"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the provider counted, in its own tokens; `cost` is absent when they have no price."""

    input_tokens: int
    output_tokens: int
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated text; `usage` is absent when the provider does not count.

    `data` is the JSON that the text stands for where a response schema was asked for; absent where that JSON is null.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None = None
    data: Json | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider returns: the generation, and the model that wrote it where known."""

    generation: Generation
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a text, numbered from 0."""

    index: int
    text: str


class TextGenerator(Protocol):
    """A provider of generated text."""

    async def generate(self, prompt: str, params: GenerationParams) -> Answer:
        """Answer a prompt; each call costs, so it is never repeated without need.

        Raises:
            AdapterError: when the provider cannot answer.
        """
        ...

    async def aclose(self) -> None:
        """Release what the provider holds; a second call does nothing."""
        ...


@runtime_checkable
class StreamingGenerator(Protocol):
    """What a text generator also has when it can answer in pieces; of others the whole text is the only piece."""

    def stream(self, prompt: str, params: GenerationParams) -> AsyncGenerator[str | Answer]:
        """Answer a prompt in pieces of text; the last item is the answer as `generate` returns it.

        Raises:
            AdapterError: when the provider cannot answer, before or between the pieces.
        """
        ...


def check_prompt(prompt: str, params: GenerationParams | None = None, *, above: str = "") -> None:
    """Refuse a prompt that no provider could answer, whatever `params` say; `above` is the pointer of the request.

    Raises:
        RequestError: if it is empty, or holds half of a surrogate pair.
    """
    del params
    if not prompt:
        raise RequestError("The prompt is empty; expected a text.", pointer=f"{above}/prompt")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        message = f"Expected text; character {error.start + 1} of the prompt is half of a surrogate pair."
        raise RequestError(message, pointer=f"{above}/prompt") from None


class UnusableAnswerError(AdapterError):
    """An answer that came whole, and is a failure all the same."""


class RefusedError(UnusableAnswerError, AdapterPermanentError):
    """The provider refuses to answer, and the policy makes that a failure."""

    default_message = "The provider refused to answer."


class OffSchemaError(UnusableAnswerError, AdapterResponseError):
    """The text is not what the response schema asks for."""

    default_message = "The provider's answer does not follow the response schema."


async def pieces_of(port: TextGenerator, prompt: str, params: GenerationParams) -> AsyncGenerator[str | Answer]:
    """Yield what a provider streams, or all of its text at once."""
    if isinstance(port, StreamingGenerator):
        async with aclosing(port.stream(prompt, params)) as stream:
            async for item in stream:
                yield item
    else:
        answer = await port.generate(prompt, params)
        yield answer.generation.text
        yield answer


def check_answer(answer: Answer) -> None:
    """Refuse an answer that cannot be right.

    Raises:
        ValueError: if tokens are counted below 0.
    """
    usage = answer.generation.usage
    if usage is not None and min(usage.input_tokens, usage.output_tokens) < 0:
        raise ValueError("token counts below 0")


OPERATIONS: Mapping[str, Operation] = {
    "generate": Operation("generate", idempotent=False, check_request=check_prompt, check_answer=check_answer),
    "stream": Operation("stream", idempotent=False, returns="stream", check_request=check_prompt),
}
