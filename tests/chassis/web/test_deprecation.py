"""A deprecated route says with every answer since when, until when, and what to use; the document says it too."""

from typing import Any

import httpx2
import pytest
from fastapi import APIRouter
from fastapi.responses import Response

from chassis.web.app import FEATURES
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import Section
from object_service.chassis.config.settings import Settings
from object_service.chassis.container import Container
from object_service.chassis.features import Feature
from object_service.chassis.openapi.document import openapi_document
from object_service.chassis.web.app import build_app
from object_service.chassis.web.deprecation import deprecated
from object_service.chassis.web.routes import json_response

LINK = "https://example.org/changes"
GOES = deprecated(since="2026-11-22", sunset="2027-06-01", link=LINK)


class OldSection(Section):
    """Settings of what is old: none."""


def build_router(settings: Settings) -> APIRouter:
    """Return one route that goes and two that stay, one of them with a path that the one that goes would fit."""
    del settings
    router = APIRouter(prefix="/v1", tags=["old"])

    @router.get("/old/search")
    async def search() -> Response:
        return json_response({})

    @router.get("/old/{id}", dependencies=[GOES])
    async def old(id: int) -> Response:  # noqa: A002 - the name of the path parameter
        return json_response({"id": id})

    @router.get("/new/{id}")
    async def new(id: int) -> Response:  # noqa: A002 - as above
        return json_response({"id": id})

    return router


WITH_OLD = (*FEATURES, Feature(name="old", section=OldSection, router=build_router))


@pytest.mark.parametrize(("path", "status"), [("/v1/old/1", 200), ("/v1/old/x", 422), ("/v1/old/1?y=1", 422)])
async def test_every_answer_of_a_deprecated_route_says_so(path: str, status: int) -> None:
    """The headers stand on problems as on successes."""
    app = build_app(load(WITH_OLD), WITH_OLD, Container())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as client:
        answer = await client.get(path)
        others = [await client.get(path.replace("old", "new")), await client.get("/v1/old/search")]

    assert (
        status,
        "@1795305600",
        "Tue, 01 Jun 2027 00:00:00 GMT",
        f'<{LINK}>; rel="deprecation"; type="text/html"',
    ) == (
        answer.status_code,
        *(answer.headers[name] for name in ("deprecation", "sunset", "link")),
    )
    assert [set(), set()] == [{"deprecation", "sunset"} & set(other.headers) for other in others]


def test_the_document_marks_it() -> None:
    """The operation is deprecated, names the headers, and tells when it goes."""
    document: dict[str, Any] = openapi_document(build_app(load(WITH_OLD), WITH_OLD, Container()))
    old, new = (document["paths"][f"/v1/{name}/{{id}}"]["get"] for name in ("old", "new"))

    assert (True, "2026-11-22", "2027-06-01") == (old["deprecated"], old["x-deprecated-since"], old["x-sunset"])
    assert {"Deprecation", "Sunset", "Link"} <= set(old["responses"]["200"]["headers"])
    assert f"gone on 2027-06-01: see <{LINK}>" in old["description"]
    assert "deprecated" not in new
    assert "deprecated" not in document["paths"]["/v1/old/search"]["get"]


@pytest.mark.parametrize(("since", "sunset"), [("2026-11-22", "2027-05-20"), ("2026-11-22", "soon")])
def test_callers_have_six_months(since: str, sunset: str) -> None:
    """A route cannot go earlier, and dates are dates."""
    with pytest.raises(ValueError, match=r"sunset 180 days after|isoformat"):
        deprecated(since=since, sunset=sunset, link=LINK)
