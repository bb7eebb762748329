"""The default service as a process: every route, header, status and document of the contract that is built."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from releases import NEXT
from rendering import DEFAULT, Workshop
from serving import JSON, MULTIPART, Answer, Service, command, multipart, running, spoken

pytestmark = pytest.mark.gate

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
ID = re.compile(r"(gen|dia)_[a-z0-9_]{1,60}")
VECTOR = "sha256:7c761df0fabaadc4650fd3cbdd504ddc7e8122116a15c2ebbb47f89ba350ad5e"
UNKNOWN = "dia_0000000000000000000000000000"
ECHO = {
    "service": "my-service",
    "service_version": "0.1.0",
    "object": "genai",
    "operation": "generate",
    "provider": "echo",
    "kind": "echo",
    "model": "echo-1",
    "fingerprint": VECTOR,
    "params": {},
    "policy_version": "1",
    "correlation_id": "3f0c",
    "attempts": 1,
    "fallback_used": False,
}


@pytest.fixture(scope="module")
def service(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a default service that all tests of this module use."""
    with running(workshop.install(DEFAULT), tmp_path_factory.mktemp("service")) as service:
        yield service


def without_times(provenance: dict[str, Any]) -> dict[str, Any]:
    """Return a provenance without its times, after a look at each of them."""
    times = {name: value for name, value in provenance.items() if name.endswith("_at")}
    assert [] == [value for value in times.values() if not TIME.fullmatch(value)]
    assert sorted(times.values()) == list(times.values())
    return {name: value for name, value in provenance.items() if name not in times}


def test_generation_succeeds(service: Service) -> None:
    """A generation answers at once with an envelope in which nothing is null and nothing unknown."""
    answer = service.post("/v1/generations", {"prompt": "hello"}, {"X-Request-ID": "3f0c"})
    assert (200, "application/json", "3f0c") == (
        answer.status,
        answer.headers["content-type"],
        answer.headers["x-request-id"],
    )
    envelope = answer.document
    assert ["schema_version", "id", "status", "result", "warnings", "provenance"] == list(envelope)
    assert ("1", "succeeded", []) == (envelope["schema_version"], envelope["status"], envelope["warnings"])
    assert ID.fullmatch(envelope["id"])
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert {"text": "hello", "finish_reason": "stop", "usage": usage} == envelope["result"]
    assert {"created_at", "started_at", "finished_at"} == set(envelope["provenance"]) - set(ECHO)
    assert ECHO == without_times(envelope["provenance"])


def test_params_and_policy_are_taken(service: Service) -> None:
    """Params reach the provider and the provenance; a profile states what the request does not."""
    document = {
        "prompt": "one two three",
        "provider": "echo",
        "params": {"max_output_tokens": 2, "stop": ["four"]},
        "policy": {"profile": "precise", "allow_partials": True, "on_refusal": "return"},
    }
    envelope = service.post("/v1/generations", document).document
    assert ("one two", "length") == (envelope["result"]["text"], envelope["result"]["finish_reason"])
    assert {"max_output_tokens": 2, "stop": ["four"], "temperature": 0.0} == envelope["provenance"]["params"]
    assert VECTOR != envelope["provenance"]["fingerprint"]


def test_stream_ends_with_the_envelope(service: Service) -> None:
    """Pieces as `delta` events, and the envelope of an ordinary call as the last one."""
    answer = service.post("/v1/generations/stream", {"prompt": "hello"})
    first, last = answer.body.decode().rstrip().split("\n\n")
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert 'event: delta\ndata: {"index":0,"text":"hello"}' == first
    name, _, data = last.partition("\ndata: ")
    assert ("event: envelope", "hello") == (name, json.loads(data)["result"]["text"])


def test_batch_answers_in_order(service: Service) -> None:
    """A batch of up to 100 prompts comes back in order, each item with an envelope of its own."""
    items = [{"prompt": f"number {index}"} for index in range(100)]
    answer = service.post("/v1/generations/batch", {"items": items})
    assert (200, ["items"]) == (answer.status, list(answer.document))
    assert [item["prompt"] for item in items] == [e["result"]["text"] for e in answer.document["items"]]
    assert 100 == len({envelope["id"] for envelope in answer.document["items"]})


