"""Who may use which route: closed where nothing says otherwise."""

import logging
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import Response
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from chassis.samples.features import HTTP, LOG
from chassis.web.app import problem_of
from object_service.chassis.auth.authentication import Authentication
from object_service.chassis.config.loading import load
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import Principal, current
from object_service.chassis.contracts.errors import StorageUnavailableError
from object_service.chassis.features import Feature
from object_service.chassis.metrics import Metrics
from object_service.chassis.web.access import OPEN, SIGNED, needs
from object_service.chassis.web.app import build_app
from object_service.chassis.web.route_table import RouteTable
from object_service.chassis.web.routes import json_response

WHO = {
    "reader": Principal("reader", frozenset({"shelf"})),
    "writer": Principal("writer", frozenset({"shelf", "shelf:write"})),
    "operator": Principal("operator", frozenset({"ops"})),
    "all": Principal("all", frozenset({"*"})),
    "none": Principal("none"),
}


async def _known(credential: str) -> Principal | None:
    if credential == "down":
        raise StorageUnavailableError("the keys of the issuer cannot be reached", retry_after_s=3)
    return WHO.get(credential)


def _router(_: Settings) -> APIRouter:
    router = APIRouter(prefix="/v1/shelf", tags=["shelf"])
    strict = APIRouter(prefix="/strict", dependencies=[needs("strict")])

    @router.get("/{id}")
    async def read(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        context = current()
        return json_response(
            {"id": id, "caller": context.caller, "principal": context.principal and context.principal.id}
        )

    @router.post("/{id}", dependencies=[needs("shelf:write")])
    async def write(id: str, request: Request) -> Response:  # noqa: A002 - as above
        return json_response({"id": id, "bytes": len(await request.body())})

    @router.get("/public/page", dependencies=[OPEN])
    async def page() -> Response:
        principal = current().principal
        return json_response({"principal": principal and principal.id})

    @router.post("/hook/{name}", dependencies=[SIGNED])
    async def hook(name: str, request: Request) -> Response:
        return json_response({"name": name, "shown": request.headers.get("authorization")})

    @strict.get("/one")
    async def one() -> Response:
        return json_response({})

    @strict.get("/two", dependencies=[OPEN])
    async def two() -> Response:
        return json_response({})

    # Before what takes any id, as routes are looked for in their order.
    ordered = APIRouter()
    ordered.include_router(strict, prefix="/v1")
    ordered.include_router(router)
    return ordered


SHELF = Feature(name="shelf", router=_router)


@asynccontextmanager
async def _service(
    *,
    open: bool = False,  # noqa: A002 - as the setting is called
    container: Container | None = None,
    more: Feature | None = None,
) -> AsyncIterator[httpx2.AsyncClient]:
    container = container or Container()
    container.provide(Authentication, Authentication(open=open)).add(_known)
    features = (HTTP, LOG, SHELF, *([more] if more else []))
    app = build_app(load(features), features, container)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as client:
        yield client


def _bearer(who: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {who}"}


@pytest.mark.parametrize(
    ("method", "path", "who", "status"),
    [
        ("GET", "/v1/shelf/1", None, 401),
        ("GET", "/v1/shelf/1", "nobody", 401),
        ("GET", "/v1/shelf/1", "none", 403),
        ("GET", "/v1/shelf/1", "operator", 403),
        ("GET", "/v1/shelf/1", "reader", 200),
        ("GET", "/v1/shelf/1", "all", 200),
        ("POST", "/v1/shelf/1", "reader", 403),
        ("POST", "/v1/shelf/1", "writer", 200),
        ("PUT", "/v1/shelf/1", None, 401),
        ("PUT", "/v1/shelf/1", "reader", 405),
        ("GET", "/v1/strict/one", "reader", 403),
        ("GET", "/v1/strict/one", "all", 200),
        ("GET", "/v1/strict/two", None, 200),
        ("GET", "/v1/nowhere", None, 401),
        ("GET", "/v1/nowhere", "none", 404),
        ("GET", "/", None, 401),
        ("GET", "//v1/shelf/1", None, 401),
        ("GET", "/livez/", None, 401),
        ("GET", "/LIVEZ", None, 401),
        ("GET", "/livez", None, 200),
        ("GET", "/livez", "nobody", 200),
        ("POST", "/livez", None, 405),
        ("GET", "/readyz", None, 200),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", "reader", 403),
        ("GET", "/metrics", "operator", 200),
        ("GET", "/info", None, 401),
        ("GET", "/info", "operator", 200),
        ("POST", "/v1/shelf/hook/a", None, 200),
        ("GET", "/v1/shelf/hook/a", None, 405),
    ],
)
async def test_a_closed_service_serves_whom_a_route_is_for(
    method: str, path: str, who: str | None, status: int
) -> None:
    """Without credentials or with wrong ones 401, even where nothing is; without the scope 403."""
    async with _service() as client:
        response = await client.request(method, path, headers=_bearer(who) if who else None)

    assert status == response.status_code
    if status >= 400:
        assert {401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}[
            status
        ] == problem_of(response)["code"]


async def test_an_open_service_serves_everybody_and_still_recognises() -> None:
    """So that limits, audits and replays of a known caller are its own in dev too."""
    async with _service(open=True) as client:
        shown: dict[str, str | None] = {}
        for who in (None, "reader", "none", "nobody", "down"):
            response = await client.get("/v1/shelf/1", headers=_bearer(who) if who else None)
            shown[str(who)] = response.json()["principal"]

        assert 404 == (await client.get("/v1/nowhere")).status_code
        assert 200 == (await client.get("/metrics")).status_code
    assert {"None": None, "reader": "reader", "none": "none", "nobody": None, "down": None} == shown


async def test_the_caller_is_the_principal() -> None:
    """Two credentials of one principal are one caller; before anybody is known it is a digest."""
    async with _service() as client:
        assert "reader" == (await client.get("/v1/shelf/1", headers=_bearer("reader"))).json()["caller"]
    async with _service(open=True) as client:
        assert 64 == len((await client.get("/v1/shelf/1", headers=_bearer("nobody"))).json()["caller"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("X-API-Key", "reader")], 200),
        ([("X-API-Key", " reader ")], 200),
        ([("Authorization", "bearer reader")], 200),
        ([("Authorization", "BEARER   reader")], 200),
        ([("Authorization", "Bearer reader"), ("X-API-Key", "reader")], 200),
        ([("Authorization", "Bearer reader"), ("X-API-Key", "all")], 401),
        ([("Authorization", "Bearer reader"), ("Authorization", "Bearer all")], 401),
        ([("Authorization", "Basic reader"), ("X-API-Key", "reader")], 401),
        ([("Authorization", "reader")], 401),
        ([("Authorization", "Bearer")], 401),
        ([("Authorization", "Bearer reader all")], 401),
        ([("Authorization", "Bearer ")], 401),
        ([("X-API-Key", "")], 401),
        ([("Cookie", "key=reader")], 401),
    ],
)
async def test_what_is_shown_has_to_be_clear(headers: list[tuple[str, str]], status: int) -> None:
    """A bearer credential or `X-API-Key`; two that differ are none."""
    async with _service() as client:
        assert status == (await client.get("/v1/shelf/1", headers=headers)).status_code
        assert 401 == (await client.get("/v1/shelf/1?key=reader")).status_code


