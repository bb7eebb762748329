"""A small application with routes for every way in which a request can go."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from chassis.contracts.test_envelope import PROVENANCE
from chassis.samples.features import HTTP, LOG, install
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import Section
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import current
from object_service.chassis.contracts.envelope import Failed, Failure, Succeeded
from object_service.chassis.contracts.errors import ServiceError
from object_service.chassis.features import Feature
from object_service.chassis.web.app import build_app
from object_service.chassis.web.problems import ValidationProblem
from object_service.chassis.web.routes import finished, json_response, provided, read_body, require_json

ERRORS: dict[str, Exception] = {}
"""What `GET /v1/raise/{name}` raises; filled by the tests."""


class ThingsSection(Section):
    """Settings of things: none."""


class Part(BaseModel):
    """A part of a thing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size: int


class Thing(BaseModel):
    """What is posted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    count: int = 0
    price: float = Field(default=0, allow_inf_nan=False)
    parts: list[Part] = []
    counts: dict[str, int] = {}


def build_router(settings: Settings) -> APIRouter:  # noqa: C901 - a list of routes
    """Return the routes."""
    del settings
    router = APIRouter(prefix="/v1", tags=["things"])

    @router.get("/things/{id}")
    async def read(id: str, page: Annotated[int, Query(ge=1)] = 1, size: int = 20) -> Response:  # noqa: A002
        return json_response({"id": id, "page": page, "size": size})

    @router.post("/things", dependencies=[Depends(require_json)])
    async def create(thing: Thing) -> Response:
        return json_response({"name": thing.name})

    @router.get("/context")
    async def context() -> Response:
        return json_response({name: value for name, value in current()._asdict().items() if value is not None})

    @router.get("/remaining")
    async def remaining() -> Response:
        return json_response({"remaining_s": current().remaining_s()})

    @router.get("/raise/{name}")
    async def fail(name: str) -> Response:
        raise ERRORS[name]

    @router.get("/failed/{code}")
    async def failed(code: str, pointer: str | None = None) -> Response:
        if code == "none":
            return finished(Succeeded(id="gen_1", result={"a": 1}, provenance=PROVENANCE))
        failure = Failure(code, "It failed.", retryable=True, retry_after_s=2.1)
        return finished(Failed(id="gen_1", error=failure, provenance=PROVENANCE), pointer)

    @router.get("/refused/{status}")
    async def refused(status: int) -> Response:
        raise HTTPException(status, "Refused here.", headers={"X-Reason": "here"})

    @router.post("/form/{code}")
    async def form(code: str) -> Response:
        raise ValidationProblem([{"in": "body", "pointer": "/file", "code": code, "message": "Wrong."}])

    @router.post("/read", max_body_size=1_000_000)
    async def read_it(request: Request) -> Response:
        return json_response({"bytes": len(await read_body(request, 1000))})

    @router.get("/provided")
    async def instance(word: Annotated[str, Depends(provided(str))]) -> Response:
        return json_response({"word": word})

    @router.get("/labelled")
    async def labelled() -> Response:
        return json_response({}, headers={"Cache-Control": "private, max-age=60"})

    @router.get("/large")
    async def large() -> Response:
        return Response(bytes(64 * 1024 * 1024))

    @router.get("/gate")
    async def gate(opened: Annotated[asyncio.Event, Depends(provided(asyncio.Event))]) -> Response:
        await opened.wait()
        return json_response({"opened": True})

    return router


THINGS = Feature(name="things", section=ThingsSection, install=install, router=build_router, capability=True)
FEATURES = (HTTP, LOG, THINGS)


@asynccontextmanager
async def client_of(container: Container | None = None, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of the application."""
    app = build_app(load(FEATURES), FEATURES, container or Container())
    transport = httpx2.ASGITransport(app, **options)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def get(path: str, headers: Mapping[str, str] | list[tuple[str, str]] | None = None) -> httpx2.Response:
    """Ask a fresh application once."""
    async with client_of() as client:
        return await client.get(path, headers=headers)


async def post(content: bytes | str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    """Post one body, as JSON unless the headers say otherwise."""
    async with client_of() as client:
        return await client.post(
            "/v1/things", content=content, headers={"Content-Type": "application/json", **(headers or {})}
        )


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the problem document of a response, after checking what all have in common."""
    assert "application/problem+json" == response.headers["content-type"]
    document: dict[str, Any] = response.json()
    code = document["code"]
    assert (f"urn:problem:{code}", response.status_code) == (document["type"], document["status"])
    assert response.headers["x-request-id"] == document["correlation_id"]
    assert code.replace("_", " ") == document["title"].lower()
    assert document["detail"]
    return document


def raising(name: str, error: ServiceError | Exception) -> str:
    """Have an error raised, and return the path that raises it."""
    ERRORS[name] = error
    return f"/v1/raise/{name}"
