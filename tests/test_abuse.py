"""Abuse: a rendered service is attacked as a real process; whoever behaves is served all the while."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from redis_server import RedisServer
from rendering import DEFAULT, Workshop, install
from serving import JSON, Answer, Service, command, running

pytestmark = pytest.mark.gate

CONNECTIONS = 60
REQUESTS = 20
BURST = 40
WITHIN_S = 30
ENVIRONMENT = {
    "MY_SERVICE_HTTP__MAX_CONNECTIONS": str(CONNECTIONS),
    "MY_SERVICE_HTTP__MAX_REQUESTS": str(REQUESTS),
    "MY_SERVICE_HTTP__HEAD_TIMEOUT_S": "2",
    "MY_SERVICE_HTTP__BODY_IDLE_S": "2",
    "MY_SERVICE_HTTP__ALLOWED_HOSTS": '["127.0.0.1", "api.example.com"]',
    "MY_SERVICE_HTTP__TRUSTED_PROXIES": '["127.0.0.0/8"]',
    "MY_SERVICE_LIMITS__ADDRESS__RATE_PER_S": "0.01",
    "MY_SERVICE_LIMITS__ADDRESS__BURST": str(BURST),
}
"""The tests stand behind a proxy, so that each has callers of its own."""

PROMPT = b'{"prompt": "a"}'
POST = b"POST /v1/generations HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def service(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service with narrow bounds; in the end its log has no failure."""
    with running(workshop.install(DEFAULT), tmp_path_factory.mktemp("abuse"), ENVIRONMENT) as started:
        yield started
        assert [] == [line for line in started.log() if line["level"] == "error" or "exception" in line]


def ask(service: Service, caller: str, path: str = "/v1/generations") -> Answer:
    """Make one ordinary request for a caller behind the proxy."""
    headers = {**JSON, "X-Forwarded-For": caller}
    return service.call("POST" if path.startswith("/v1") else "GET", path, PROMPT, headers)


@contextmanager
def connections(service: Service, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that send something and then nothing."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = socket.create_connection((service.host, service.port), timeout=WITHIN_S)
            opened.append(stack.enter_context(connection))
            with suppress(OSError):
                connection.sendall(first)
        yield opened


def dripping(attackers: list[socket.socket], drop: bytes, done: Callable[[], bool]) -> None:
    """Let every attacker send a drop from time to time until something has happened."""
    limit = time.monotonic() + WITHIN_S
    while not done():
        assert time.monotonic() < limit
        for attacker in attackers:
            with suppress(OSError):
                attacker.sendall(drop)
        time.sleep(0.2)


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the other side has closed, reading what is there."""
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_heads_that_never_end_hold_no_place(service: Service) -> None:
    """More slow heads than there are connections: others are served meanwhile, and the slow ones are cut off."""
    with connections(service, CONNECTIONS * 3, b"GET /info HTTP/1.1\r\nHost: api.example.com\r\nX-A: ") as slow:
        assert 200 == ask(service, "192.0.2.1").status
        assert 200 == ask(service, "192.0.2.1", "/livez").status
        dripping(slow, b"a", lambda: all(is_closed(connection) for connection in slow))


def test_idle_connections_make_way(service: Service) -> None:
    """A flood of connections that say nothing takes nobody's place."""
    with connections(service, CONNECTIONS * 5):
        assert [200] * 5 == [ask(service, "192.0.2.2").status for _ in range(5)]
        assert {200} == {ask(service, "192.0.2.2", path).status for path in ("/livez", "/readyz")}


def test_bodies_that_drip_lose_their_place(service: Service) -> None:
    """As many slow bodies as there are places: others get 503 with the time to come back, and soon are served."""
    head = POST + b"X-Forwarded-For: 192.0.2.3\r\nContent-Length: 60000\r\n\r\n{"
    with connections(service, REQUESTS, head) as slow:
        wait_for(lambda: ask(service, "192.0.2.4").status == 503)
        refused = ask(service, "192.0.2.5")
        assert (503, "overloaded", "1") == (refused.status, refused.code, refused.headers["retry-after"])
        assert {200} == {ask(service, "192.0.2.5", path).status for path in ("/livez", "/readyz")}
        dripping(slow, b" ", lambda: ask(service, f"192.0.2.{time.monotonic_ns() % 100 + 100}").status == 200)
        assert b"HTTP/1.1 422" in slow[0].recv(65536)


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    limit = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.05)