@pytest.mark.parametrize(
    ("headers", "challenge", "detail"),
    [
        ({}, 'Bearer realm="object-service"', "Expected credentials in the header Authorization or X-API-Key."),
        (
            _bearer("nobody"),
            'Bearer realm="object-service", error="invalid_token"',
            "The credentials are not valid, or not any more.",
        ),
        (
            _bearer("operator"),
            'Bearer realm="object-service", error="insufficient_scope", scope="shelf"',
            "The credentials lack the scope shelf.",
        ),
    ],
    ids=["none", "wrong", "scope"],
)
async def test_a_refusal_says_what_is_missing(headers: dict[str, str], challenge: str, detail: str) -> None:
    """In the challenge of RFC 6750 for programs, and in words."""
    async with _service() as client:
        response = await client.get("/v1/shelf/1", headers=headers)

    assert (challenge, detail) == (response.headers["www-authenticate"], problem_of(response)["detail"])


async def test_a_refusal_comes_before_the_body(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of a stranger's upload is read; metrics and the access line name the route."""
    caplog.set_level(logging.INFO)
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x" * 10

    container = Container()
    metrics = container.provide(Metrics, Metrics())
    async with _service(container=container) as client:
        app = client._transport.app  # type: ignore[attr-defined]
        sent: list[int] = []

        async def receive() -> dict[str, object]:
            read.append(b"read")
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                sent.append(int(str(message["status"])))

        scope = {"type": "http", "method": "POST", "path": "/v1/shelf/1", "headers": [], "query_string": b""}
        await app(scope, receive, send)

    assert ([401], []) == (sent, read)
    assert b'http_requests_total{method="POST",route="/v1/shelf/{id}",status="401"} 1.0' in metrics.exposition()[0]
    (line,) = [vars(record) for record in caplog.records if record.message == "request_served"]
    assert ("/v1/shelf/{id}", 401) == (line["route"], line["status"])


async def test_who_cannot_be_recognised_now_is_told_so() -> None:
    """A failing authenticator is no proof against the caller: 503, and what is open stays open."""
    async with _service() as client:
        response = await client.get("/v1/shelf/1", headers=_bearer("down"))
        assert 200 == (await client.get("/livez", headers=_bearer("down"))).status_code

    assert (503, "storage_unavailable", "3") == (
        response.status_code,
        problem_of(response)["code"],
        response.headers["retry-after"],
    )


async def test_a_signed_route_gets_what_its_sender_shows() -> None:
    """Its signature may stand in the header of credentials; nobody else looks at it."""
    async with _service() as client:
        response = await client.post("/v1/shelf/hook/a", headers=_bearer("down"))

    assert {"name": "a", "shown": "Bearer down"} == response.json()


async def test_readiness_tells_details_to_operators() -> None:
    """A stranger learns whether the service is ready, and not of what it is made."""
    container = Container()

    async def answers() -> None:
        return None

    container.add_ping("database", answers)
    async with _service(container=container) as client:
        told = {
            who: (await client.get("/readyz", headers=_bearer(who))).json() for who in ("nobody", "reader", "operator")
        }

    assert {"status": "ok"} == told["nobody"] == told["reader"]
    assert {"status": "ok", "checks": {"database": {"status": "ok"}}} == told["operator"]


async def test_routes_of_other_kinds_need_the_scope_of_their_feature_or_operators() -> None:
    """A mounted application is guarded like a route, and what nobody declared is for operators."""

    def router(_: Settings) -> APIRouter:
        found = APIRouter()
        found.routes.append(Route("/plain/{id}", _plain))
        found.routes.append(Mount("/mounted", _plain_app))
        return found

    async with _service(more=Feature(name="other", router=router)) as client:
        app: FastAPI = client._transport.app  # type: ignore[attr-defined]
        app.router.routes.append(Route("/late", _plain))
        found = {
            (path, who): (await client.get(path, headers=_bearer(who))).status_code
            for path in ("/plain/1", "/mounted/a/b", "/late")
            for who in ("nobody", "reader", "operator", "all")
        }

    closed = {"nobody": 401, "reader": 403, "all": 200}
    for path, operator in (("/plain/1", 403), ("/mounted/a/b", 403), ("/late", 200)):
        assert closed | {"operator": operator} == {who: status for (at, who), status in found.items() if at == path}


def test_a_route_that_cannot_be_guarded_is_refused() -> None:
    """It is not left open by accident."""

    class Strange(BaseRoute):
        """A kind of route without a pattern."""

    app = FastAPI(openapi_url=None)
    app.router.routes.append(Strange())

    with pytest.raises(TypeError, match="cannot be guarded"):
        RouteTable(app)


async def test_a_web_socket_is_closed() -> None:
    """Nothing serves one, and nobody could be refused on one: also where a server or a route of yours knows them."""

    def router(_: Settings) -> APIRouter:
        found = APIRouter()
        found.add_api_websocket_route("/socket", WebSocket.accept)
        return found

    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/socket", "headers": [], "query_string": b"", "subprotocols": []}
    for open_ in (False, True):
        async with _service(more=Feature(name="other", router=router), open=open_) as client:
            app: FastAPI = client._transport.app  # type: ignore[attr-defined]
            await app({**scope}, receive, send)

    assert ["websocket.close"] * 2 == [message["type"] for message in sent]


async def _plain(_: Request) -> Response:
    return PlainTextResponse("plain")


_plain_app = PlainTextResponse("mounted")
