"""OpenAI-compatible: any server that speaks the chat completions API; `vendors` knows the well-known ones.

Source: the public API reference of `POST /chat/completions`; what vendors do otherwise stands in `vendors`.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, get_args

from pydantic import Field, HttpUrl, ValidationError, model_validator

from ....chassis.contracts.errors import AdapterResponseError, AdapterStreamInterruptedError
from ....chassis.http_client import post_events, post_json
from ....chassis.http_failures import Where
from ....chassis.providers import ProviderKind, Resources, TokenProviderConfig
from ....domain.genai import Answer, GenerationParams, TextGenerator
from .vendors import COMMON, VENDORS, VendorName
from .wire import Chunk, Completion, Received, answer_of, explain_failure, failure_in, request_body, streamed

if TYPE_CHECKING:
    import httpx2

_PATH = "chat/completions"
_END = "[DONE]"
_NAMES = ", ".join(get_args(VendorName))


class OpenAICompatibleConfig(TokenProviderConfig):
    """Settings of one server."""

    vendor: VendorName | None = Field(default=None, description="Whose server it is, which also says where it begins.")
    base_url: HttpUrl = Field(description=f"Where its API begins; not needed with a VENDOR ({_NAMES}).")
    model: str = Field(min_length=1, description="Model to ask for.")
    strict_schema: bool = Field(
        default=True, description="Have the server enforce response schemas, of which it then takes fewer."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_vendor(cls, values: Any) -> Any:
        """Let the vendor say where its API begins, where nobody else does."""
        vendor = values.get("vendor") if isinstance(values, dict) else None
        known = VENDORS.get(vendor) if isinstance(vendor, str) else None
        return values if known is None else {"base_url": known.base_url, **values}


class OpenAICompatible:
    """One server behind HTTP; one client for the life of the provider."""

    def __init__(self, name: str, config: OpenAICompatibleConfig, client: "httpx2.AsyncClient") -> None:
        """Take the client; it is closed with the provider."""
        self._name = name
        self._model, self._strict = config.model, config.strict_schema
        self._vendor = COMMON if config.vendor is None else VENDORS[config.vendor]
        self._client = client

    async def generate(self, prompt: str, params: GenerationParams) -> Answer:
        """Ask for one completion.

        Raises:
            AdapterError: of the class that fits the failure.
        """
        where = Where(adapter=self._name, operation="generate")
        body = request_body(self._vendor, self._model, prompt, params, strict=self._strict)
        content = await post_json(self._client, _PATH, body, explain=explain_failure, **where)
        try:
            completion = Completion.model_validate_json(content)
        except ValidationError as error:
            # The text of a validation error would quote the answer.
            message = f"the answer is no chat completion ({error.error_count()} errors)"
            raise failure_in(content, where) or AdapterResponseError(message, **where) from None
        return answer_of(completion, where)

    async def stream(self, prompt: str, params: GenerationParams) -> AsyncGenerator[str | Answer]:
        """Ask for one completion in pieces; an answer without the mark of its end is one that was cut off.

        Raises:
            AdapterError: of the class that fits the failure.
        """
        where = Where(adapter=self._name, operation="stream")
        body = request_body(self._vendor, self._model, prompt, params, strict=self._strict)
        body = streamed(self._vendor, body)
        received = Received()
        events = post_events(self._client, _PATH, body, last=_is_end, explain=explain_failure, **where)
        data = ""
        async with aclosing(events):
            async for data in events:
                if data != _END and (text := received.add(_chunk(data, where))):
                    yield text
        if data != _END:
            raise AdapterStreamInterruptedError("no mark of the end", **where)
        yield received.answer(where)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _is_end(data: str) -> bool:
    return data == _END


def _chunk(data: str, where: Where) -> Chunk:
    content = data.encode()
    try:
        chunk = Chunk.model_validate_json(content)
    except ValidationError:
        unreadable = AdapterResponseError("a piece is no chat completion", **where)
        raise failure_in(content, where) or unreadable from None
    if (chunk.error or not chunk.choices) and (failure := failure_in(content, where)):
        raise failure
    return chunk


def _build(config: OpenAICompatibleConfig, resources: Resources) -> OpenAICompatible:
    return OpenAICompatible(resources.name, config, resources.open_http(config))


KIND: ProviderKind[OpenAICompatibleConfig, TextGenerator] = ProviderKind(OpenAICompatibleConfig, _build)