HEADS = {
    "many": b"".join(b"X-%d: 1\r\n" % number for number in range(20_000)),
    "long": b"X-A: " + b"a" * 4_000_000 + b"\r\n",
    "sum": b"X-A: " + b"a" * 9_000 + b"\r\nX-B: " + b"b" * 7_500 + b"\r\n",
    "folds": b"X-A: a\r\n" + b" a\r\n" * 20_000,
}


@pytest.mark.parametrize("case", HEADS)
def test_a_head_that_is_too_large_is_refused(service: Service, case: str) -> None:
    """Whatever makes it large; on a path that leads nowhere as well, and memory stays flat."""
    before = service.memory_mb("VmHWM")
    received = sent(service, b"GET /nowhere HTTP/1.1\r\nHost: api.example.com\r\n" + HEADS[case] + b"\r\n")
    assert not received or received.split()[1] in (b"400", b"431")
    assert service.memory_mb("VmHWM") - before < 30
    assert 200 == ask(service, "192.0.2.6").status


def sent(service: Service, content: bytes) -> bytes:
    """Send bytes, then nothing more; return what came back, if the connection lasted."""
    received = b""
    with socket.create_connection((service.host, service.port), timeout=WITHIN_S) as connection, suppress(OSError):
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            received += piece
    return received


INNER = b"GET /smuggled HTTP/1.1\r\nHost: api.example.com\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % (len(INNER) + 5)
SMUGGLED = {
    "length and chunks": LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\n" + LENGTH + b"\r\n0\r\n\r\n",
    "length list": b"Content-Length: 5, %d\r\n\r\n0\r\n\r\n" % (len(INNER) + 5),
    "signed length": b"Content-Length: +5\r\n\r\n0\r\n\r\n",
    "hidden chunks": LENGTH + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "odd chunks": LENGTH + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks by tab": LENGTH + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "folded chunks": LENGTH + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "chunk size": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "bare line": LENGTH + b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_nothing_is_smuggled_in_a_body(service: Service, case: str) -> None:
    """Where a body ends in two ways, what a proxy took for its rest is never served as a request."""
    received = sent(service, POST + b"X-Forwarded-For: 192.0.2.7\r\n" + SMUGGLED[case] + INNER)
    assert received.count(b"HTTP/1.1 ") <= 1, received
    assert b"/smuggled" not in received
    assert not received or received.split()[1].startswith(b"4")


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "api.example.com.evil.com", "api.example.com@evil.com", "127.0.0.1.nip.io", "localhost"],
)
def test_a_foreign_host_is_refused(service: Service, host: str) -> None:
    """Also when a header for proxies names the right one."""
    headers = {"Host": host, "X-Forwarded-For": "192.0.2.8", "X-Forwarded-Host": "api.example.com"}
    answer = service.call("GET", "/info", None, headers)
    assert (400, "invalid_header") == (answer.status, answer.code)
    assert host not in answer.body.decode()


