"""Every failure of a route is a problem document with the status, code and words of the contract."""

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError

from chassis.contracts.test_envelope import PROVENANCE
from chassis.web.app import client_of, get, problem_of, raising
from object_service.chassis.contracts import errors
from object_service.chassis.contracts.errors import AdapterError, RequestError, ServiceError
from object_service.chassis.contracts.json import to_json
from object_service.chassis.web.problems import STATUS, ValidationProblem, install_problems, validation_problem

KEYS = {"type", "title", "status", "detail", "instance", "code", "correlation_id", "retryable"}
OF_CLASS = {
    "ServiceError": (500, "internal_error"),
    "RequestError": (422, "invalid_request"),
    "StorageUnavailableError": (503, "storage_unavailable"),
    "AdapterError": (502, "provider_error"),
    "AdapterTransientError": (502, "provider_error"),
    "AdapterTimeoutError": (504, "provider_timeout"),
    "AdapterConnectionError": (502, "provider_error"),
    "AdapterRateLimitedError": (503, "provider_rate_limited"),
    "AdapterUnavailableError": (503, "provider_unavailable"),
    "AdapterPermanentError": (502, "provider_error"),
    "AdapterAuthenticationError": (502, "provider_error"),
    "AdapterInvalidRequestError": (422, "invalid_request"),
    "AdapterNotFoundError": (502, "provider_error"),
    "AdapterConflictError": (502, "provider_error"),
    "AdapterQuotaError": (503, "provider_quota_exhausted"),
    "AdapterResponseError": (502, "provider_error"),
    "AdapterStreamInterruptedError": (502, "provider_error"),
    "AdapterCircuitOpenError": (503, "circuit_open"),
    "AdapterOverloadedError": (503, "overloaded"),
    "AdapterDeadlineError": (504, "deadline_exceeded"),
}


def _error(name: str) -> ServiceError:
    cls: type[ServiceError] = getattr(errors, name)
    if issubclass(cls, AdapterError):
        return cls("internal words", adapter="acme", operation="generate", provider_code="E42", retry_after_s=1.2)
    return cls("Words for all.")


@pytest.mark.parametrize(("name", "expected"), OF_CLASS.items(), ids=OF_CLASS)
async def test_an_error_has_its_status_and_code(name: str, expected: tuple[int, str]) -> None:
    """Each class of errors answers as the contract says, without a word of the inside."""
    error = _error(name)
    response = await get(raising(name, error))

    document = problem_of(response)
    assert expected == (response.status_code, document["code"])
    assert KEYS == set(document)
    assert (error.user_message, error.retryable) == (document["detail"], document["retryable"])
    assert f"/v1/raise/{name}" == document["instance"]
    assert "internal words" not in response.text
    assert "E42" not in response.text


def test_every_class_is_in_the_table() -> None:
    """A new error is not forgotten here."""
    assert {name for name in vars(errors) if name.endswith("Error")} == set(OF_CLASS)


@pytest.mark.parametrize(
    ("expected", "retryable", "seconds"),
    [("2", True, 1.2), ("0", True, 0.0), (None, True, None), (None, False, 1.2)],
    ids=["rounded-up", "at-once", "unknown", "useless"],
)
async def test_retry_after_stands_where_it_helps(expected: str | None, retryable: bool, seconds: float | None) -> None:  # noqa: FBT001 - a parameter of the test
    """Whole seconds, rounded up, and only for what may be tried again."""
    error = AdapterError("x", adapter="a", operation="b", retryable=retryable, retry_after_s=seconds)

    assert expected == (await get(raising("again", error))).headers.get("retry-after")


async def test_a_pointer_becomes_an_item() -> None:
    """A wrong value is named by where it stands."""
    error = RequestError("No.", code="unknown_provider", pointer="/provider", location="query")

    document = problem_of(await get(raising("pointer", error)))

    item = {"in": "query", "pointer": "/provider", "code": "unknown_provider", "message": "No."}
    assert [item] == document["errors"]
    assert KEYS | {"errors"} == set(document)


@pytest.mark.parametrize("code", sorted(STATUS))
async def test_a_failed_envelope_becomes_a_problem(code: str) -> None:
    """A synchronous call that failed answers with its provenance; the envelope itself is not shown."""
    response = await get(f"/v1/failed/{code}")

    document = problem_of(response)
    assert (STATUS[code], code, "It failed.") == (response.status_code, document["code"], document["detail"])
    assert to_json(PROVENANCE) == document["provenance"]
    assert "3" == response.headers["retry-after"]
    assert KEYS | {"provenance"} == set(document)


async def test_what_a_provider_refused_is_pointed_at() -> None:
    """A failed envelope that is about a part of the request names it, beside its provenance."""
    document = problem_of(await get("/v1/failed/unreadable_audio?pointer=/file"))

    item = {"in": "body", "pointer": "/file", "code": "unreadable_audio", "message": "It failed."}
    assert ([item], to_json(PROVENANCE)) == (document["errors"], document["provenance"])


