"""Bounds: the service answers under its own names only, and refuses what is too much at once."""

import asyncio

import httpx2
import pytest

from chassis.web.app import FEATURES, client_of, get, problem_of
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError
from object_service.chassis.container import Container
from object_service.chassis.web.settings import HttpSection

OURS = ["api.example.com", "API.Example.COM:8443", "api.example.com.", "a.b.example.org", "[::1]:80", "[::1]"]
FOREIGN = [
    "evil.com",
    "example.org",
    "api.example.com.evil.com",
    "evil-api.example.com",
    "",
    "[::2]",
    "a@api.example.com",
]


@pytest.fixture
def _hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__ALLOWED_HOSTS", '["api.example.com", "*.example.org", "[::1]"]')


@pytest.mark.usefixtures("_hosts")
@pytest.mark.parametrize("host", OURS)
async def test_the_service_answers_under_its_names(host: str) -> None:
    """Case, port and the dot of the root do not matter; a star stands for every name below."""
    assert 200 == (await get("/v1/things/1", {"Host": host})).status_code


@pytest.mark.usefixtures("_hosts")
@pytest.mark.parametrize("host", FOREIGN, ids=repr)
async def test_any_other_name_is_refused(host: str) -> None:
    """Before anything is looked up; probes and scrapes may come by address."""
    response = await get("/v1/things/1", {"Host": host})

    assert (400, "invalid_header") == (response.status_code, problem_of(response)["code"])
    assert [200, 200] == [(await get(path, {"Host": host})).status_code for path in ("/livez", "/metrics")]


@pytest.mark.usefixtures("_hosts")
async def test_two_names_are_none() -> None:
    """Nobody can say which one is meant."""
    hosts = [("Host", "api.example.com"), ("Host", "api.example.com")]

    assert 400 == (await get("/v1/things/1", hosts)).status_code


async def test_any_name_will_do_by_default() -> None:
    """Nothing is built from the name."""
    assert 200 == (await get("/v1/things/1", {"Host": "any.example.net"})).status_code


async def test_requests_over_the_most_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with the time to come back; probes and scrapes are answered, and a place that is given back is free."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__MAX_REQUESTS", "3")
    opened = asyncio.Event()
    container = Container()
    container.provide(asyncio.Event, opened)
    async with client_of(container) as client, asyncio.timeout(20):
        waiting = [asyncio.create_task(client.get("/v1/gate")) for _ in range(3)]
        await asyncio.sleep(0.05)
        refused: httpx2.Response = await client.get("/v1/things/1")
        unmatched = await client.get("/nowhere")
        probes = [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")]
        opened.set()
        served = {(await answer).status_code for answer in waiting}
        after = await client.get("/v1/things/1")

    document = problem_of(refused)
    assert (503, "overloaded", True) == (refused.status_code, document["code"], document["retryable"])
    assert "1" == refused.headers["retry-after"]
    assert 503 == unmatched.status_code
    assert [200, 200, 200] == probes
    assert {200} == served
    assert 200 == after.status_code


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ALLOWED_HOSTS": '["https://a.example.com"]'}, "a name such as api.example.com"),
        ({"ALLOWED_HOSTS": '["a.example.com:80"]'}, "a name such as api.example.com"),
        ({"MAX_REQUESTS": "50", "MAX_CONNECTIONS": "50"}, r"fewer than max_connections \(50\)"),
    ],
    ids=["url", "port", "no-room"],
)
def test_bounds_that_cannot_hold_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    """A name that no caller sends, or requests without a connection, are a mistake."""
    for name, value in variables.items():
        monkeypatch.setenv(f"OBJECT_SERVICE_HTTP__{name}", value)
    with pytest.raises(ConfigurationError, match=expected):
        load(FEATURES)


def test_fewer_connections_alone_are_fine() -> None:
    """One setting alone never stops the start: the other one gives way."""
    assert 49 == HttpSection(max_connections=50).requests_at_once