def test_unknown_provider_is_a_problem(service: Service) -> None:
    """The problem document of an unknown provider is that of the contract, to the member."""
    answer = service.post("/v1/generations", {"prompt": "hello", "provider": "ecko"}, {"X-Request-ID": "3f0c"})
    detail = "No provider named 'ecko'. Did you mean 'echo'? Available: echo."
    assert (422, "application/problem+json") == (answer.status, answer.headers["content-type"])
    assert {
        "type": "urn:problem:unknown_provider",
        "title": "Unknown provider",
        "status": 422,
        "detail": detail,
        "instance": "/v1/generations",
        "code": "unknown_provider",
        "correlation_id": "3f0c",
        "retryable": False,
        "errors": [{"in": "body", "pointer": "/provider", "code": "unknown_provider", "message": detail}],
    } == answer.document


BAD_GENERATIONS = {
    "unknown field": ({"prompt": "a", "promt": "b"}, "unknown_field", "/promt"),
    "unknown param": ({"prompt": "a", "params": {"top_p": 1}}, "unknown_field", "/params/top_p"),
    "no prompt": ({}, "invalid_request", "/prompt"),
    "empty prompt": ({"prompt": ""}, "invalid_request", "/prompt"),
    "prompt of a wrong type": ({"prompt": 7}, "invalid_request", "/prompt"),
    "no object": ([], "invalid_request", ""),
    "temperature": ({"prompt": "a", "params": {"temperature": 3}}, "invalid_request", "/params/temperature"),
    "profile": ({"prompt": "a", "policy": {"profile": "x"}}, "invalid_request", "/policy/profile"),
    "too long": ({"prompt": "a" * 100_001}, "prompt_too_long", "/prompt"),
}


@pytest.mark.parametrize("case", BAD_GENERATIONS)
def test_bad_generation_is_refused(service: Service, case: str) -> None:
    """A wrong part of a request is named by its pointer; in a batch it refuses the whole."""
    document, code, pointer = BAD_GENERATIONS[case]
    answer = service.post("/v1/generations", document)
    assert (422, code) == (answer.status, answer.code)
    assert [("body", pointer)] == [(error["in"], error["pointer"]) for error in answer.document["errors"]]
    batch = service.post("/v1/generations/batch", {"items": [{"prompt": "fine"}, document]})
    assert (422, code, f"/items/1{pointer}") == (batch.status, batch.code, batch.document["errors"][0]["pointer"])


@pytest.mark.parametrize("items", [[], [{"prompt": "a"}] * 101], ids=["none", "too many"])
def test_batch_has_1_to_100_items(service: Service, items: list[object]) -> None:
    """An empty batch and one of more than 100 items are refused."""
    answer = service.post("/v1/generations/batch", {"items": items})
    assert (422, "/items") == (answer.status, answer.document["errors"][0]["pointer"])


