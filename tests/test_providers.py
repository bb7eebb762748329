"""Providers by environment alone: several instances of one kind, chosen per request, and their failures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rendering import DEFAULT, Workshop
from serving import Service, command, running
from vendor import FAILURES, VENDOR_TEXT, Vendor, instance, vendor

pytestmark = pytest.mark.gate

KEYS = {"first": "planted-secret-1", "second": "planted-secret-2"}
MODELS = [*FAILURES, "slow", "garbled"]


@pytest.fixture(scope="module")
def outside() -> Iterator[Vendor]:
    """Return the vendor that all instances call."""
    with vendor() as running_vendor:
        yield running_vendor


@pytest.fixture(scope="module")
def service(workshop: Workshop, outside: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service with one instance for each way in which the vendor answers, the first one selected."""
    environment = {
        "MY_SERVICE_GENAI__PROVIDER": "first",
        "MY_SERVICE_GENAI__PARAMS__MAX_OUTPUT_TOKENS": "100",
        "MY_SERVICE_PROVIDERS__SLOW__RESILIENCE__TIMEOUTS__TOTAL_S": "0.3",
        "MY_SERVICE_PROVIDERS__LIMITED__RESILIENCE__RETRY__MAX_RETRY_AFTER_S": "5",
        "MY_SERVICE_PROVIDERS__FAILING__RESILIENCE__BREAKER__TYPE": "none",
    }
    for name, key in KEYS.items():
        environment |= instance(name, outside.url, f"model-{name}", key)
    for model in MODELS:
        environment |= instance(model, outside.url, model, "planted-secret-3")
    head = "MY_SERVICE_PROVIDERS__SECOND__PRICE__"
    environment |= {f"{head}INPUT_PER_MTOK": "0.15", f"{head}OUTPUT_PER_MTOK": "0.60", f"{head}CURRENCY": "EUR"}
    environment |= instance("nowhere", "http://127.0.0.1:9/v1", "model", "planted-secret-4")
    with running(workshop.install(DEFAULT), tmp_path_factory.mktemp("providers"), environment) as service:
        yield service


@pytest.mark.parametrize(("asked", "name"), [(None, "first"), ("first", "first"), ("second", "second")])
def test_instance_is_chosen_per_request(service: Service, outside: Vendor, asked: str | None, name: str) -> None:
    """A request names one of two instances of a kind, or none for the selected one; each has its own key and model."""
    document = {"prompt": "hello"} | ({} if asked is None else {"provider": asked})
    envelope = service.post("/v1/generations", document).document
    body = {
        "model": f"model-{name}",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 100,
    }
    assert ("/v1/chat/completions", f"Bearer {KEYS[name]}", body) == outside.asked[-1]
    cost = {"cost": {"amount": "0.00000285", "currency": "EUR"}} if name == "second" else {}
    usage = {"input_tokens": 3, "output_tokens": 4} | cost
    assert {"text": "olleh", "finish_reason": "stop", "usage": usage} == envelope["result"]
    found = {field: envelope["provenance"][field] for field in ("provider", "kind", "model", "attempts", "params")}
    assert {
        "provider": name,
        "kind": "openai_compatible",
        "model": f"model-{name}-2026",
        "attempts": 1,
        "params": {"max_output_tokens": 100},
    } == found


