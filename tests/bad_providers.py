"""Bad providers: one defect each, in an otherwise good provider; the conformance kit has to find every one of them."""

from collections.abc import Mapping

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

_GENERATE = "        return self._read(await self._ask(prompt))\n"
_ASK = '        return await post_json(self._client, "ask",'
_READ = 'FinishReason.STOP, Usage(1, 1)), "m-1")\n        except'
_CLOSE = "        await self._client.aclose()\n"
_WHOLE = '        yield Answer(Generation(text, FinishReason.STOP, Usage(1, 1)), "m-1")\n'
_QUIETLY = "        if not text:\n            raise errors.AdapterStreamInterruptedError"

DEFECTS: Mapping[str, tuple[str, str, str]] = {
    "swallows_cancellation": (
        "B02",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except asyncio.CancelledError:
            return Answer(Generation("cancelled", FinishReason.STOP))
""",
    ),
    "leaks_its_key": (
        "K01",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except errors.AdapterAuthenticationError as error:
            error.args = (f"refused {self._config.api_key.get_secret_value()}",)
            raise
""",
    ),
    "logs_its_key": (
        "K01",
        _GENERATE,
        """        logging.getLogger(__name__).info("asked with %s", self._config.api_key.get_secret_value())
        return self._read(await self._ask(prompt))
""",
    ),
    "quotes_its_vendor": (
        "K02",
        'raise errors.AdapterResponseError("no text",',
        "raise errors.AdapterResponseError(content.decode(),",
    ),
    "retries_by_itself": (
        "B01",
        _GENERATE,
        """        for _ in range(2):
            try:
                return self._read(await self._ask(prompt))
            except errors.AdapterTransientError:
                pass
        return self._read(await self._ask(prompt))
""",
    ),
    "calls_a_500_permanent": (
        "E500",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except errors.AdapterUnavailableError:
            raise
        except errors.AdapterTransientError as error:
            raise errors.AdapterPermanentError("failed", adapter=self._name, operation="generate") from error
""",
    ),
    "ignores_the_deadline": (
        "B03",
        _GENERATE,
        """        asking = asyncio.create_task(self._ask(prompt))
        while not asking.done():
            try:
                await asyncio.wait([asking])
            except asyncio.CancelledError:
                continue
        return self._read(asking.result())
""",
    ),
    "blocks_the_loop": (
        "B04",
        _GENERATE,
        """        url = f"{self._config.base_url}ask"
        with urllib.request.urlopen(urllib.request.Request(url, b"{}", method="POST"), timeout=5) as answer:
            return self._read(answer.read())
""",
    ),
    "holds_its_connection": ("B06", _CLOSE, "        return\n"),
    "leaves_a_task_behind": (
        "B06",
        _GENERATE,
        """        self._watch = asyncio.create_task(asyncio.sleep(60))
        return self._read(await self._ask(prompt))
""",
    ),
    "opens_a_client_per_call": (
        "B05",
        _GENERATE,
        """        self._client = self._resources.open_http(self._config)
        return self._read(await self._ask(prompt))
""",
    ),
    "follows_redirects": (
        "B07",
        "        self._client = resources.open_http(config)\n",
        "        self._client = resources.open_http(config)\n        self._client.follow_redirects = True\n",
    ),
    "takes_any_answer": (
        "EHTML",
        "            return Answer(Generation(_Text.model_validate_json(content).text, ",
        "            return Answer(Generation(content.decode(), ",
    ),
    "calls_a_rate_limit_a_fault": (
        "E429",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except errors.AdapterRateLimitedError as error:
            raise errors.AdapterTransientError("failed", adapter=self._name, operation="generate") from error
""",
    ),
    "forgets_the_pause": (
        "E429R",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except errors.AdapterRateLimitedError as error:
            raise errors.AdapterRateLimitedError("limited", adapter=self._name, operation="generate") from error
""",
    ),
    "shares_state_between_calls": (
        "W04",
        _GENERATE,
        """        if getattr(self, "_busy", False):
            raise errors.AdapterPermanentError("busy", adapter=self._name, operation="generate")
        self._busy = True
        answer = self._read(await self._ask(prompt))
        self._busy = False
        return answer
""",
    ),
    "cannot_be_closed_twice": (
        "W05",
        _CLOSE,
        """        await self._client.aclose()
        del self._client
""",
    ),
    "explains_nothing": ("W06", '    """Settings of the provider."""\n', "    region: str = 'eu'\n"),
    "shields_its_call": (
        "B02",
        _GENERATE,
        "        return self._read(await asyncio.shield(asyncio.create_task(self._ask(prompt))))\n",
    ),
    "sends_no_headers": (
        "B08",
        "        return await post_json(self._client,",
        """        with entered(Context("another")):
            return await post_json(self._client,""",
    ),
    "repeats_only_what_it_likes": (
        "B09",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except errors.AdapterUnavailableError as error:
            error.retryable = False
            raise
""",
    ),
    "asks_elsewhere": ("W02", _ASK, _ASK.replace("ask", "say")),
    "fails_behind_the_service": (
        "W03",
        'FinishReason.STOP, Usage(1, 1)), "m-1")\n        except',
        'FinishReason.REFUSAL, Usage(1, 1)), "m-1")\n        except',
    ),
    "forgets_the_whole": ("S01", _WHOLE, "        return\n"),
    "collects_its_stream": (
        "S02",
        "                yield piece.text\n        if not last:\n",
        "        if last:\n            yield text\n        if not last:\n",
    ),
    "ends_quietly": ("S03", "        if not last:\n            raise errors.AdapterStreamInterruptedError", _QUIETLY),
    "leaves_broken_pieces_out": (
        "S04",
        '                    raise errors.AdapterResponseError("no piece", **where) from None\n',
        "                    continue\n",
    ),
    "reads_on_after_its_reader": (
        "S05",
        "        async with aclosing(post_events(",
        """        kept = asyncio.Queue()
        events = post_events(self._client, "ask", {"q": prompt}, last=lambda _: False, **where)

        async def read() -> None:
            async for data in events:
                kept.put_nowait(data)

        self._reading = asyncio.create_task(read())
        yield (await kept.get())[:1]
        async with aclosing(post_events(""",
    ),
    "waits_for_ever": (
        "S06",
        "                yield piece.text\n",
        """                yield piece.text
                while not last:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        continue
""",
    ),
    "counts_nothing": ("C01", _READ, "FinishReason.STOP))\n        except"),
    "has_no_source": ("D01", "Source: https://vendor.example/api\n", "Nobody knows from where.\n"),
}
"""The rule that finds each defect, the good lines, and the bad ones in their place."""

VENDOR = '''"""What the kit has to know of the vendor."""

from tests.conformance.vendor import Answer, Exchange, Tier, Vendor

VENDOR = Vendor(
    exchanges={
        "generate": [Exchange("POST", "ask", body={"text": "fine"})],
        "stream": [Exchange("POST", "ask", events=['data: {"text": "fi"}', 'data: {"text": "ne", "last": true}'])],
    },
    quota=Answer(402),
    tier=Tier.PRODUCTION,
)


def test_nothing() -> None:
    """Nothing is special about this vendor."""
'''


def source(defect: str = "") -> str:
    """Return the module of a provider with a defect, or of the good one."""
    if not defect:
        return GOOD
    _, good, bad = DEFECTS[defect]
    assert good in GOOD, f"{defect} does not fit the good provider any more"
    return GOOD.replace(good, bad)
