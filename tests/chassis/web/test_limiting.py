"""Limits: whoever comes too often is told so, with what is needed to do better; others and probes notice nothing."""

from typing import Any

import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from chassis.web.app import client_of, problem_of, raising
from object_service.chassis.container import Container
from object_service.chassis.contracts.errors import RequestError
from object_service.chassis.web import limiting
from object_service.chassis.web.limiting import PrincipalLimits
from object_service.chassis.web.rates import CallerLimits
from object_service.chassis.web.settings import LimitsSection

SLOW = {"rate_per_s": 0.01, "burst": 3}
KEY = {"X-API-Key": "wrong"}


def _container(**rates: dict[str, Any]) -> Container:
    container = Container()
    container.provide(CallerLimits, CallerLimits(LimitsSection.model_validate(rates)))
    return container


async def _ask(client: httpx2.AsyncClient, times: int, path: str = "/v1/things/1", **more: Any) -> list[int]:
    return [(await client.get(path, **more)).status_code for _ in range(times)]


async def test_an_address_that_comes_too_often_is_refused() -> None:
    """429 with the time to wait and the quota; what is let through says what is left."""
    async with client_of(_container(address=SLOW)) as client:
        first = await client.get("/v1/things/1")
        assert [200, 200] == await _ask(client, 2)
        refused = await client.get("/v1/things/1")
        unmatched = await client.get("/nowhere")
        probes = [*await _ask(client, 5, "/livez"), *await _ask(client, 5, "/readyz")]
        guessing = await client.get("/readyz", headers=KEY)

    document = problem_of(refused)
    assert (429, "too_many_requests", True) == (refused.status_code, document["code"], document["retryable"])
    assert 90 < int(refused.headers["retry-after"]) <= 100
    assert ('"address";q=3;w=300', '"address";r=0;t=300') == (
        refused.headers["ratelimit-policy"],
        refused.headers["ratelimit"],
    )
    assert '"address";r=2;t=100' == first.headers["ratelimit"]
    assert 429 == unmatched.status_code
    assert {200} == set(probes)
    assert 429 == guessing.status_code, "whoever shows credentials is no orchestrator"


async def test_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a trusted proxy each caller has an own quota."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__TRUSTED_PROXIES", '["127.0.0.0/8"]')
    async with client_of(_container(address=SLOW)) as client:
        assert [200, 200, 200, 429] == await _ask(client, 4, headers={"X-Forwarded-For": "192.0.2.1"})
        assert [200] == await _ask(client, 1, headers={"X-Forwarded-For": "192.0.2.2"})


async def test_nothing_is_said_where_nothing_is_limited() -> None:
    """Without limits there are no headers about them."""
    async with client_of(_container(failures={"rate_per_s": 0})) as client:
        response = await client.get("/v1/things/1")

    assert not [name for name in response.headers if name.startswith("ratelimit")]


async def test_wrong_credentials_are_counted_and_then_not_looked_at() -> None:
    """Guessing ends with 429, whatever comes from the address then; no credentials are no wrong ones."""
    path = raising("wrong", RequestError("No.", code="unauthenticated", location="header"))
    async with client_of(_container(failures=SLOW)) as client:
        assert [401] * 9 == await _ask(client, 9, path)
        assert [200] * 9 == await _ask(client, 9, headers=KEY)
        assert [401, 401, 401, 401, 429] == await _ask(client, 5, path, headers=KEY)
        refused = await client.get("/v1/things/1", headers=KEY)
        nobody = await client.get("/v1/things/1")

    assert 200 == nobody.status_code
    assert (429, "too_many_requests") == (refused.status_code, problem_of(refused)["code"])
    assert 90 < int(refused.headers["retry-after"]) <= 100


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return a list whose last entry is who calls."""
    who: list[str | None] = [None]
    monkeypatch.setattr(limiting, "_principal", lambda: who[-1])
    return who


async def test_a_principal_that_comes_too_often_is_refused(somebody: list[str | None]) -> None:
    """By who it is, from wherever; nobody in particular has no limit here; both limits are told."""
    address = {"rate_per_s": 1, "burst": 50}
    async with client_of(_container(address=address, principal=SLOW)) as client:
        assert [200] * 5 == await _ask(client, 5)
        somebody.append("ada")
        told = await client.get("/v1/things/1")
        assert [200, 200, 429] == await _ask(client, 3)
        somebody.append("bob")
        assert [200] == await _ask(client, 1)

    assert '"principal";r=2;t=100, "address";r=44' == told.headers["ratelimit"].rpartition(";t=")[0]
    assert '"principal";q=3;w=300, "address";q=50;w=50' == told.headers["ratelimit-policy"]


async def test_other_protocols_pass_untouched() -> None:
    """Only HTTP has callers."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope["type"])

    async def receive() -> Message:
        return {}

    async def send(message: Message) -> None:
        del message

    limits = CallerLimits(LimitsSection.model_validate({"principal": SLOW}))
    await PrincipalLimits(app, limits)({"type": "lifespan"}, receive, send)

    assert ["lifespan"] == seen
