"""Errors keep their fields over every kind of copy, have a status, and shadow no builtin."""

import builtins
import copy
import inspect
import pickle
from collections.abc import Callable, Iterator

import pytest

from object_service.chassis.contracts import errors
from object_service.chassis.contracts.errors import AdapterError, RequestError, RequestState, ServiceError
from object_service.chassis.web.problems import STATUS


def _tree(top: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield top
    for below in top.__subclasses__():
        yield from _tree(below)


CLASSES = sorted((c for c in _tree(ServiceError) if c.__module__ == errors.__name__), key=lambda c: c.__name__)
ADAPTER_CLASSES = [c for c in CLASSES if issubclass(c, AdapterError)]
COPIES: dict[str, Callable[[ServiceError], ServiceError]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301 - our own bytes
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
DEFAULTS = {
    "AdapterError": ("provider_error", False, "unknown"),
    "AdapterTransientError": ("provider_error", True, "unknown"),
    "AdapterTimeoutError": ("provider_timeout", True, "unknown"),
    "AdapterConnectionError": ("provider_error", True, "unknown"),
    "AdapterRateLimitedError": ("provider_rate_limited", True, "rejected"),
    "AdapterUnavailableError": ("provider_unavailable", True, "rejected"),
    "AdapterPermanentError": ("provider_error", False, "rejected"),
    "AdapterAuthenticationError": ("provider_error", False, "rejected"),
    "AdapterInvalidRequestError": ("invalid_request", False, "rejected"),
    "AdapterNotFoundError": ("provider_error", False, "rejected"),
    "AdapterConflictError": ("provider_error", False, "rejected"),
    "AdapterQuotaError": ("provider_quota_exhausted", False, "rejected"),
    "AdapterResponseError": ("provider_error", False, "unknown"),
    "AdapterStreamInterruptedError": ("provider_error", False, "unknown"),
    "AdapterCircuitOpenError": ("circuit_open", True, "not_sent"),
    "AdapterOverloadedError": ("overloaded", True, "not_sent"),
    "AdapterDeadlineError": ("deadline_exceeded", False, "unknown"),
}


def _filled(cls: type[AdapterError]) -> AdapterError:
    return cls(
        "internal text",
        adapter="acme",
        operation="generate",
        cause=ValueError("vendor text"),
        code="own_code",
        provider_code="E42",
        retryable=True,
        request_state=RequestState.NOT_SENT,
        retry_after_s=2.5,
        user_message="Safe text.",
    )


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("cls", ADAPTER_CLASSES, ids=lambda cls: cls.__name__)
def test_an_adapter_error_survives_being_copied(
    cls: type[AdapterError], copied: Callable[[ServiceError], ServiceError]
) -> None:
    """Class, text, arguments and every field are the same after pickle, copy and deepcopy."""
    error = _filled(cls)

    twin = copied(error)

    assert (cls, "acme.generate: internal text") == (type(twin), str(twin))
    assert (error.args, vars(error)) == (twin.args, vars(twin))


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_request_error_survives_being_copied(copied: Callable[[ServiceError], ServiceError]) -> None:
    """The signature of a subclass does not matter for copies."""
    error = RequestError("No such page.", code="not_found", pointer="/page", location="query")

    twin = copied(error)

    assert isinstance(twin, RequestError)
    assert ("not_found", "/page", "query", "No such page.") == (twin.code, twin.pointer, twin.location, str(twin))
    assert vars(error) == vars(twin)


def test_the_vendor_exception_is_the_cause_and_no_field() -> None:
    """An exception of a vendor may not be picklable, so it never stands among the fields."""
    error = _filled(AdapterError)

    assert isinstance(error.__cause__, ValueError)
    assert not [value for value in vars(error).values() if isinstance(value, BaseException)]


def test_every_field_is_what_was_given() -> None:
    """An error says exactly what its maker said."""
    error = _filled(AdapterError)

    assert {
        "adapter": "acme",
        "operation": "generate",
        "code": "own_code",
        "provider_code": "E42",
        "retryable": True,
        "request_state": RequestState.NOT_SENT,
        "retry_after_s": 2.5,
        "user_message": "Safe text.",
    } == vars(error)


@pytest.mark.parametrize("cls", ADAPTER_CLASSES, ids=lambda cls: cls.__name__)
def test_what_is_not_given_follows_the_class(cls: type[AdapterError]) -> None:
    """Code, retryability and request state have one default per class."""
    error = cls("text", adapter="acme", operation="generate")

    assert DEFAULTS[cls.__name__] == (error.code, error.retryable, error.request_state.value)
    assert (None, None, None) == (error.retry_after_s, error.provider_code, error.__cause__)


def test_an_explicit_no_is_not_taken_for_nothing() -> None:
    """`retryable=False` wins over a class that is retryable."""
    error = errors.AdapterTimeoutError("text", adapter="acme", operation="generate", retryable=False)

    assert error.retryable is False


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_user_message_never_repeats_the_internal_text(cls: type[ServiceError]) -> None:
    """Only the default text of the class leaves the service; a request error is the exception."""
    text = "internal text"
    error = cls(text, adapter="acme", operation="generate") if issubclass(cls, AdapterError) else cls(text)

    assert issubclass(cls, RequestError) == ("internal text" in error.user_message)
    assert error.user_message.endswith((".", "internal text"))


def test_no_error_shadows_a_builtin() -> None:
    """`except TimeoutError` means the same in every module."""
    names = [name for name, value in vars(errors).items() if inspect.isclass(value)]

    assert [] == [name for name in names if hasattr(builtins, name)]


def test_every_error_class_ends_in_error_and_is_drawn_in_the_tree() -> None:
    """The docstring of the module shows the whole hierarchy, each class below its parent."""
    drawn: dict[int, str] = {}
    parents: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is not None:
            depth = line.index(name)
            above = [level for level in drawn if level < depth]
            parents[name] = drawn[max(above)] if above else None
            drawn = {level: drawn[level] for level in above} | {depth: name}

    assert {c.__name__: c.__bases__[0].__name__ if c is not ServiceError else None for c in CLASSES} == parents


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_code_has_a_status(cls: type[ServiceError]) -> None:
    """No error becomes a 500 because somebody forgot its code."""
    assert STATUS[cls.default_code] >= 400