def test_answer_under_a_schema_has_data(service: Service, outside: Vendor) -> None:
    """The schema goes to the vendor, whose text is read and checked; a text off the schema is a failed call."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    envelope = service.post(
        "/v1/generations", {"prompt": '{"n": 1}'[::-1], "params": {"response_schema": schema}}
    ).document
    assert ('{"n": 1}', {"n": 1}) == (envelope["result"]["text"], envelope["result"]["data"])
    assert schema == outside.asked[-1][2]["response_format"]["json_schema"]["schema"]
    answer = service.post("/v1/generations", {"prompt": "hello", "params": {"response_schema": schema}})
    assert (502, "provider_error") == (answer.status, answer.code)
    assert b"olleh" not in answer.body


VENDORS = "cerebras, deepseek, fireworks, gemini, groq, mistral, ollama, openai, openrouter, together, vllm, xai"
WRONG = {
    "half a price": ({"PRICE__INPUT_PER_MTOK": "1"}, "PRICE__OUTPUT_PER_MTOK", "as the other price is set"),
    "the other half": ({"PRICE__OUTPUT_PER_MTOK": "1"}, "PRICE__INPUT_PER_MTOK", "as the other price is set"),
    "no number": ({"PRICE__INPUT_PER_MTOK": "cheap"}, "PRICE__INPUT_PER_MTOK", "a valid decimal"),
    "a gift": ({"PRICE__INPUT_PER_MTOK": "-1"}, "PRICE__INPUT_PER_MTOK", "greater than or equal to 0"),
    "a coin": ({"PRICE__CURRENCY": "euro"}, "PRICE__CURRENCY", "three capital letters"),
    "neither vendor nor URL": ({"BASE_URL": ""}, "BASE_URL", VENDORS),
    "an unknown vendor": ({"VENDOR": "opensky"}, "VENDOR", f"one of {VENDORS}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_of_a_vendor_are_checked_at_start(workshop: Workshop, tmp_path: Path, case: str) -> None:
    """What is missing or wrong about a vendor or its price is named with its variable, before anything starts."""
    changed, variable, expected = WRONG[case]
    environment = {"MY_SERVICE_GENAI__PROVIDER": "acme"} | instance("acme", "https://vendor.test/v1", "model", "key")
    environment |= {f"MY_SERVICE_PROVIDERS__ACME__{name}": value for name, value in changed.items()}
    done = command(workshop.install(DEFAULT), tmp_path, "config", "check", env=environment)
    lines = [line for line in done.stderr.splitlines() if line.startswith(f"MY_SERVICE_PROVIDERS__ACME__{variable} (")]
    assert (78, 1) == (done.returncode, len(lines))
    assert expected in lines[0]


def test_vendor_alone_is_enough(workshop: Workshop, tmp_path: Path) -> None:
    """Its name says where the API begins; a key and a model complete it."""
    environment = {"MY_SERVICE_GENAI__PROVIDER": "acme"} | instance("acme", "", "model", "key")
    environment["MY_SERVICE_PROVIDERS__ACME__VENDOR"] = "mistral"
    done = command(workshop.install(DEFAULT), tmp_path, "config", "show", env=environment)
    assert 0 == done.returncode, done.stderr
    assert "https://api.mistral.ai/v1" in done.stdout


def test_override_of_a_setting_is_a_warning(service: Service, outside: Vendor) -> None:
    """A request that states another value than the settings wins, and the answer says so."""
    envelope = service.post("/v1/generations", {"prompt": "a", "params": {"max_output_tokens": 50}}).document
    message = "max_output_tokens: request 50 over settings 100"
    assert [{"code": "policy_overridden", "message": message}] == envelope["warnings"]
    assert 50 == outside.asked[-1][2]["max_tokens"]


PROBLEMS = {
    "unauthorised": (502, "provider_error", False),
    "unknown": (502, "provider_error", False),
    "refused": (422, "invalid_request", False),
    "limited": (503, "provider_rate_limited", True),
    "unpaid": (503, "provider_quota_exhausted", False),
    "overdrawn": (503, "provider_quota_exhausted", False),
    "unavailable": (503, "provider_unavailable", True),
    "failing": (502, "provider_error", True),
    "garbled": (502, "provider_error", False),
    "nowhere": (502, "provider_error", True),
    "slow": (504, "deadline_exceeded", False),
}


RETRIED = {"unavailable", "failing", "nowhere"}
"""Tried three times; `limited` asks for more patience than the settings allow."""


@pytest.mark.parametrize("name", PROBLEMS)
def test_failure_of_a_provider_is_a_problem(service: Service, name: str) -> None:
    """Each way to fail has its status and code, with the provenance of the call and without the vendor's words."""
    answer = service.post("/v1/generations", {"prompt": "hello", "provider": name})
    status, code, retryable = PROBLEMS[name]
    assert (status, code, retryable) == (answer.status, answer.code, answer.document["retryable"])
    attempts = 3 if name in RETRIED else 1
    assert (name, attempts) == (answer.document["provenance"]["provider"], answer.document["provenance"]["attempts"])
    assert ("7" if name == "limited" else None) == answer.headers.get("retry-after")
    assert VENDOR_TEXT.encode() not in answer.body


def test_failures_in_a_batch_stay_single(service: Service) -> None:
    """In a batch each item fails or succeeds by itself, as an envelope."""
    items = [{"prompt": "a"}, {"prompt": "b", "provider": "limited"}, {"prompt": "c", "provider": "second"}]
    answer = service.post("/v1/generations/batch", {"items": items})
    assert (200, ["succeeded", "failed", "succeeded"]) == (
        answer.status,
        [envelope["status"] for envelope in answer.document["items"]],
    )
    error = answer.document["items"][1]["error"]
    assert {"code", "message", "retryable", "retry_after_s"} == set(error)
    assert ("provider_rate_limited", True, 7.0) == (error["code"], error["retryable"], error["retry_after_s"])


def test_log_keeps_secrets_and_traces_out(service: Service) -> None:
    """After all these failures the log names providers and codes, and neither keys nor traces."""
    service.post("/v1/generations", {"prompt": "hello", "provider": "failing"})
    failed = [line for line in service.log() if line["event"] == "provider_call_failed"]
    assert ("failing", "provider_error") == (failed[-1]["provider"], failed[-1]["code"])
    text = service.log_file.read_text(encoding="utf-8")
    assert "planted-secret" not in text
    assert "Traceback" not in text
