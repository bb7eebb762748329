"""Failures: what the bodies and events mean in which the API tells of them.

Source: the public API reference of `POST /v1/messages`, pages on errors, rate limits and streaming.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ....chassis.contracts import errors
from ....chassis.http_failures import Where, failure_within

_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_INVALID = "invalid_request_error"
_USED_UP = ("Your credit balance is too low", "You have reached your specified ")
"""How the text begins when nothing is left to spend: neither status nor code tells that from a wrong request."""

_ERRORS: Mapping[str, type[errors.AdapterError]] = {
    "contract_spend_limit_reached": errors.AdapterQuotaError,
    "enforced_spend_limit_reached": errors.AdapterQuotaError,
    "organization_on_hold": errors.AdapterAuthenticationError,
    "authentication_error": errors.AdapterAuthenticationError,
    "permission_error": errors.AdapterAuthenticationError,
    "billing_error": errors.AdapterQuotaError,
    "not_found_error": errors.AdapterNotFoundError,
    "rate_limit_error": errors.AdapterRateLimitedError,
    "timeout_error": errors.AdapterTimeoutError,
    "overloaded_error": errors.AdapterUnavailableError,
}
"""What codes mean, whatever status they come with."""

_STATUSES = {_INVALID: "400", "conflict_error": "409", "request_too_large": "413"}
"""Which status further codes stand for where there is none: in a stream, and behind some gateways."""


class _Failure(BaseModel):
    type: Any = None
    error: Any = None


def explain_failure(content: bytes) -> tuple[str | None, type[errors.AdapterError] | None]:
    """Return the code in the body of a failure, and the class of error that it means."""
    error = _reported(content) or {}
    codes = _codes(error)
    known = next((_ERRORS[code] for code in codes if code in _ERRORS), None)
    if _INVALID in codes and str(error.get("message")).startswith(_USED_UP):
        known = errors.AdapterQuotaError
    return next(iter(codes), None), known


def failure_in(content: bytes, where: Where) -> errors.AdapterError | None:
    """Return the error for a failure that came with a status of success, or None where there is none."""
    error, (code, known) = _reported(content), explain_failure(content)
    if error is None:
        return None
    return failure_within(where, code, [_STATUSES.get(found, found) for found in _codes(error)], known)


def _reported(content: bytes) -> dict[str, Any] | None:
    try:
        failure = _Failure.model_validate_json(content)
    except ValidationError:
        return None
    error = failure.error if isinstance(failure.error, dict) else {}
    return error if failure.error or failure.type == "error" else None


def _codes(error: dict[str, Any]) -> list[str]:
    details = error.get("details")
    specific = details.get("error_code") if isinstance(details, dict) else None
    found = (str(code) for code in (specific, error.get("type"), error.get("code")) if isinstance(code, str | int))
    return [code for code in found if _CODE.fullmatch(code)]
