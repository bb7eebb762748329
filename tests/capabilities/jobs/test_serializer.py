"""The serializer: plain JSON both ways, errors as data, and nothing else."""

import json
import pickle
from datetime import UTC, datetime

import pytest
from dbos import error as engine_errors

from object_service.capabilities.jobs.serializer import JsonSerializer, StepFailedError, original
from object_service.chassis.contracts.errors import AdapterTimeoutError, ServiceError
from object_service.chassis.redaction import know

_LOOK_LIKE = (
    {"$error": "boom"},
    {"$error": {"type": "KeyError", "text": "gone"}},
    {"$plain": 1},
    {"$plain": {"$error": "boom"}},
)


class Hostile:
    """Would run code when it is read as pickle."""

    def __reduce__(self) -> tuple[type[SystemExit], tuple[int]]:
        """Return what pickle would call."""
        return SystemExit, (1,)


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, "ä\x00\u2028", [], {"a": [1, {"b": None}]}, {"$error": 1, "more": 2}, "\ud800", *_LOOK_LIKE],
    ids=[
        *("null", "true", "int", "float", "text", "empty", "nested", "more-than-an-error", "half-a-character"),
        *("looks-like-an-error", "looks-like-one-in-full", "looks-like-a-mark", "looks-like-a-marked-error"),
    ],
)
def test_json_comes_back_as_it_was(value: object) -> None:
    """What is plain JSON is stored as text and read as the same."""
    stored = JsonSerializer().serialize(value)
    assert stored.isascii()
    assert "\0" not in stored
    assert value == JsonSerializer().deserialize(stored)


def test_times_become_text() -> None:
    """A time is written as everywhere else in the service."""
    assert '{"at":"2026-01-02T03:04:05.060000Z"}' == JsonSerializer().serialize(
        {"at": datetime(2026, 1, 2, 3, 4, 5, 60_000, tzinfo=UTC)}
    )


@pytest.mark.parametrize(
    ("value", "named"),
    [({1}, "set"), (b"a", "bytes"), (object(), "object"), ({"a": [Hostile()]}, "Hostile"), (len, "builtin_function")],
    ids=["set", "bytes", "object", "nested", "function"],
)
def test_anything_else_is_refused_by_name(value: object, named: str) -> None:
    """The text says what kind of object it was and what has to be plain JSON."""
    with pytest.raises(
        TypeError, match=rf"{named}.* is not plain JSON; payloads and results of jobs and steps have to"
    ):
        JsonSerializer().serialize(value)


def test_numbers_that_json_does_not_know_are_refused() -> None:
    """Not a number is not JSON, whatever Python's module would write."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonSerializer().serialize(float("nan"))


def test_pickle_is_not_read() -> None:
    """Bytes of pickle in the database are an error and run nothing."""
    stored = pickle.dumps(Hostile(), protocol=0).decode()
    with pytest.raises(json.JSONDecodeError):
        JsonSerializer().deserialize(stored)


def test_errors_of_the_service_come_back_as_they_were() -> None:
    """Class, code, text and fields survive, so that a job that is begun again sees the same failure."""
    error = AdapterTimeoutError("slow", adapter="a", operation="b", retry_after_s=2.5)
    again = JsonSerializer().deserialize(JsonSerializer().serialize(error))
    assert (AdapterTimeoutError, error.code, error.retryable, str(error)) == (
        *(type(again), again.code, again.retryable),
        str(again),
    )
    assert vars(error) == vars(again)


def test_other_errors_keep_their_name_and_text() -> None:
    """An error that has no agreed form is one that says what it was, without its objects."""
    again = JsonSerializer().deserialize(JsonSerializer().serialize(KeyError("gone")))
    assert (StepFailedError, "KeyError", "'gone'") == (type(again), again.kind, str(again))
    twice = JsonSerializer().deserialize(JsonSerializer().serialize(again))
    assert (StepFailedError, "KeyError", "'gone'") == (type(twice), twice.kind, str(twice))


def test_secrets_are_not_stored() -> None:
    """What is known to be a secret is taken out of texts that are stored."""
    know(["hunter22-secret"])
    for error in (ValueError("with hunter22-secret"), ServiceError("with hunter22-secret")):
        assert "hunter22" not in JsonSerializer().serialize(error)


def test_exhausted_attempts_are_the_last_error() -> None:
    """What the engine wraps around the attempts of a step is taken off."""
    last = ValueError("last")
    wrapped = engine_errors.DBOSMaxStepRetriesExceeded("step", 2, [ValueError("first"), last])
    assert last is original(wrapped)
    assert "last" in JsonSerializer().serialize(wrapped)
