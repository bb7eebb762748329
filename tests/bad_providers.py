"""Bad providers: one defect each, in an otherwise good provider; the conformance kit has to find every one of them."""

from collections.abc import Mapping

from good_provider import GOOD

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
    "sends_twice": ("W02", _GENERATE, "        await self._ask(prompt)\n" + _GENERATE),
    "forgets_what_was_asked": ("W04", '"ask", {"q": prompt}, adapter', '"ask", {"q": "x"}, adapter'),
    "hides_its_vendor": (
        "W07",
        "KIND = ProviderKind(Config, _build)",
        "KIND = ProviderKind(Config, _build, offline=True)",
    ),
    "takes_texts_for_codes": (
        "K02",
        '{"q": prompt}, adapter=self._name, operation="generate")',
        '{"q": prompt}, adapter=self._name, operation="generate", explain=lambda content: (str(content), None))',
    ),
    "repeats_a_502": (
        "E502",
        _GENERATE,
        """        try:
            return self._read(await self._ask(prompt))
        except errors.AdapterTransientError as error:
            if "502" not in str(error):
                raise
        return self._read(await self._ask(prompt))
""",
    ),
    "leaves_answers_open": (
        "B05",
        _GENERATE,
        """        asked = self._client.build_request("POST", "ask", json={"q": prompt})
        answer = await self._client.send(asked, stream=True)
        if answer.status_code == 429:
            raise errors.AdapterRateLimitedError("limited", adapter=self._name, operation="generate")
        await answer.aclose()
        return self._read(await self._ask(prompt))
""",
    ),
    "blocks_in_its_stream": (
        "B04",
        "                yield piece.text\n",
        "                __import__('time').sleep(0.5)\n                yield piece.text\n",
    ),
    "loses_pieces": ("S01", "text, last = text + piece.text, piece.last", "text, last = piece.text, piece.last"),
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
    "takes_any_stream": (
        "S07",
        "class _Piece(_Text):\n    last: bool = False\n",
        "class _Piece(BaseModel):\n    text: str = ''\n    last: bool = False\n",
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


def source(defect: str = "") -> str:
    """Return the module of a provider with a defect, or of the good one."""
    if not defect:
        return GOOD
    _, good, bad = DEFECTS[defect]
    assert good in GOOD, f"{defect} does not fit the good provider any more"
    return GOOD.replace(good, bad)