def test_a_flood_of_one_caller_is_held_back(service: Service) -> None:
    """429 with the time to wait and the quota; others and probes notice nothing; the memory of callers is bounded."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(service, "203.0.113.1"), range(BURST * 3)))
        others = [ask(service, f"203.0.113.{number}").status for number in range(2, 10)]
    assert Counter({200: BURST, 429: BURST * 2}) == Counter(answer.status for answer in answers)
    refused = next(answer for answer in answers if answer.status == 429)
    assert ("too_many_requests", True) == (refused.code, refused.document["retryable"])
    assert 0 < int(refused.headers["retry-after"]) <= 100
    assert f'"address";q={BURST};w={BURST * 100}' == refused.headers["ratelimit-policy"]
    assert refused.headers["ratelimit"].startswith('"address";r=0;t=')
    assert "nosniff" == refused.headers["x-content-type-options"]
    assert {200} == set(others)
    assert {200} == {ask(service, "203.0.113.1", path).status for path in ("/livez", "/readyz")}
    assert 429 == ask(service, "203.0.113.1", "/nowhere").status
    spoofed = {**JSON, "X-Forwarded-For": "198.51.100.9, 203.0.113.1"}
    assert 429 == service.call("POST", "/v1/generations", PROMPT, spoofed).status


def test_principals_are_limited_and_guessing_ends(workshop: Workshop, tmp_path: Path) -> None:
    """Each key has a quota, from wherever it is used; whoever tries keys has to wait, and right ones are served."""
    project = workshop.install(DEFAULT)
    new = ("--scope", "genai", "--file", "keys.toml", "--json")
    made = [command(project, tmp_path, "keys", "new", name, *new) for name in ("ada", "bob")]
    key, fresh = (str(json.loads(done.stdout)["key"]) for done in made)
    environment = {
        **ENVIRONMENT,
        "MY_SERVICE_AUTH__OPEN": "false",
        "MY_SERVICE_AUTH__KEYS_FILE": str(tmp_path / "keys.toml"),
        "MY_SERVICE_LIMITS__PRINCIPAL__RATE_PER_S": "0.01",
        "MY_SERVICE_LIMITS__PRINCIPAL__BURST": "5",
    }
    with running(project, tmp_path / "run", environment) as service:

        def shown(credentials: str, caller: str) -> Answer:
            headers = {**JSON, "X-Forwarded-For": caller, "X-API-Key": credentials}
            return service.call("POST", "/v1/generations", PROMPT, headers)

        answers = [shown(key, f"192.0.2.{number}") for number in range(7)]
        assert [200] * 5 + [429] * 2 == [answer.status for answer in answers]
        assert '"principal";q=5;w=500' in answers[0].headers["ratelimit-policy"]
        guesses = [shown(f"wrong{number}", "203.0.113.1").status for number in range(20)]
        assert [401] * 10 + [429] * 10 == guesses
        blocked = shown("wrong", "203.0.113.1")
        assert ("too_many_requests", '"failures";q=10;w=100') == (
            blocked.code,
            blocked.headers["ratelimit-policy"].partition(", ")[0],
        )
        assert 0 < int(blocked.headers["retry-after"]) <= 10
        assert 200 == shown(fresh, "203.0.113.1").status, "nobody is shut out who shares the address"
        assert 401 == shown("wrong", "203.0.113.2").status
        assert 200 == ask(service, "203.0.113.1", "/livez").status
        log = service.log()
        assert ["203.0.113.1"] == [line["address"] for line in log if line["event"] == "address_blocked"]
        assert {"ada"} == {line["principal"] for line in log if line.get("status") == 429 and "principal" in line}


def test_replicas_share_a_limit_and_outlive_redis(workshop: Workshop, tmp_path: Path) -> None:
    """Two processes let through what one may; with Redis gone each lets its part through, and says so once."""
    project = workshop.install(DEFAULT, "replicas")
    install(project, "--extra", "redis")
    with RedisServer(tmp_path) as redis, ExitStack() as stack:
        environment = {**ENVIRONMENT, "MY_SERVICE_REDIS__URL": redis.url, "MY_SERVICE_LIMITS__REPLICAS": "2"}
        pair = [stack.enter_context(running(project, tmp_path / name, environment)) for name in ("one", "two")]
        answers = [ask(service, "192.0.2.1").status for _ in range(BURST) for service in pair]
        assert Counter({200: BURST, 429: BURST}) == Counter(answers)
        redis.kill()
        away = [ask(service, "192.0.2.2").status for _ in range(BURST) for service in pair]
        assert Counter({200: BURST, 429: BURST}) == Counter(away), "each its half"
        for service in pair:
            assert 1 == [line["event"] for line in service.log()].count("redis_unavailable")
            assert [] == [line for line in service.log() if line["level"] == "error"]
