"""Fetching for callers, from a real server with TLS: what is stored, and every way in which it is refused."""

import asyncio
import gzip
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import object_service
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import AdapterError, AdapterOverloadedError, RequestError, ServiceError
from object_service.chassis.outgoing.fetching import Fetcher
from object_service.chassis.outgoing.settings import OutgoingSection
from object_service.chassis.work import Spool, SpooledFile
from source import NAME, Planned, Source, serving

CONTENT = bytes(range(256)) * 1000
METADATA = "169.254.169.254"
HERE = {"allowed_networks": ("127.0.0.0/8",)}


def kept() -> list[Path]:
    """Return what was stored and lies there still."""
    return list(Path(tempfile.gettempdir()).rglob("*-upload-*"))


class Resolver:
    """Answers what a test plans, one answer after the other, the last one again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        """Take the answers."""
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """Answer once."""
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """Return a source that all tests of this module ask, each under paths of its own."""
    with serving(tmp_path_factory.mktemp("source")) as source:
        yield source


@pytest.fixture
def source(server: Source, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Return the source, whose certificate is trusted; nobody has asked it yet."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    server.asked.clear()
    server.plan = {"/talk": Planned(content=CONTENT)}
    return server


@pytest.fixture
async def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Spool]:
    """Return a spool below the folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Spool()
    yield made
    await made.aclose()


class Fetched:
    """A fetcher with a resolver, and a spool to fetch into."""

    def __init__(self, spool: Spool, resolver: Resolver, **section: Any) -> None:
        """Build the fetcher; the loopback counts as public."""
        self.spool, self.resolver = spool, resolver
        self.fetcher = Fetcher(OutgoingSection.model_validate({**HERE, **section}), resolver)

    async def fetch(self, url: str, max_bytes: int = len(CONTENT)) -> SpooledFile:
        """Fetch a URL."""
        return await self.fetcher.fetch(url, self.spool, max_bytes=max_bytes, pointer="/audio_url")

    async def refusal(self, url: str, max_bytes: int = len(CONTENT)) -> ServiceError:
        """Return why a URL is not fetched; nothing of it may have been kept."""
        with pytest.raises(ServiceError) as failed:
            await self.fetch(url, max_bytes)
        assert [] == kept()
        return failed.value


@pytest.fixture
def fetched(spool: Spool) -> Fetched:
    """Return a fetcher for which `source.example` is this machine."""
    return Fetched(spool, Resolver(["127.0.0.1"]))


async def source_was_asked(source: Source) -> None:
    """Return as soon as the source has heard a request; it runs in another thread."""
    while not source.asked:  # noqa: ASYNC110 - that thread knows no event of this loop
        await asyncio.sleep(0.01)