async def test_a_succeeded_envelope_is_answered_as_it_is() -> None:
    """200, and times as the contract writes them."""
    response = await get("/v1/failed/none")

    assert (200, "succeeded") == (response.status_code, response.json()["status"])
    assert "2026-11-21T01:02:03.000100Z" == response.json()["provenance"]["created_at"]


async def test_half_a_character_does_not_break_the_answer() -> None:
    """Text that is no valid Unicode is replaced, not crashed on."""
    document = problem_of(await get(raising("half", RequestError("No \ud800.", pointer="/\udfff"))))

    assert ("No ?.", "/?") == (document["detail"], document["errors"][0]["pointer"])


async def test_an_unknown_code_is_an_internal_error() -> None:
    """Nothing falls through to another status."""
    assert 500 == problem_of(await get("/v1/failed/never_heard_of"))["status"]


@pytest.mark.parametrize(
    ("status", "code", "method", "path"),
    [
        (404, "not_found", "GET", "/nowhere"),
        (404, "not_found", "GET", "/v1/things/1/"),
        (404, "not_found", "GET", "/docs"),
        (404, "not_found", "GET", "/openapi.json"),
        (405, "method_not_allowed", "DELETE", "/v1/things"),
        (405, "method_not_allowed", "GET", "/v1/things"),
        (405, "method_not_allowed", "PROPFIND", "/livez"),
    ],
)
async def test_what_is_not_served_is_a_problem(status: int, code: str, method: str, path: str) -> None:
    """Unknown paths and methods have the same form as every other failure; a 405 names the methods."""
    async with client_of() as client:
        response = await client.request(method, path)

    assert (status, code, path) == (
        response.status_code,
        problem_of(response)["code"],
        problem_of(response)["instance"],
    )
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("expected", "status", "code"),
    [
        (404, 404, "not_found"),
        (413, 413, "body_too_large"),
        (415, 415, "unsupported_media"),
        (422, 418, "invalid_request"),
    ],
)
async def test_exceptions_of_the_framework_become_problems(expected: int, status: int, code: str) -> None:
    """Whatever the framework raises; its headers are kept."""
    response = await get(f"/v1/refused/{status}")

    assert (expected, code) == (response.status_code, problem_of(response)["code"])
    assert "here" == response.headers["x-reason"]


def test_a_form_filled_by_hand_has_the_same_problems() -> None:
    """Parts of a form that hold JSON are pointed to below the name of the part."""

    class _Params(BaseModel):
        size: int

    with pytest.raises(ValidationError) as wrong:
        _Params.model_validate_json('{"size": "x"}')
    with pytest.raises(ValidationError) as unreadable:
        _Params.model_validate_json("{")

    items = [validation_problem(error.value, above="/params").errors[0] for error in (wrong, unreadable)]
    assert [("/params/size", "invalid_request"), ("/params", "malformed_json")] == [
        (item["pointer"], item["code"]) for item in items
    ]
    assert "The text cannot be read as JSON." == items[1]["message"]


async def test_a_form_that_was_refused_by_hand_is_a_problem() -> None:
    """Routes that read forms themselves answer like those that do not; text inside a form is pointed at."""
    async with client_of() as client:
        responses = [await client.post(f"/v1/form/{code}") for code in ("invalid_request", "malformed_json")]

    documents = [problem_of(response) for response in responses]
    assert [(422, "/file: Wrong."), (400, "/file: Wrong.")] == [(d["status"], d["detail"]) for d in documents]
    assert ["/file", "/file"] == [document["errors"][0]["pointer"] for document in documents]


@pytest.mark.parametrize("host", ["[", "[::1", "a/b?c#d", "x:99999999"])
async def test_a_hostile_host_does_not_change_the_instance(host: str) -> None:
    """The instance is the path that was asked for, whatever host the request names."""
    response = await get("/nowhere", {"Host": host})

    assert (404, "/nowhere") == (response.status_code, problem_of(response)["instance"])


@pytest.mark.parametrize(("expected", "most"), [(20, {}), (30, {"most": 30})], ids=["usual", "all"])
async def test_long_lists_of_errors_are_cut(expected: int, most: dict[str, int]) -> None:
    """Twenty are named, unless whoever found them says that each one matters; the text counts all."""
    errors = [{"in": "body", "pointer": f"/{index}", "code": "conflict", "message": "No."} for index in range(30)]

    response = await get(raising("many", ValidationProblem(errors, **most)))

    document = problem_of(response)
    assert (409, expected, "/0: No. (29 more)") == (response.status_code, len(document["errors"]), document["detail"])


async def test_a_405_names_every_method_of_the_path() -> None:
    """The methods of all routes with this path are named, and none of a path with a parameter in its place."""
    app = FastAPI()
    install_problems(app)

    async def nothing() -> None:
        """Do nothing."""

    for method, path in (("GET", "/x/{id}"), ("GET", "/x/all"), ("POST", "/x/all"), ("DELETE", "/x/{id}")):
        app.add_api_route(path, nothing, methods=[method])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as client:
        allowed = [(await client.put(path)).headers["allow"] for path in ("/x/all", "/x/1")]

    assert ["GET, POST", "DELETE, GET"] == allowed
