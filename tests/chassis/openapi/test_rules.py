"""Rules say of every operation which statuses, codes and headers it can answer with."""

from typing import Any

import pytest

from object_service.chassis.openapi.document import completed
from object_service.chassis.web.problems import STATUS
from object_service.chassis.web.routes import headed, problems

EVERY = {"invalid_header", "headers_too_large", "unknown_parameter", "internal_error", "overloaded"} | {
    "deadline_exceeded",
    "too_many_requests",
}
ALWAYS = {"X-Request-ID", "RateLimit", "RateLimit-Policy"}
BODY = {"invalid_request", "body_too_large", "unsupported_media", "malformed_json", "unknown_field"}


def operation(path: str = "/v1/x", method: str = "get", **given: Any) -> dict[str, Any]:
    """Return the only operation of a document, as it is completed."""
    common = {"*": ("storage_unavailable",), "POST": ("conflict",)} if given.pop("keeps", False) else {}
    given.setdefault("responses", {"200": {"description": "Done"}})
    found: dict[str, Any] = completed({"paths": {path: {method: given}}}, common=common)
    done: dict[str, Any] = found["paths"][path][method]
    return done


def codes(found: dict[str, Any]) -> set[str]:
    """Return every code that an operation names, after a look at the status under which it stands."""
    named = set()
    for status, answer in found["responses"].items():
        content = answer.get("content", {}).get("application/problem+json")
        if content is not None:
            own = content["schema"]["allOf"][1]["properties"]
            assert int(status) == own["status"]["const"]
            assert {int(status)} == {STATUS[code] for code in own["code"]["enum"]}
            assert set(own["code"]["enum"]) == set(content["examples"])
            named |= set(own["code"]["enum"])
    return named


IF_MATCH = {"name": "If-Match", "in": "header", "schema": {}}
ID = {"name": "id", "in": "path", "required": True, "schema": {}}
JSON: dict[str, Any] = {"content": {"application/json": {"schema": {}}}}
CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "plain": ({}, set()),
    "id": ({"parameters": [ID]}, {"not_found", "invalid_request"}),
    "query": ({"parameters": [{**ID, "in": "query"}]}, {"invalid_request"}),
    "body": ({"method": "post", "requestBody": JSON}, BODY),
    "if-match": ({"parameters": [IF_MATCH]}, {"precondition_failed", "invalid_request"}),
    "secured": ({"security": [{"key": []}]}, {"unauthenticated", "forbidden"}),
    "secured-or-not": ({"security": [{}]}, set()),
    "own": ({"responses": problems("prompt_too_long", "conflict")}, {"prompt_too_long", "conflict"}),
    "keeps": ({"keeps": True}, {"storage_unavailable"}),
    "keeps-posts": ({"keeps": True, "method": "post"}, {"storage_unavailable", "conflict"}),
    "operators": ({"keeps": True, "path": "/livez"}, set()),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_names_what_it_can_answer(name: str) -> None:
    """What follows from parameters, body, security and features is added to what every request can meet."""
    given, expected = CASES[name]
    assert EVERY | expected == codes(operation(**given))


def test_what_the_framework_would_answer_is_gone() -> None:
    """422 is a problem document; a description of the route's own for a status stays beside it."""
    reference = {"$ref": "#/components/schemas/HTTPValidationError"}
    frameworks = {"description": "Validation Error", "content": {"application/json": {"schema": reference}}}
    not_ready = {"description": "Not ready", "content": {"application/json": {"schema": {"type": "object"}}}}
    answers = operation(responses={"422": frameworks, "503": not_ready})["responses"]

    assert ["application/problem+json"] == list(answers["422"]["content"])
    assert ("Not ready", {"application/json", "application/problem+json"}) == (
        answers["503"]["description"],
        set(answers["503"]["content"]),
    )


def test_headers_stand_where_they_are_sent() -> None:
    """Every answer has the correlation id; the others stand where rules or the route put them."""
    made = {"201": {"description": "Made"}, **{str(k): v for k, v in headed(304, "ETag", description="Same").items()}}
    found = operation(method="post", responses=made, keeps=True, requestBody=JSON)
    named = {status: set(answer["headers"]) for status, answer in found["responses"].items()}

    assert {*ALWAYS, "Location", "Idempotency-Replayed"} == named["201"]
    assert {*ALWAYS, "ETag"} == named["304"]
    assert {*ALWAYS, "Retry-After"} == named["503"]
    assert ALWAYS == named["422"]
    asked = [one["$ref"].rpartition("/")[2] for one in found["parameters"]]
    assert ["X-Request-ID", "X-Request-Timeout", "Idempotency-Key", "If-None-Match"] == asked


def test_only_what_is_referred_to_is_a_component() -> None:
    """Names of headers, parameters and examples that no operation uses are left out."""
    found: dict[str, Any] = completed({"paths": {"/x": {"get": {"responses": {}, "tags": ["things"]}}}}, told={})
    components = found["components"]

    assert {*ALWAYS, "Retry-After"} == set(components["headers"])
    assert {"X-Request-ID", "X-Request-Timeout"} == set(components["parameters"])
    assert EVERY == set(components["examples"])
    assert [{"name": "things", "description": "Everything about things."}] == found["tags"]
    assert {"description", "contact", "license"} <= set(found["info"])