REFUSED: dict[str, tuple[str, str, bytes | None, dict[str, str], int, str]] = {
    "malformed": ("POST", "/v1/generations", b'{"prompt": ', JSON, 400, "malformed_json"),
    "not UTF-8": ("POST", "/v1/generations", b'{"prompt": "\xff"}', JSON, 400, "malformed_json"),
    "no body": ("POST", "/v1/generations", b"", JSON, 400, "malformed_json"),
    "long JSON on the route of uploads": ("POST", "/v1/diarizations", b'"' * 70_000, JSON, 413, "body_too_large"),
    "form instead of JSON": ("POST", "/v1/generations", multipart(b"x"), MULTIPART, 415, "unsupported_media"),
    "no type": ("POST", "/v1/generations", b'{"prompt": "a"}', {}, 415, "unsupported_media"),
    "text to diarize": ("POST", "/v1/diarizations", b"x", {"Content-Type": "text/plain"}, 415, "unsupported_media"),
    "body over the limit": ("POST", "/v1/generations", b'"' + b"a" * 2_000_000, JSON, 413, "body_too_large"),
    "parameter": ("POST", "/v1/generations?x=1", b'{"prompt": "a"}', JSON, 422, "unknown_parameter"),
    "parameter of a probe": ("GET", "/livez?verbose=1", None, {}, 422, "unknown_parameter"),
    "method": ("DELETE", "/v1/generations", None, {}, 405, "method_not_allowed"),
    "path": ("GET", "/v1/nothing", None, {}, 404, "not_found"),
    "slash": ("GET", "/livez/", None, {}, 404, "not_found"),
    "id": ("GET", f"/v1/diarizations/{UNKNOWN}", None, {}, 404, "not_found"),
    "id to cancel": ("DELETE", f"/v1/diarizations/{UNKNOWN}", None, {}, 404, "not_found"),
    "headers": ("GET", "/info", None, {"X-Much": "a" * 17_000}, 431, "headers_too_large"),
    "timeout is text": ("GET", "/info", None, {"X-Request-Timeout": "soon"}, 400, "invalid_header"),
    "timeout is zero": ("GET", "/info", None, {"X-Request-Timeout": "0"}, 400, "invalid_header"),
    "timeout is infinite": ("GET", "/info", None, {"X-Request-Timeout": "inf"}, 400, "invalid_header"),
    "timeout is huge": ("GET", "/info", None, {"X-Request-Timeout": "1e999"}, 400, "invalid_header"),
    "idempotency key": ("GET", "/info", None, {"Idempotency-Key": "a b"}, 400, "invalid_header"),
    "audio from elsewhere": (
        *("POST", "/v1/diarizations", b'{"audio_url": "http://host/a.wav"}', JSON),
        *(422, "unsupported_source"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_is_a_problem_document(service: Service, case: str) -> None:
    """Whatever is refused answers a problem document with the status of its code."""
    method, path, body, headers, status, code = REFUSED[case]
    answer = service.call(method, path, body, headers)
    assert (status, code) == (answer.status, answer.code)
    document = answer.document
    required = {"type", "title", "status", "detail", "instance", "code", "correlation_id", "retryable"}
    assert required <= set(document) <= required | {"errors"}
    assert (f"urn:problem:{code}", status, path.partition("?")[0], False) == (
        *(document["type"], document["status"], document["instance"], document["retryable"]),
    )
    assert answer.headers["x-request-id"] == document["correlation_id"]


def test_method_not_allowed_names_the_allowed_ones(service: Service) -> None:
    """A path that does not take a method says which ones it takes."""
    assert "POST" == service.call("GET", "/v1/generations").headers["allow"]


@pytest.mark.parametrize("sent", ["has space", "a" * 129, "ä", "semi;colon", ""], ids=ascii)
def test_hostile_request_id_is_replaced(service: Service, sent: str) -> None:
    """A correlation id that could confuse a log is replaced by a fresh one."""
    answer = service.call("GET", "/info", headers={"X-Request-ID": sent})
    assert sent != answer.headers["x-request-id"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", answer.headers["x-request-id"])


def test_deadline_of_the_caller_is_kept(service: Service) -> None:
    """A caller who gives no time gets a problem, and no provider is called."""
    answer = service.post("/v1/generations", {"prompt": "hello"}, {"X-Request-Timeout": "1e-9", "X-Request-ID": "3f0c"})
    assert (504, "deadline_exceeded") == (answer.status, answer.code)
    assert 0 == answer.document.get("provenance", {"attempts": 0})["attempts"]


def test_operators_are_answered(service: Service) -> None:
    """The routes for operators say that the process lives, that it is ready, and what it is."""
    assert {"status": "ok"} == service.call("GET", "/livez").document
    assert {"status": "ok", "checks": {}} == service.call("GET", "/readyz").document
    info = service.call("GET", "/info").document
    assert {"version": "0.1.0", "template_version": NEXT}.items() <= info.items()
    fixed = {"service": "my-service", "environment": "dev", "capabilities": [], "long_work": "in_process"}
    assert fixed == {name: value for name, value in info.items() if "version" not in name}


def test_document_describes_what_is_answered(workshop: Workshop, tmp_path: Path) -> None:
    """Every reference of the OpenAPI document leads somewhere, names can be read, and no answer is ever null."""
    done = command(workshop.install(DEFAULT), tmp_path, "openapi", "--json")
    document = json.loads(done.stdout)
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)))
    components = document["components"].items()
    assert {f"#/components/{kind}/{name}" for kind, found in components for name in found} >= references
    assert [] == [name for name in schemas if not re.fullmatch(r"[A-Z][A-Za-z]+", name)]
    answered = (
        "GenerationSucceeded",
        "Pending",
        "Running",
        "DiarizationSucceeded",
        "Failed",
        "Provenance",
        "Generation",
    )
    assert not [name for name in answered if '"null"' in json.dumps(schemas[name])]
    assert {"schema_version", "id", "status", "warnings", "provenance"} == set(schemas["Running"]["required"])
    discriminator = schemas["DiarizationEnvelope"]["discriminator"]
    assert ("status", {"pending", "running", "succeeded", "failed"}) == (
        discriminator["propertyName"],
        set(discriminator["mapping"]),
    )
    body = document["paths"]["/v1/diarizations"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/json"} == set(body)


def test_parts_of_later_releases_are_absent(service: Service) -> None:
    """What is not built yet is not there: no collections, no pages with scripts."""
    absent = ["/v1/recordings", "/v1/jobs", "/v1/audit", "/redoc"]
    assert {404} == {service.call("GET", path).status for path in absent}


def started(answer: Answer) -> str:
    """Return the id of long work after a look at what the answer says about it."""
    envelope = answer.document
    assert (202, "pending", f"/v1/diarizations/{envelope['id']}", "1") == (
        *(answer.status, envelope["status"], answer.headers["location"], answer.headers["retry-after"]),
    )
    assert ["schema_version", "id", "status", "warnings", "provenance"] == list(envelope)
    assert ("energy", 0) == (envelope["provenance"]["provider"], envelope["provenance"]["attempts"])
    assert "started_at" not in envelope["provenance"]
    return str(envelope["id"])


def test_diarization_succeeds(service: Service, workshop: Workshop) -> None:
    """A recording is accepted at once; its envelope becomes that of the result, which then stays."""
    example: Path = workshop.install(DEFAULT) / "examples" / "two_speakers.wav"
    id_ = started(service.upload(example.read_bytes(), {"provider": "energy", "params": '{"max_speakers": 2}'}))
    envelope = service.finished(id_)
    assert ("succeeded", ["S1", "S2"]) == (envelope["status"], envelope["result"]["speakers"])
    assert {"start_s", "end_s", "speaker"} == set(envelope["result"]["segments"][0])
    provenance = without_times(envelope["provenance"])
    assert (1, {"max_speakers": 2}) == (provenance["attempts"], provenance["params"])
    refused = service.call("DELETE", f"/v1/diarizations/{id_}")
    assert (409, "already_finished") == (refused.status, refused.code)
    assert envelope == service.call("GET", f"/v1/diarizations/{id_}").document


def test_diarization_is_cancelled(service: Service) -> None:
    """Work that runs says so and can be cancelled, twice; work that waits for it can be cancelled too."""
    content = spoken(3600)
    first, second = (started(service.upload(content)) for _ in range(2))
    limit = time.monotonic() + 30
    while (document := service.call("GET", f"/v1/diarizations/{first}").document)["status"] == "pending":
        assert time.monotonic() < limit
    assert "running" == document["status"]
    assert 0 <= document["progress"] <= 1
    assert TIME.fullmatch(document["provenance"]["started_at"])
    for id_ in (first, second):
        cancelled, again = (service.call("DELETE", f"/v1/diarizations/{id_}") for _ in range(2))
        assert (200, "failed", "cancelled", False) == (
            *(cancelled.status, cancelled.document["status"]),
            *(cancelled.document["error"]["code"], cancelled.document["error"]["retryable"]),
        )
        assert (200, cancelled.document) == (again.status, again.document)
        assert cancelled.document == service.call("GET", f"/v1/diarizations/{id_}").document
