"""ETags: whether the version that a caller has seen is still the current one."""

import re
from collections.abc import Sequence

from ....chassis.contracts.errors import RequestError

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_ONE = re.compile(_TAG)
"""Source: RFC 9110, sections 5.6.1 and 8.8.3."""

type Tags = frozenset[str] | None
"""Entity tags, weak ones with their mark; None stands for `*`, which means any."""


def tags_in(headers: Sequence[str], name: str) -> Tags:
    """Return what a conditional header asks for.

    Raises:
        RequestError: `invalid_header`, if it is neither `*` nor a list of tags.
    """
    text = ", ".join(headers).strip(" \t")
    if text == "*":
        return None
    if _LIST.fullmatch(text) is None:
        message = f"{name}: expected * or entity tags in quotation marks, separated by commas."
        raise RequestError(message, code="invalid_header", location="header")
    return frozenset(_ONE.findall(text))


def if_match(headers: Sequence[str]) -> Tags:
    """Return what `If-Match` asks for.

    Raises:
        RequestError: `precondition_required` without the header, `invalid_header` if it cannot be read.
    """
    if not headers:
        message = "Expected the header If-Match with the ETag of the version that you have read, or * for any version."
        raise RequestError(message, code="precondition_required", location="header")
    return tags_in(headers, "If-Match")


def require_match(asked: Tags, etag: str) -> None:
    """Refuse to change a version that the caller has not seen; a weak tag never matches.

    Raises:
        RequestError: `precondition_failed`.
    """
    if asked is not None and etag not in asked:
        message = "The record has changed since you read it; read it again, and send its new ETag."
        raise RequestError(message, code="precondition_failed", location="header")
