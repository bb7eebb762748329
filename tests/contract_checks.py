"""What schemathesis loads: statuses that are right although it expects others, each with its reason."""

import re
import uuid
from typing import Any, NamedTuple

import schemathesis

_KEY = re.compile("[!-~]{1,255}")


class Adjusted(NamedTuple):
    """A status that one of its checks has to accept, the codes with which alone that is right, and why.

    `detail` is a part of the words with which alone it is right.
    """

    check: str
    status: int
    codes: frozenset[str]
    reason: str
    detail: str = ""


def _undescribed(reason: str, detail: str) -> Adjusted:
    """Return what is refused although no schema says so."""
    return Adjusted("positive_data_acceptance", 422, frozenset({"invalid_request"}), reason, detail)


ADJUSTED = (
    Adjusted(
        "not_a_server_error",
        504,
        frozenset({"deadline_exceeded"}),
        "X-Request-Timeout of 5e-324 s is valid, and over at once",
    ),
    Adjusted(
        "not_a_server_error",
        502,
        frozenset({"provider_error"}),
        "the offline provider repeats the prompt, which follows no response schema",
    ),
    Adjusted(
        "missing_required_header",
        428,
        frozenset({"precondition_required"}),
        "RFC 6585, section 3, has this status for a missing If-Match",
    ),
    Adjusted(
        "positive_data_acceptance",
        412,
        frozenset({"precondition_failed"}),
        "an ETag that was made up is valid, and that of no version",
    ),
    Adjusted(
        "positive_data_acceptance",
        422,
        frozenset({"unknown_provider", "unreadable_audio", "unsupported_source"}),
        "providers are those of the settings, and bytes that were made up are no recording",
    ),
    _undescribed(
        "1.0 is an integer to JSON Schema; here it is a number, of which no part is dropped", "Expected integer"
    ),
    _undescribed(
        "PostgreSQL keeps no NUL, and a pattern for it would stand at every text", "without the character NUL"
    ),
    _undescribed("a page has a number or follows on a cursor", "either page or after"),
    _undescribed("a cursor that was made up is none, and belongs to one question", "after: "),
    _undescribed("a column is sorted by once, which a pattern cannot say", " once."),
)
"""The only answers that are accepted beside those that schemathesis itself accepts."""

EXPECTED = {
    "not_a_server_error": ("2XX", "3XX", "4XX"),
    "missing_required_header": (400, 401, 403, 406, 415, 422),
    "positive_data_acceptance": ("2XX", "3XX", 401, 403, 404, 409, 429, "5XX"),
}
"""What schemathesis accepts by itself; its settings replace these."""


def settings() -> str:
    """Return the settings of a run."""
    lines = []
    for check, statuses in EXPECTED.items():
        more = [adjusted.status for adjusted in ADJUSTED if adjusted.check == check]
        lines.append(f"[checks.{check}]\nexpected-statuses = {[str(status) for status in (*statuses, *more)]}")
    return "\n\n".join(lines) + "\n"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out headers that nobody knows: HTTP has them ignored (RFC 9110, section 5.1), so none is refused."""
    del context
    return not any(name.lower().startswith("x-schemathesis-unknown") for name in case.headers or {})


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Take a new key for each request: two that have the same one are a fault of the caller."""
    del context, kwargs
    if _KEY.fullmatch(str((case.headers or {}).get("Idempotency-Key", ""))):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex


@schemathesis.check
def has_its_reason(context: Any, response: Any, case: Any) -> None:
    """Fail for a status of the table with any other code."""
    del context
    found = [one for one in ADJUSTED if one.status == response.status_code]
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if found and (positive or found[0].check != "positive_data_acceptance"):
        problem = response.json()
        right = any(problem["code"] in one.codes and one.detail in problem["detail"] for one in found)
        assert right, f"{response.status_code} {problem['code']} has no reason"
