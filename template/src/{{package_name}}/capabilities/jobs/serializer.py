"""Serializer: what jobs are given, what they return and how they fail, as JSON and never as pickle."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, override

from dbos import Serializer
from dbos import error as engine_errors

from ...chassis.contracts.errors import ServiceError
from ...chassis.contracts.json import timestamp
from ...chassis.redaction import redact_text

_ERROR, _PLAIN = "$error", "$plain"
_MARKS = ({_ERROR}, {_PLAIN})
"""Keys of documents that are an error, or that only look like one of these two."""


class StepFailedError(ServiceError):
    """A step, or another job, failed with an error that has no agreed form; `kind` is the name of its class."""

    default_message = "The job failed."

    def __init__(self, message: str, *, kind: str = "Exception") -> None:
        """Keep the text for the log."""
        super().__init__(message)
        self.kind = kind


class JsonSerializer(Serializer):
    """Plain JSON. Errors of the service come back as they were, every other one as StepFailedError."""

    @override
    def name(self) -> str:
        return "json"

    @override
    def serialize(self, data: Any) -> str:
        marked = isinstance(data, dict) and data.keys() in _MARKS
        document = {_ERROR: _described(data)} if isinstance(data, BaseException) else {_PLAIN: data} if marked else data
        return json.dumps(document, default=_plain, allow_nan=False, separators=(",", ":"))

    @override
    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - named so by DBOS
        value = json.loads(serialized_data)
        if not isinstance(value, dict) or value.keys() not in _MARKS:
            return value
        return _restored(value[_ERROR]) if _ERROR in value else value[_PLAIN]


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return timestamp(value)
    message = f"{type(value).__name__} is not plain JSON; payloads and results of jobs and steps have to be"
    raise TypeError(message)


def original(error: BaseException) -> BaseException:
    """Return the error of the last attempt where DBOS says only that there were too many."""
    return error.errors[-1] if isinstance(error, engine_errors.DBOSMaxStepRetriesExceeded) and error.errors else error


def _described(error: BaseException) -> dict[str, Any]:
    error = original(error)
    if not isinstance(error, ServiceError):
        return {"type": type(error).__name__, "text": redact_text(str(error))}
    fields = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}
    return {"type": type(error).__name__, "text": redact_text(str(error.args[0])), "fields": fields}


def _restored(described: dict[str, Any]) -> ServiceError:
    for known in _all(ServiceError):
        if known.__name__ == described["type"] and "fields" in described:
            return known.restored((described["text"],), described["fields"])
    return StepFailedError(described["text"], kind=described["type"])


def _all(cls: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield cls
    for below in cls.__subclasses__():
        yield from _all(below)
