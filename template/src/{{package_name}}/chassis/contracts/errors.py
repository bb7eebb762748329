"""Errors with a stable code and a text that is safe to show.

ServiceError
├── RequestError                      the caller asked for something that cannot be done
├── StorageUnavailableError           what the service keeps cannot be reached
└── AdapterError                      a provider, or the way to it, failed
    ├── AdapterTransientError
    │   ├── AdapterTimeoutError
    │   ├── AdapterConnectionError
    │   ├── AdapterRateLimitedError
    │   └── AdapterUnavailableError
    ├── AdapterPermanentError
    │   ├── AdapterAuthenticationError
    │   ├── AdapterInvalidRequestError
    │   ├── AdapterNotFoundError
    │   ├── AdapterConflictError
    │   └── AdapterQuotaError
    ├── AdapterResponseError          the answer cannot be read
    ├── AdapterStreamInterruptedError
    ├── AdapterCircuitOpenError       refused here, nothing was sent
    ├── AdapterOverloadedError        refused here, nothing was sent
    └── AdapterDeadlineError          the caller's time ran out
"""

from enum import StrEnum
from typing import Any, ClassVar, Literal, Self


class ServiceError(Exception):
    """A failure that callers may learn of.

    `str()` is the internal text for logs; `user_message` is the only text that leaves the service.
    """

    default_code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "The service failed."
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        user_message: str | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Fill every field; what is not given follows the class."""
        super().__init__(message)
        self.code = code or self.default_code
        self.user_message = user_message or self.default_message
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        """Return the internal text."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by fields, whatever the signature of the subclass is."""
        return _restore, (type(self), self.args, self.__dict__)

    @classmethod
    def restored(cls, args: tuple[Any, ...], fields: dict[str, Any]) -> Self:
        """Build an error from the parts that `__reduce__` gave away."""
        error = cls.__new__(cls, *args)
        error.__dict__.update(fields)
        return error


def _restore(cls: type[ServiceError], args: tuple[Any, ...], fields: dict[str, Any]) -> ServiceError:
    return cls.restored(args, fields)


class RequestError(ServiceError):
    """The caller's fault; the message is safe to show.

    `pointer` is the JSON pointer of the offending value (RFC 6901), `location` says where it stands.
    """

    default_code = "invalid_request"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        pointer: str | None = None,
        location: Literal["body", "query", "path", "header"] = "body",
    ) -> None:
        """Keep the text for log and caller alike."""
        super().__init__(message, code=code, user_message=message)
        self.pointer, self.location = pointer, location


class StorageUnavailableError(ServiceError):
    """What the service keeps cannot be reached: its engine does not answer, is locked for too long, or is behind."""

    default_code = "storage_unavailable"
    default_message = "The service cannot reach its data."
    default_retryable = True


class RequestState(StrEnum):
    """How far a request to a provider came before it failed."""

    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class AdapterError(ServiceError):
    """A provider, or the way to it, failed.

    `provider_code` is the vendor's own code (internal). The vendor's exception is kept as `__cause__`, never as
    a field, so that the error can be pickled.
    """

    default_code = "provider_error"
    default_message = "The provider failed."
    default_request_state: ClassVar[RequestState] = RequestState.UNKNOWN

    def __init__(  # noqa: PLR0913 - the fields of an error, each named by its caller
        self,
        message: str,
        *,
        adapter: str,
        operation: str,
        cause: BaseException | None = None,
        code: str | None = None,
        provider_code: str | None = None,
        retryable: bool | None = None,
        request_state: RequestState | None = None,
        retry_after_s: float | None = None,
        user_message: str | None = None,
    ) -> None:
        """Fill every field; what is not given follows the class."""
        texts = {"code": code, "user_message": user_message}
        super().__init__(message, **texts, retryable=retryable, retry_after_s=retry_after_s)
        self.adapter, self.operation, self.provider_code = adapter, operation, provider_code
        self.request_state = request_state or self.default_request_state
        self.__cause__ = cause

    def __str__(self) -> str:
        """Return the internal text with where it happened."""
        return f"{self.adapter}.{self.operation}: {self.args[0]}"


class AdapterTransientError(AdapterError):
    """A failure that may pass by itself."""

    default_retryable = True


class AdapterTimeoutError(AdapterTransientError):
    """The provider did not answer in time."""

    default_code = "provider_timeout"
    default_message = "The provider did not answer in time."


class AdapterConnectionError(AdapterTransientError):
    """No connection, or it broke."""

    default_message = "The provider could not be reached."


class AdapterRateLimitedError(AdapterTransientError):
    """The provider asks for fewer calls."""

    default_code = "provider_rate_limited"
    default_message = "The provider limits the rate of calls."
    default_request_state = RequestState.REJECTED


class AdapterUnavailableError(AdapterTransientError):
    """The provider says that it cannot serve now."""

    default_code = "provider_unavailable"
    default_message = "The provider is not available."
    default_request_state = RequestState.REJECTED


class AdapterPermanentError(AdapterError):
    """The same call would fail again."""

    default_request_state = RequestState.REJECTED


class AdapterAuthenticationError(AdapterPermanentError):
    """The provider refuses our credentials."""


class AdapterInvalidRequestError(AdapterPermanentError):
    """The provider refuses what was asked."""

    default_code = "invalid_request"
    default_message = "The provider refused the request."


class AdapterNotFoundError(AdapterPermanentError):
    """The provider does not know what was asked for."""


class AdapterConflictError(AdapterPermanentError):
    """The request contradicts the provider's state."""


class AdapterQuotaError(AdapterPermanentError):
    """What was paid for is used up."""

    default_code = "provider_quota_exhausted"
    default_message = "The provider's quota is exhausted."


class AdapterResponseError(AdapterError):
    """The provider's answer cannot be read."""

    default_message = "The provider's answer could not be read."


class AdapterStreamInterruptedError(AdapterError):
    """The stream ended before it was complete."""

    default_message = "The provider's answer broke off."


class AdapterCircuitOpenError(AdapterError):
    """The circuit breaker is open; nothing was sent."""

    default_code = "circuit_open"
    default_message = "The provider is failing; calls to it are paused."
    default_retryable = True
    default_request_state = RequestState.NOT_SENT


class AdapterOverloadedError(AdapterError):
    """A local limit is reached; nothing was sent."""

    default_code = "overloaded"
    default_message = "Too many calls to the provider at once."
    default_retryable = True
    default_request_state = RequestState.NOT_SENT


class AdapterDeadlineError(AdapterError):
    """The time for the whole call ran out."""

    default_code = "deadline_exceeded"
    default_message = "The time allowed for the call ran out."
