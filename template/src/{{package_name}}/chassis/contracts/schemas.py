"""Schemas: what callers ask of the form of an answer, and whether a text has it."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Never, Protocol

from .json import Json

MAX_DEPTH = 100
"""Deepest nesting of a value that is taken from a text."""

type Follows = Callable[[Json], bool]
"""Tells whether a value follows one schema."""


class SchemaLanguage(Protocol):
    """A language in which schemas are written."""

    def compiled(self, schema: Mapping[str, Json]) -> Follows:
        """Return a function that tells whether a value follows a schema.

        Raises:
            ValueError: if the schema is invalid, too large, or leads to anything outside itself; safe to show.
        """
        ...


def parsed(text: str, follows: Follows) -> Json:
    """Return the JSON that a text stands for.

    Raises:
        ValueError: if it stands for none, or does not follow the schema; the text is never quoted.

    >>> parsed("[1, 2]", lambda value: isinstance(value, list))
    [1, 2]
    """
    try:
        value: Json = json.loads(text, parse_float=_number, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("the text is no JSON") from None
    if not (_flat(value) and follows(value)):
        raise ValueError("the text does not follow its schema")
    return value


def _flat(value: Json) -> bool:
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [item for items in inner for item in items]
        if not level:
            return True
    return False


def _number(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def _no_number(name: str) -> Never:
    raise ValueError(name)
