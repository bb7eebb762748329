"""A server that nobody here wrote: chat completions of the npm package aimock, whole, streamed and broken."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from object_service.adapters.genai._schemas import JsonSchema
from object_service.adapters.genai.openai_compatible import KIND, OpenAICompatibleConfig
from object_service.chassis.clock import SystemClock
from object_service.chassis.contracts.envelope import Failed, Finished, Origin, Succeeded
from object_service.chassis.contracts.json import to_json
from object_service.chassis.contracts.money import Price
from object_service.chassis.contracts.policy import Level
from object_service.chassis.contracts.providers import Provider, Providers
from object_service.chassis.http_client import open_http
from object_service.chassis.providers import Resources
from object_service.chassis.resilience.assembly import Guards
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience
from object_service.domain.genai import (
    OPERATIONS,
    Delta,
    Generation,
    GenerationParams,
    GenerationRequest,
    TextGenerator,
)
from object_service.service.genai import GenAIService
from rendering import Workshop

PACKAGE = "@copilotkit/aimock"
VERSION = "1.43.0"
INSTALL_S, START_S = 120, 20
WORDS = "words of the server"
TEXT = "A text that comes in several pieces."
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def _fault(code: str) -> dict[str, str]:
    return {"message": WORDS, "type": code, "code": code}


FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "answer"}, "response": {"content": TEXT}},
    {"match": {"userMessage": "long"}, "response": {"content": TEXT, "finishReason": "length"}},
    {"match": {"userMessage": "form", "responseFormat": "json_schema"}, "response": {"content": {"n": 1}}},
    {"match": {"userMessage": "misfit"}, "response": {"content": {"n": WORDS}}},
    {
        "match": {"userMessage": "minute"},
        "response": {"error": _fault("rate_limit_exceeded"), "status": 429, "retryAfter": 60},
    },
    {"match": {"userMessage": "unpaid"}, "response": {"error": _fault("insufficient_quota"), "status": 429}},
    {"match": {"userMessage": "absent"}, "response": {"error": _fault("not_implemented"), "status": 501}},
    {"match": {"userMessage": "garbled"}, "response": {"content": WORDS}, "chaos": {"malformedRate": 1}},
    {"match": {"userMessage": "gone"}, "response": {"content": WORDS}, "chaos": {"disconnectRate": 1}},
    {"match": {"userMessage": "cut"}, "response": {"content": TEXT}, "truncateAfterChunks": 3, "latency": 20},
]
"""What the server does when a prompt has a word; the format is the package's own."""


@pytest.fixture(scope="module")
def url(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Install the package once, and run its server on a free port of the loopback for the tests of this module."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed to run a server of another language")
    installed = workshop.once(workshop.folder / f"aimock-{VERSION}", lambda target: _install(npm, target))
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": FIXTURES}), encoding="utf-8")
    program = installed / "node_modules" / PACKAGE / "dist" / "cli.js"
    log = folder / "aimock.log"
    command = [node, str(program), "--port", "0", "--host", "127.0.0.1", "--chunk-size", "8", "--fixtures", str(folder)]
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        yield f"{_address(server, log)}/v1"
    finally:
        server.kill()
        server.wait(START_S)


def _install(npm: str, target: Path) -> None:
    """Install the package without running anything that it brings along."""
    target.mkdir()
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    command = [npm, "install", "--prefix", str(target), *options, f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-200:]}")


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Return where the server listens, as soon as it says so."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8"))
        if found:
            return found.group(1)
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text(encoding='utf-8')}")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[GenAIService]:
    """Open the service with one priced provider, behind the pipeline that every provider has by default."""
    config = OpenAICompatibleConfig.model_validate({"base_url": url, "api_key": "key", "model": "model-6"})
    port = KIND.create(config, Resources("acme", SystemClock(), open_http))
    guarded = guard(port, Guards("acme", Resilience()).pipeline, OPERATIONS, provider="acme", kind="openai_compatible")
    provider: Provider[TextGenerator] = Provider("acme", "openai_compatible", guarded)
    yield GenAIService(
        Providers("acme", {"acme": provider}),
        origin=Origin("my-service", "1.2.3"),
        clock=SystemClock(),
        stated=Level("settings", {}),
        max_prompt_chars=100,
        max_concurrent=2,
        schemas=JsonSchema(),
        prices={"acme": Price(Decimal("1.5"), Decimal(6), "USD")},
    )
    await port.aclose()


