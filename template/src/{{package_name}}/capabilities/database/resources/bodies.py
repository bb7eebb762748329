"""Bodies: from the bytes of a request to checked values; text that no database could keep is refused."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ....chassis.web.problems import ValidationProblem, validation_problem
from .kinds import is_storable

_NUL = b"\\u0000"
_MAX_TEXTS = 20
"""Texts that are named at most."""


def read_body[M: BaseModel](model: type[M], raw: bytes) -> M:
    """Return a checked body.

    Raises:
        ValidationProblem: naming every field that is wrong.
    """
    if _NUL in raw:
        _refuse_texts(raw)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            _refuse_texts(raw)
        raise validation_problem(error) from None


class _Patch(BaseModel, extra="allow"):
    """Any JSON object."""


def read_patch(raw: bytes) -> dict[str, Any]:
    """Return a merge patch.

    Raises:
        ValidationProblem: if it is no JSON object, or has text that cannot be kept.
    """
    return read_body(_Patch, raw).model_extra or {}


def merged(document: Any, patch: Any) -> Any:
    """Return a document with a merge patch applied: null removes, objects are merged, all else replaces.

    Source: RFC 7396, section 2.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def checked[M: BaseModel](model: type[M], document: object) -> M:
    """Return plain JSON values as a checked body, by the rules of `read_body`.

    Raises:
        ValidationError: if they are none.
    """
    return model.model_validate_json(to_json(document, inf_nan_mode="constants"))


def _refuse_texts(raw: bytes) -> None:
    """Refuse NUL, which PostgreSQL cannot keep, and halves of surrogate pairs, which are no characters.

    What cannot be read at all is left to others.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return
    message = "Expected text without the character NUL and without halves of surrogate pairs."
    pointers = islice(_unkept(document, ""), _MAX_TEXTS)
    errors = [{"in": "body", "pointer": p, "code": "invalid_request", "message": message} for p in pointers]
    if errors:
        raise ValidationProblem(errors)


def _unkept(value: object, pointer: str) -> Iterator[str]:
    """Yield the pointers of texts that cannot be kept; the name of a field counts as a text of its object."""
    match value:
        case str() if not is_storable(value):
            yield pointer
        case list():
            for index, item in enumerate(value):
                yield from _unkept(item, f"{pointer}/{index}")
        case dict():
            for name, item in value.items():
                yield from _unkept(name, pointer)
                yield from _unkept(item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        case _:
            pass
