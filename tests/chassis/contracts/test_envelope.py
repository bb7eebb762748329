"""Envelopes have exactly the keys of the contract."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from chassis.doubles import MOMENT
from object_service.chassis.contracts.call import CallRecord
from object_service.chassis.contracts.envelope import (
    SCHEMA_VERSION,
    Envelope,
    Failed,
    Failure,
    Notice,
    Pending,
    Provenance,
    Running,
    Succeeded,
    failed,
    running,
    succeeded,
)
from object_service.chassis.contracts.errors import AdapterRateLimitedError, RequestError
from object_service.chassis.contracts.json import to_json

AT_START = {
    "service",
    "service_version",
    "object",
    "operation",
    "provider",
    "kind",
    "fingerprint",
    "params",
    "policy_version",
    "correlation_id",
    "attempts",
    "fallback_used",
    "created_at",
}
AT_END = AT_START | {"model", "started_at", "finished_at"}
HEAD = {"schema_version", "id", "status", "warnings", "provenance"}


@dataclass(frozen=True)
class _Result:
    text: str


PROVENANCE = Provenance(
    service="my-service",
    service_version="0.1.0",
    object="genai",
    operation="generate",
    provider="echo",
    kind="echo",
    fingerprint="sha256:00",
    params={},
    policy_version="1",
    correlation_id="3f0c",
    attempts=0,
    fallback_used=False,
    created_at=MOMENT,
)
FAILURE = Failure("provider_timeout", "The provider did not answer in time.", retryable=True, retry_after_s=2.0)
ENVELOPES: dict[str, tuple[Any, set[str]]] = {
    "pending": (Pending(id="dia_01k", provenance=PROVENANCE), HEAD),
    "running": (Running(id="dia_01k", provenance=PROVENANCE, progress=0.5), HEAD | {"progress"}),
    "succeeded": (Succeeded(id="gen_01k", result=_Result("hello"), provenance=PROVENANCE), HEAD | {"result"}),
    "failed": (Failed(id="dia_01k", error=FAILURE, provenance=PROVENANCE), HEAD | {"error"}),
}


@pytest.mark.parametrize(("status", "envelope", "keys"), [(s, *e) for s, e in ENVELOPES.items()], ids=ENVELOPES)
def test_an_envelope_has_the_keys_of_the_contract(status: str, envelope: Any, keys: set[str]) -> None:
    """Each status has its own keys; warnings are always there, the schema version is 1."""
    document = to_json(envelope)

    assert keys == set(document)
    assert ("1", status, []) == (document["schema_version"], document["status"], document["warnings"])
    assert "1" == SCHEMA_VERSION


def test_progress_is_absent_when_unknown() -> None:
    """A provider that does not tell its progress leaves no null behind."""
    assert HEAD == set(to_json(Running(id="dia_01k", provenance=PROVENANCE)))


def test_provenance_grows_with_the_call() -> None:
    """Before the call nobody knows model and end; afterwards both stand there, with the attempts made."""
    begun = replace(PROVENANCE, started_at=MOMENT)
    ended = begun.after(CallRecord(attempts=2), finished_at=MOMENT + timedelta(seconds=1), model="echo-1")

    assert AT_START == set(to_json(PROVENANCE))
    assert AT_END == set(to_json(ended))
    assert (2, "echo-1", "echo", False) == (ended.attempts, ended.model, ended.provider, ended.fallback_used)
    assert "2026-11-21T01:02:04.000100Z" == to_json(ended)["finished_at"]


def test_provenance_names_the_provider_that_answered() -> None:
    """After a fallback, provider and kind are those of the fallback; attempts add up and a known model stays."""
    begun = replace(PROVENANCE, attempts=1, model="echo-1")
    record = CallRecord(attempts=2, fallback_used=True, provider="spare", kind="acme")

    ended = begun.after(record, finished_at=MOMENT)

    assert ("spare", "acme", True, 3, "echo-1") == (
        ended.provider,
        ended.kind,
        ended.fallback_used,
        ended.attempts,
        ended.model,
    )


def test_work_goes_from_pending_to_its_end() -> None:
    """Id and warnings stay; the first time at which the work was seen running stays too."""
    pending = Pending(id="dia_1", warnings=(Notice("policy_overridden", "a over b"),), provenance=PROVENANCE)
    later = MOMENT + timedelta(seconds=1)

    first = running(pending, at=MOMENT, progress=None, model=None)
    second = running(first, at=later, progress=0.5, model="m-1")
    done = succeeded(second, "result", CallRecord(attempts=1), at=later, model=None)
    gone = failed(second, FAILURE, CallRecord(attempts=2), at=later)

    envelopes: list[Envelope[str]] = [first, second, done, gone]
    assert {("dia_1", pending.warnings)} == {(envelope.id, envelope.warnings) for envelope in envelopes}
    assert {MOMENT} == {envelope.provenance.started_at for envelope in envelopes}
    assert (None, 0.5, "result", FAILURE) == (first.progress, second.progress, done.result, gone.error)
    assert [(1, "m-1", later), (2, "m-1", later)] == [
        (envelope.provenance.attempts, envelope.provenance.model, envelope.provenance.finished_at)
        for envelope in (done, gone)
    ]


def test_work_that_nobody_saw_running_began_when_it_was_accepted() -> None:
    """A success always has a beginning; a failure may never have begun."""
    pending = Pending(id="dia_1", provenance=PROVENANCE)

    assert MOMENT == succeeded(pending, "r", CallRecord(), at=MOMENT, model=None).provenance.started_at
    assert failed(pending, FAILURE, CallRecord(), at=MOMENT).provenance.started_at is None


def test_a_failure_shows_only_what_is_safe() -> None:
    """Internal text, vendor codes and names of adapters stay inside."""
    error = AdapterRateLimitedError(
        "vendor says no to key abc", adapter="acme", operation="generate", provider_code="E42", retry_after_s=2.0
    )

    assert {
        "code": "provider_rate_limited",
        "message": "The provider limits the rate of calls.",
        "retryable": True,
        "retry_after_s": 2.0,
    } == to_json(Failure.of(error))


def test_a_failure_of_the_caller_keeps_its_message() -> None:
    """What is wrong with a request is told to whoever made it; no time to wait is stated."""
    expected = {"code": "prompt_too_long", "message": "Too long.", "retryable": False}

    assert expected == to_json(Failure.of(RequestError("Too long.", code="prompt_too_long")))


def test_a_notice_is_a_code_and_a_sentence() -> None:
    """Warnings have the form of the contract."""
    envelope = Pending(id="a", warnings=(Notice("policy_overridden", "a over b"),), provenance=PROVENANCE)

    assert [{"code": "policy_overridden", "message": "a over b"}] == to_json(envelope)["warnings"]