async def streamed(service: GenAIService, request: GenerationRequest) -> tuple[list[str], Finished[Generation]]:
    """Return the texts of the pieces, and the envelope."""
    *pieces, envelope = [item async for item in service.stream(request)]
    assert not isinstance(envelope, Delta)
    return [piece.text for piece in pieces if isinstance(piece, Delta)], envelope


def under_schema(prompt: str, schema: Mapping[str, Any] = SCHEMA) -> GenerationRequest:
    """Return a request whose answer has to follow a schema."""
    return GenerationRequest(prompt, params=GenerationParams(response_schema=schema))


@pytest.mark.parametrize(("prompt", "reason"), [("answer", "stop"), ("long", "length")])
async def test_an_answer_is_the_same_whole_and_streamed(url: str, prompt: str, reason: str) -> None:
    """Text, reason, usage, cost and model are read, and the pieces are really several."""
    async with opened(url) as service:
        whole = await service.generate(GenerationRequest(prompt))
        pieces, last = await streamed(service, GenerationRequest(prompt))
    assert isinstance(whole, Succeeded)
    assert isinstance(last, Succeeded)
    assert (TEXT, reason, "model-6") == (whole.result.text, whole.result.finish_reason, whole.provenance.model)
    assert whole.result == last.result
    assert TEXT == "".join(pieces)
    assert len(pieces) > 3
    usage = whole.result.usage
    assert usage is not None
    total = Decimal("1.5") * usage.input_tokens + Decimal(6) * usage.output_tokens
    assert {"amount": f"{(total / 10**6).normalize():f}", "currency": "USD"} == to_json(usage)["cost"]


async def test_an_answer_under_a_schema_has_data(url: str) -> None:
    """The server sees that a schema was asked for; an answer off that schema is a failure."""
    async with opened(url) as service:
        fits = [await service.generate(under_schema("form")), (await streamed(service, under_schema("form")))[1]]
        misfit = await service.generate(under_schema("misfit"))
    assert [{"n": 1}] * 2 == [envelope.result.data for envelope in fits if isinstance(envelope, Succeeded)]
    assert isinstance(misfit, Failed)
    assert "provider_error" == misfit.error.code


FAILURES = {
    "minute": ("provider_rate_limited", True, 60.0, 1),
    "unpaid": ("provider_quota_exhausted", False, 1.0, 1),
    "absent": ("provider_error", False, None, 1),
    "garbled": ("provider_error", False, None, 1),
    "gone": ("provider_error", True, None, 1),
}


@pytest.mark.parametrize("prompt", FAILURES)
async def test_failures_are_told_apart_at_once(url: str, prompt: str) -> None:
    """Nothing is slept through or asked again: not a wait of a minute, nor a used-up quota, nor what may be done."""
    begun = time.monotonic()
    async with opened(url) as service:
        envelopes = [
            await service.generate(GenerationRequest(prompt)),
            (await streamed(service, GenerationRequest(prompt)))[1],
        ]
    for envelope in envelopes:
        assert isinstance(envelope, Failed)
        error = envelope.error
        found = (error.code, error.retryable, error.retry_after_s, envelope.provenance.attempts)
        assert FAILURES[prompt] == found
        assert WORDS not in json.dumps(to_json(envelope))
    assert time.monotonic() - begun < 10


async def test_a_cut_stream_is_no_quiet_end(url: str) -> None:
    """The pieces that came are kept, and the end is a failure that is not tried again."""
    async with opened(url) as service:
        pieces, envelope = await streamed(service, GenerationRequest("cut"))
    assert TEXT.startswith("".join(pieces))
    assert "" != "".join(pieces) != TEXT
    assert isinstance(envelope, Failed)
    found = (envelope.error.code, envelope.error.message, envelope.error.retryable, envelope.provenance.attempts)
    assert ("provider_error", "The provider's answer broke off.", False, 1) == found
