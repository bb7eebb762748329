"""A good provider, as text: what the planted defects are planted in."""

GOOD = '''"""A provider over HTTP.

Source: https://vendor.example/api
"""

import asyncio
import logging
import urllib.request
from contextlib import aclosing

from pydantic import BaseModel, ValidationError

from ...chassis.contracts import errors
from ...chassis.contracts.context import Context, entered
from ...chassis.http_client import post_events, post_json
from ...chassis.providers import ProviderKind, Resources, TokenProviderConfig
from ...domain.genai import Answer, FinishReason, Generation, GenerationParams, TextGenerator, Usage


class Config(TokenProviderConfig):
    """Settings of the provider."""


class _Text(BaseModel):
    text: str


class _Piece(_Text):
    last: bool = False


class Provider:
    def __init__(self, name, config, resources):
        self._name = name
        self._config = config
        self._resources = resources
        self._client = resources.open_http(config)

    async def _ask(self, prompt):
        return await post_json(self._client, "ask", {"q": prompt}, adapter=self._name, operation="generate")

    def _read(self, content):
        try:
            return Answer(Generation(_Text.model_validate_json(content).text, FinishReason.STOP, Usage(1, 1)), "m-1")
        except ValidationError:
            raise errors.AdapterResponseError("no text", adapter=self._name, operation="generate") from None

    async def stream(self, prompt, params):
        where = {"adapter": self._name, "operation": "stream"}
        text, last = "", False
        async with aclosing(post_events(self._client, "ask", {"q": prompt}, last=lambda _: last, **where)) as events:
            async for data in events:
                try:
                    piece = _Piece.model_validate_json(data)
                except ValidationError:
                    raise errors.AdapterResponseError("no piece", **where) from None
                text, last = text + piece.text, piece.last
                yield piece.text
        if not last:
            raise errors.AdapterStreamInterruptedError("no end", **where)
        yield Answer(Generation(text, FinishReason.STOP, Usage(1, 1)), "m-1")

    async def generate(self, prompt: str, params: GenerationParams) -> Answer:
        return self._read(await self._ask(prompt))

    async def aclose(self):
        await self._client.aclose()


def _build(config, resources):
    return Provider(resources.name, config, resources)


KIND = ProviderKind(Config, _build)
'''

VENDOR = '''"""What the kit has to know of the vendor."""

from tests.conformance.vendor import Answer, Exchange, Tier, Vendor

VENDOR = Vendor(
    exchanges={
        "generate": [Exchange("POST", "ask", body={"text": "fine"})],
        "stream": [Exchange("POST", "ask", events=['data: {"text": "fine"}', 'data: {"text": "", "last": true}'])],
    },
    quota=Answer(402),
    tier=Tier.PRODUCTION,
)


def test_nothing() -> None:
    """Nothing is special about this vendor."""
'''
