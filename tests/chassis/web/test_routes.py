"""What routes ask of a request, and how they answer."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import Request

from chassis.web.app import FEATURES, client_of, get, problem_of
from object_service.chassis.config.loading import load
from object_service.chassis.container import Container
from object_service.chassis.openapi.document import openapi_document
from object_service.chassis.web.app import build_app
from object_service.chassis.web.routes import end_with_caller, json_response


@dataclass(frozen=True)
class _Answer:
    text: str
    unknown: str | None = None


async def test_known_parameters_are_taken() -> None:
    """Parameters of the route have their defaults and their types."""
    assert {"id": "7", "page": 2, "size": 20} == (await get("/v1/things/7?page=2")).json()


@pytest.mark.parametrize(
    ("query", "pointer", "detail"),
    [
        ("pgae=2", "/pgae", "No parameter is named 'pgae'. Did you mean 'page'? Known: page, size."),
        ("page=1&x", "/x", "No parameter is named 'x'. Known: page, size."),
        ("Page=1", "/Page", "No parameter is named 'Page'. Did you mean 'page'? Known: page, size."),
        ("%ff=1", "/\ufffd", "No parameter is named '\ufffd'. Known: page, size."),
    ],
    ids=["near", "far", "case", "not-utf8"],
)
async def test_an_unknown_parameter_is_refused(query: str, pointer: str, detail: str) -> None:
    """A typo in a query is never silently ignored."""
    response = await get(f"/v1/things/7?{query}")

    document = problem_of(response)
    assert (422, "unknown_parameter", detail) == (response.status_code, document["code"], document["detail"])
    assert [("query", pointer)] == [(error["in"], error["pointer"]) for error in document["errors"]]


async def test_a_route_without_parameters_says_so() -> None:
    """Probes and objects alike."""
    assert problem_of(await get("/livez?x=1"))["detail"].endswith("The route takes none.")


async def test_a_long_parameter_is_cut() -> None:
    """The answer does not repeat a kilobyte of somebody's text."""
    document = problem_of(await get(f"/v1/things/7?{'x' * 1000}=1"))

    assert "/" + "x" * 64 == document["errors"][0]["pointer"]
    assert "x" * 65 not in document["detail"]


@pytest.mark.parametrize("query", ["page=x", "page=0", "page="])
async def test_a_wrong_parameter_is_named(query: str) -> None:
    """The place is the query, the pointer its name."""
    document = problem_of(await get(f"/v1/things/7?{query}"))

    assert [("query", "/page", "invalid_request")] == [(e["in"], e["pointer"], e["code"]) for e in document["errors"]]


async def test_a_route_gets_what_the_container_provides() -> None:
    """Services come from the container of the running application."""
    container = Container()
    container.provide(str, "word")
    async with client_of(container) as client:
        assert {"word": "word"} == (await client.get("/v1/provided")).json()


def test_an_answer_is_dense_json() -> None:
    """Absent when unknown, non-ASCII as it is, with status and headers as asked."""
    response = json_response(_Answer("é"), status=202, headers={"Location": "/x"})

    assert ('{"text":"é"}'.encode(), 202) == (response.body, response.status_code)
    assert ("application/json", "/x") == (response.headers["content-type"], response.headers["location"])


def test_the_document_describes_routes_and_problems() -> None:
    """Every route has a readable operation id; the schema of problems is complete."""
    document = openapi_document(build_app(load(FEATURES), FEATURES, Container()))

    paths = document["paths"]
    assert isinstance(paths, dict)
    assert {"/livez", "/readyz", "/info", "/v1/things", "/v1/things/{id}"} <= set(paths)
    assert "things_read" == paths["/v1/things/{id}"]["get"]["operationId"]
    components = document["components"]
    assert isinstance(components, dict)
    problem = components["schemas"]["ProblemDocument"]
    assert {"type", "title", "status", "detail", "instance", "code", "correlation_id", "retryable"} == set(
        problem["required"]
    )
    assert {"in", "pointer", "code", "message"} == set(components["schemas"]["ProblemItem"]["properties"])
    assert ["status"] == components["schemas"]["Readiness"]["required"]
    assert {"service", "version", "environment"} < set(components["schemas"]["Info"]["required"])


async def _watched(*messages: str) -> tuple[bool, list[str]]:
    """Run work for a caller from whom these messages come; tell whether it was cancelled, and what came of it."""
    notes: list[str] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return {"type": left.pop(0)}
        await asyncio.Event().wait()
        return {}

    async def work() -> None:
        request = Request({"type": "http"}, receive)
        async with asynccontextmanager(end_with_caller)(request):
            await asyncio.sleep(0.02)
            notes.append("done")

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert 1 == len(asyncio.all_tasks()), "the watcher has ended"
    return task.cancelled(), notes


async def test_work_ends_with_its_caller() -> None:
    """Who hangs up cancels what was asked for; the rest of a body does not."""
    assert (True, []) == await _watched("http.request", "http.disconnect")
    assert (False, ["done"]) == await _watched("http.request")
