"""Limits: whoever comes too often is told so, with what is needed to do better; others and probes notice nothing."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from chassis.web.app import client_of, problem_of, raising
from object_service.chassis.auth.authentication import Authentication
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import Principal
from object_service.chassis.contracts.errors import RequestError, StorageUnavailableError
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


async def test_an_address_that_comes_too_often_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """429 with the time to wait and the quota; what is let through says what is left; the log says who it was."""
    caplog.set_level(logging.INFO)
    async with client_of(_container(address=SLOW)) as client:
        first = await client.get("/v1/things/1")
        assert [200, 200] == await _ask(client, 2)
        refused = await client.get("/v1/things/1")
        unmatched = await client.get("/nowhere")
        probes = [*await _ask(client, 5, "/livez"), *await _ask(client, 5, "/readyz")]
        probes += await _ask(client, 5, "/readyz", headers=KEY)

    document = problem_of(refused)
    assert (429, "too_many_requests", True) == (refused.status_code, document["code"], document["retryable"])
    assert 90 < int(refused.headers["retry-after"]) <= 100
    assert ('"address";q=3;w=300', '"address";r=0;t=300') == (
        refused.headers["ratelimit-policy"],
        refused.headers["ratelimit"],
    )
    assert '"address";r=2;t=100' == first.headers["ratelimit"]
    assert 429 == unmatched.status_code
    lines = [vars(record) for record in caplog.records if record.message == "request_served"]
    assert [None, None, None, "127.0.0.1", "127.0.0.1"] == [line.get("address") for line in lines]
    assert {200} == set(probes)


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


async def test_wrong_credentials_are_counted_and_then_have_to_wait() -> None:
    """Guessing ends with 429, the time to wait and the quota; no credentials are no wrong ones."""
    path = raising("wrong", RequestError("No.", code="unauthenticated", location="header"))
    async with client_of(_container(failures=SLOW, address={"rate_per_s": 1, "burst": 50})) as client:
        assert [401] * 9 == await _ask(client, 9, path)
        assert [200] * 9 == await _ask(client, 9, headers=KEY)
        assert [401, 401, 401, 429] == await _ask(client, 4, path, headers=KEY)
        refused = await client.get(path, headers=KEY)
        assert [401, 200] == [*await _ask(client, 1, path), *await _ask(client, 1, headers=KEY)]

    document = problem_of(refused)
    assert (429, "too_many_requests", True) == (refused.status_code, document["code"], document["retryable"])
    assert str(len(refused.content)) == refused.headers["content-length"]
    assert 90 < int(refused.headers["retry-after"]) <= 100
    assert '"failures";q=3;w=300, "address";q=50;w=50' == refused.headers["ratelimit-policy"]
    assert '"failures";r=0;t=300' == refused.headers["ratelimit"].partition(", ")[0]


@asynccontextmanager
async def _guarded(*, everybody: bool = False) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of a service that knows `ada`, who may do anything, and `bob`, who may do nothing."""

    async def known(credential: str) -> Principal | None:
        if credential == "away":
            raise StorageUnavailableError("the issuer cannot be reached")
        return {"ada": Principal("ada", frozenset({"*"})), "bob": Principal("bob")}.get(credential)

    container = _container(failures=SLOW, principal={"rate_per_s": 0.01, "burst": 20})
    container.provide(Authentication, Authentication(open=everybody)).add(known)
    async with client_of(container) as client:
        yield client


async def test_right_credentials_are_served_while_their_address_is_blocked() -> None:
    """Behind a proxy that nobody has named, an attacker shuts nobody out: neither old callers nor new ones."""
    async with _guarded() as client:
        assert [401] * 3 + [429] * 9 == await _ask(client, 12, headers=KEY)
        answers = [await _ask(client, 1, headers={"X-API-Key": who}) for who in ("ada", "bob", "away")]
        assert [[200], [403], [503]] == answers
        assert [401] == await _ask(client, 1), "without credentials nobody guesses"


async def test_probes_are_no_place_to_try_keys(caplog: pytest.LogCaptureFixture) -> None:
    """They answer as to anybody and count; who is known, lacks a scope, or cannot be recognised now is not counted."""
    async with _guarded() as client:
        for who in ("ada", "bob", "away"):
            await _ask(client, 4, headers={"X-API-Key": who})
        assert [200] * 3 == await _ask(client, 3, "/readyz", headers=KEY)
        assert [429] == await _ask(client, 1, headers=KEY)
        told = await client.get("/readyz", headers={"X-API-Key": "ada"})
        assert [200] * 30 == await _ask(client, 30, "/readyz", headers=KEY)
        assert [200] * 30 == await _ask(client, 30, "/readyz", headers={"X-API-Key": "ada"}), "probes are not limited"
    assert "checks" in told.json()
    caplog.clear()
    async with _guarded(everybody=True) as client:
        assert [200] * 9 == await _ask(client, 9, headers=KEY), "nothing is guessed where everybody is served"
    assert [] == caplog.messages


async def test_the_log_says_who_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The principal where it is known, the address otherwise; and once when an address begins to be blocked."""
    caplog.set_level(logging.INFO)
    async with _guarded() as client:
        await _ask(client, 5, headers=KEY)
        await _ask(client, 1, headers={"X-API-Key": "bob"})
        await _ask(client, 21, headers={"X-API-Key": "ada"})
        await _ask(client, 1)
        await _ask(client, 1, "/livez")

    lines = [vars(record) for record in caplog.records]
    seen = [
        (line["status"], line.get("principal"), line.get("address"))
        for line in lines
        if line["message"] == "request_served"
    ]
    wrong = [(401, None, "127.0.0.1")] * 3 + [(429, None, "127.0.0.1")] * 2
    known = [(403, "bob", None), *[(200, "ada", None)] * 20, (429, "ada", None)]
    assert [*wrong, *known, (401, None, None)] == seen
    (blocked,) = [line for line in lines if line["message"] == "address_blocked"]
    assert ("WARNING", "127.0.0.1", 100) == (blocked["levelname"], blocked["address"], blocked["blocked_s"])


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