async def test_content_is_stored_as_it_is(source: Source, fetched: Fetched) -> None:
    """Size and digest come along; the source hears nothing of the caller, and is asked by its name."""
    with entered(Context("cor_1", idempotency_key="key", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")):
        stored = await fetched.fetch(source.url("/talk"))

    assert CONTENT == stored.path.read_bytes()
    assert (len(CONTENT), hashlib.sha256(CONTENT).hexdigest()) == (stored.bytes, stored.sha256)
    ((path, headers),) = source.asked
    assert "/talk" == path
    own = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "object-service"}
    assert {**own, "host": f"{NAME}:{source.port}"} == headers
    assert [NAME] == fetched.resolver.asked


async def test_content_of_unknown_length_is_stored(source: Source, fetched: Fetched) -> None:
    """A source may send without saying how much it will be, and an address may stand in for a name."""
    source.plan["/stream"] = Planned(headers={"Transfer-Encoding": "chunked"}, content=b"3\r\nabc\r\n0\r\n\r\n")
    fetched.resolver.answers = [["127.0.0.1"]]

    assert b"abc" == (await fetched.fetch(source.url("/stream", host="127.0.0.1"))).path.read_bytes()


async def test_environment_proxies_are_passed_by(
    source: Source, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve the name again, and might lead inside."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert len(CONTENT) == (await fetched.fetch(source.url("/talk"))).bytes


ANSWERS: Mapping[str, Sequence[str]] = {
    "metadata": [METADATA],
    "private": ["10.0.0.1"],
    "loopback of IPv6": ["::1"],
    "mapped": ["::ffff:10.0.0.1"],
    "public and private": ["93.184.216.34", "10.0.0.1"],
    "allowed and private": ["127.0.0.1", "10.0.0.1"],
    "nothing": [],
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_name_that_leads_inside_is_refused(
    source: Source, spool: Spool, answer: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One address that is not public is enough; the caller does not learn which, the log does."""
    error = await Fetched(spool, Resolver(answer)).refusal(source.url("/talk"))

    assert isinstance(error, RequestError)
    assert ("unsupported_source", "/audio_url") == (error.code, error.pointer)
    assert "The host of the URL is unknown, or not all of its addresses are public." == error.user_message
    assert [] == source.asked
    (line,) = caplog.records
    assert f"{NAME}: {', '.join(answer)}" == vars(line)["detail"]


async def test_an_unknown_name_is_refused_in_the_same_words(
    source: Source, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody can find out which names the inside knows."""

    async def unknown(_host: str, _port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    inside = (await Fetched(fetched.spool, Resolver(["10.0.0.1"])).refusal(source.url("/talk"))).user_message
    monkeypatch.setattr(fetched.fetcher, "_resolve", unknown)

    assert inside == (await fetched.refusal(source.url("/talk"))).user_message


async def test_a_name_is_resolved_once(source: Source, spool: Spool) -> None:
    """A resolver that answers differently the second time is not asked a second time."""
    fetched = Fetched(spool, Resolver(["127.0.0.1"], [METADATA]))

    assert len(CONTENT) == (await fetched.fetch(source.url("/talk"))).bytes
    assert [NAME] == fetched.resolver.asked


async def test_the_next_address_is_tried(source: Source, spool: Spool) -> None:
    """Where the first one does not answer; all of them were checked."""
    fetched = Fetched(spool, Resolver(["127.0.0.1", "127.0.0.1"]))
    other = Fetched(spool, Resolver(["::1", "127.0.0.1"]), allowed_networks=("127.0.0.0/8", "::1/128"))

    assert len(CONTENT) == (await other.fetch(source.url("/talk"))).bytes
    assert len(CONTENT) == (await fetched.fetch(source.url("/talk"))).bytes


async def test_the_machine_resolves_names(source: Source, spool: Spool) -> None:
    """Without a resolver of a test; names that are known here only are refused."""
    fetcher = Fetcher(OutgoingSection())
    for host in ("localhost", "localhost.", "no-such-host.invalid"):
        with pytest.raises(RequestError, match="unknown, or not all") as refused:
            await fetcher.fetch(source.url("/talk", host=host), spool, max_bytes=10, pointer="/audio_url")
        assert "unsupported_source" == refused.value.code


HANGING = """
import asyncio, socket, time

from object_service.chassis.contracts.errors import AdapterTimeoutError
from object_service.chassis.outgoing.fetching import Fetcher
from object_service.chassis.outgoing.settings import OutgoingSection
from object_service.chassis.work import Spool


async def ask():
    try:
        await Fetcher(OutgoingSection(timeout_s=0.1)).fetch("https://a.example/", Spool(), max_bytes=1, pointer="")
    except AdapterTimeoutError:
        print("given up")


socket.getaddrinfo = lambda *_, **__: time.sleep(3600)
asyncio.run(ask())
"""


def test_a_name_server_that_never_answers_does_not_hold_up_the_exit() -> None:
    """The process ends while a look-up hangs."""
    env = {**os.environ, "PYTHONPATH": str(Path(object_service.__file__).parents[1])}

    done = subprocess.run(
        [sys.executable, "-c", HANGING], check=True, capture_output=True, text=True, timeout=60, env=env
    )

    assert "given up\n" == done.stdout


async def test_a_look_up_that_hangs_takes_one_place_and_nobody_waits_for_it(
    source: Source, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked leaves at once; the place is free again when the look-up has ended. Addresses need none."""
    over, asked = threading.Event(), list[object]()

    def hanging(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        over.wait()
        raise OSError("nobody answered")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    fetcher = Fetcher(OutgoingSection.model_validate({**HERE, "max_fetches": 2}))
    fetch = partial(fetcher.fetch, spool=spool, max_bytes=len(CONTENT), pointer="/audio_url")
    here = source.url("/talk", host="127.0.0.1")

    async def leave_while_it_hangs() -> None:
        task, before = asyncio.create_task(fetch("https://slow.example/")), len(asked)
        while len(asked) == before:  # noqa: ASYNC110 - the thread knows no event of this loop
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    async def is_refused() -> bool:
        try:
            return (await fetch(here)).bytes != len(CONTENT)
        except AdapterOverloadedError:
            return True

    try:
        async with asyncio.timeout(30):
            await leave_while_it_hangs()
            assert not await is_refused()
            await leave_while_it_hangs()
            assert await is_refused()
    finally:
        over.set()
    async with asyncio.timeout(30):
        while await is_refused():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_redirects_are_followed(source: Source, fetched: Fetched) -> None:
    """Relative and whole ones, as many as the settings say; each is resolved again."""
    source.redirects("/1", "/2", 301)
    source.redirects("/2", source.url("/3"), 307)
    source.redirects("/3", "talk", 308)

    assert len(CONTENT) == (await fetched.fetch(source.url("/1"))).bytes
    assert ["/1", "/2", "/3", "/talk"] == source.paths
    assert [NAME] * 4 == fetched.resolver.asked


async def test_a_redirect_to_a_name_that_was_public_is_checked_again(source: Source, spool: Spool) -> None:
    """The same name may lead elsewhere by then."""
    source.redirects("/1", "/talk")
    fetched = Fetched(spool, Resolver(["127.0.0.1"], [METADATA]))

    assert "unsupported_source" == (await fetched.refusal(source.url("/1"))).code
    assert ["/1"] == source.paths


LOCATIONS = {
    "metadata": f"https://{METADATA}/latest/meta-data/",
    "metadata without TLS": f"http://{METADATA}/latest/meta-data/",
    "decimal": "https://2852039166/",
    "IPv6": "https://[::1]/",
    "file": "file:///etc/passwd",
    "user": "https://user:pass@source.example/",
    "no URL": "https://[",
}


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS)
async def test_a_redirect_leads_nowhere_inside(source: Source, spool: Spool, location: str) -> None:
    """It is checked as the URL itself is."""

    class Literal(Resolver):
        async def __call__(self, host: str, _port: int) -> Sequence[str]:
            return ["127.0.0.1"] if host == NAME else [host]

    source.redirects("/1", location)

    assert "unsupported_source" == (await Fetched(spool, Literal([])).refusal(source.url("/1"))).code
    assert ["/1"] == source.paths


async def test_redirects_come_to_an_end(source: Source, spool: Spool) -> None:
    """More than the settings say are too many, none included."""
    source.redirects("/loop", "/loop")
    for most in (0, 2):
        source.asked.clear()
        error = await Fetched(spool, Resolver(["127.0.0.1"]), max_redirects=most).refusal(source.url("/loop"))
        assert f"The URL redirects more than {most} times." == error.user_message
        assert ["/loop"] * (1 + most) == source.paths


REFUSED = {
    "packed": (
        Planned(headers={"Content-Encoding": "gzip"}, content=gzip.compress(bytes(10**6))),
        "unsupported_source",
    ),
    "large by its own word": (Planned(length=10**12), "body_too_large"),
    "endless": (Planned(repeated=CONTENT), "body_too_large"),
    "one byte too many": (Planned(content=bytes(len(CONTENT) + 1)), "body_too_large"),
    "not found": (Planned(404), "unsupported_source"),
    "forbidden": (Planned(403), "unsupported_source"),
    "part": (Planned(206, content=b"a"), "unsupported_source"),
    "nothing": (Planned(204), "unsupported_source"),
    "redirect without a place": (Planned(302), "unsupported_source"),
}


@pytest.mark.parametrize(("planned", "code"), REFUSED.values(), ids=REFUSED)
async def test_an_answer_that_cannot_be_taken_is_refused(
    source: Source, fetched: Fetched, planned: Planned, code: str
) -> None:
    """Only a whole answer counts, as it is, and no longer than it may be; nothing of it is kept."""
    source.plan["/a"] = planned

    error = await fetched.refusal(source.url("/a"))

    assert isinstance(error, RequestError)
    assert (code, "/audio_url", False) == (error.code, error.pointer, error.retryable)


FAILED = {
    "broken off": (Planned(length=100, content=b"a"), "provider_error"),
    "unavailable": (Planned(503), "provider_error"),
    "too many": (Planned(429), "provider_error"),
    "silent": (Planned(repeated=b"", pause_s=3600), "provider_timeout"),
    "head without end": (
        Planned(headers={f"x-{n}": "a" * 1000 for n in range(200)}),
        "provider_error",
    ),
}


@pytest.mark.parametrize(("planned", "code"), FAILED.values(), ids=FAILED)
async def test_a_source_that_fails_may_be_asked_again(
    source: Source, spool: Spool, planned: Planned, code: str
) -> None:
    """The error says so, and tells the caller nothing that they did not know."""
    source.plan["/a"] = planned

    error = await Fetched(spool, Resolver(["127.0.0.1"]), idle_s=0.3).refusal(source.url("/a"))

    assert isinstance(error, AdapterError)
    assert (code, True) == (error.code, error.retryable)
    assert error.user_message.startswith("The source of the URL")
    assert NAME not in error.user_message


async def test_nobody_listening_is_a_failure(fetched: Fetched) -> None:
    """The port is closed."""
    error = await fetched.refusal(f"https://{NAME}:9/")

    assert ("provider_error", True) == (error.code, error.retryable)


async def test_a_source_that_drips_is_given_up(source: Source, spool: Spool) -> None:
    """It never pauses for long, and never ends."""
    source.plan["/drip"] = Planned(repeated=b"a", pause_s=0.01)
    begun = time.monotonic()

    error = await Fetched(spool, Resolver(["127.0.0.1"]), timeout_s=0.5).refusal(source.url("/drip"))

    assert ("provider_timeout", "The source of the URL did not answer in time.") == (error.code, error.user_message)
    assert time.monotonic() - begun < 10


async def test_the_deadline_of_the_caller_ends_it(source: Source, fetched: Fetched) -> None:
    """It is nearer than the limit of the settings."""
    source.plan["/drip"] = Planned(repeated=b"a", pause_s=0.01)

    with entered(Context("cor_1").shortened(0.3)):
        error = await fetched.refusal(source.url("/drip"))
    assert "deadline_exceeded" == error.code


async def test_a_certificate_for_another_name_is_refused(source: Source, fetched: Fetched) -> None:
    """The address was checked, and the name still is."""
    error = await fetched.refusal(source.url("/talk", host="other.example"))

    assert ("unsupported_source", False) == (error.code, error.retryable)
    assert "The source of the URL has no certificate that is valid here." == error.user_message
    assert [] == source.asked


async def test_a_certificate_of_nobody_is_refused(
    source: Source, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trust comes from the machine, or from what the operator names."""
    monkeypatch.delenv("SSL_CERT_FILE")

    assert "unsupported_source" == (await fetched.refusal(source.url("/talk"))).code
    assert [] == source.asked


async def test_more_at_once_are_refused(source: Source, spool: Spool) -> None:
    """Whoever keeps fetches hanging takes the places of fetches, and of nothing else."""
    source.plan["/drip"] = Planned(repeated=b"a", pause_s=0.01)
    fetched = Fetched(spool, Resolver(["127.0.0.1"]), max_fetches=1)
    first = asyncio.create_task(fetched.fetch(source.url("/drip")))
    await source_was_asked(source)

    with pytest.raises(ServiceError, match="1 URLs are being fetched") as refused:
        await fetched.fetch(source.url("/talk"))
    first.cancel()
    await asyncio.wait([first])

    assert ("overloaded", True) == (refused.value.code, refused.value.retryable)
    assert len(CONTENT) == (await fetched.fetch(source.url("/talk"))).bytes


async def test_one_caller_has_half_of_the_places(source: Source, spool: Spool) -> None:
    """The others are for everybody else; callers whom nobody knows cannot be told apart."""
    source.plan["/drip"] = Planned(repeated=b"a", pause_s=0.01)
    fetched = Fetched(spool, Resolver(["127.0.0.1"]), max_fetches=4)
    hanging = list[asyncio.Task[SpooledFile]]()

    async def begin(caller: str | None) -> None:
        source.asked.clear()
        with entered(Context("cor_1", caller=caller)):
            hanging.append(asyncio.create_task(fetched.fetch(source.url("/drip"))))
        await source_was_asked(source)

    async def code(caller: str | None) -> str | None:
        with entered(Context("cor_1", caller=caller)):
            try:
                await fetched.fetch(source.url("/talk"))
            except ServiceError as error:
                return error.code
        return None

    await begin("ann")
    await begin("ann")
    codes = [await code("ann"), await code("bob"), await code(None)]
    await begin(None)
    await begin(None)
    codes += [await code("bob")]
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)

    assert ["overloaded", None, None, "overloaded", None] == [*codes, await code("ann")]


async def test_a_caller_who_leaves_leaves_nothing_behind(source: Source, fetched: Fetched) -> None:
    """Neither a file nor a place that is taken."""
    source.plan["/drip"] = Planned(repeated=b"a", pause_s=0.01)
    task = asyncio.create_task(fetched.fetch(source.url("/drip")))
    await source_was_asked(source)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == kept()


async def test_without_tls_only_where_it_is_allowed(source: Source, spool: Spool) -> None:
    """The server speaks TLS, so plain HTTP breaks off; without the setting, nothing is sent."""
    url = source.url("/talk").replace("https", "http")

    allowed = await Fetched(spool, Resolver(["127.0.0.1"]), allow_http=True).refusal(url)
    refused = await Fetched(spool, Resolver(["127.0.0.1"])).refusal(url)

    assert ("provider_error", "unsupported_source") == (allowed.code, refused.code)
