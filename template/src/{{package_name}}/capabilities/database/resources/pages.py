"""Pages: which part of a collection a caller asks for, and where the next one is."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ....chassis.contracts.json import Json
from .kinds import Value
from .query import Grammar, Query, refuse
from .records import json_of
from .statements import Position

DEFAULT_SIZE = 20
MAX_SIZE = 1000
MAX_PAGE = 10_000_000
MAX_CURSOR_CHARS = 16384
MAX_LINK_CHARS = 4096
"""Longest `Link` header: proxies refuse an answer whose headers do not fit into 4 to 8 KB.

Source: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffer_size
"""

_NUMBER = re.compile(r"[0-9]{1,8}")
_CURSOR = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_CURSOR_CHARS}}}")


@dataclass(frozen=True, slots=True)
class Numbered:
    """One page by its number, from 1."""

    page: int
    size: int

    @property
    def offset(self) -> int:
        """Return how many records come before."""
        return (self.page - 1) * self.size


@dataclass(frozen=True, slots=True)
class Following:
    """The records that follow on a position; None is the beginning."""

    after: Position | None
    size: int


def asked(given: Mapping[str, str], query: Query, grammar: Grammar) -> Numbered | Following:
    """Return the part that is asked for: `after` continues a cursor, or begins when it is empty.

    Raises:
        RequestError: `invalid_request`, saying what is expected.
    """
    size = _number(given, "size", DEFAULT_SIZE, MAX_SIZE)
    if "after" not in given:
        return Numbered(_number(given, "page", 1, MAX_PAGE), size)
    if "page" in given:
        refuse("/page", "expected either page or after.")
    return Following(position(given["after"], query, grammar) if given["after"] else None, size)


def cursor(values: Iterable[Any], query: Query) -> str:
    """Return what continues a query after a record with these values in its sort columns."""
    content = json.dumps([query.digest(), *map(json_of, values)], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def position(text: str, query: Query, grammar: Grammar) -> Position:
    """Return the position that a cursor names.

    Raises:
        RequestError: if this is none, or was given out for another query.
    """
    again = "begin again with after= (empty)."
    try:
        digest, *values = _content(text)
        if digest != query.digest():
            refuse("/after", f"the cursor belongs to another sort, filter or search; {again}")
        return [_value(grammar, key.name, value) for key, value in zip(query.keys, values, strict=True)]
    except (ValueError, OverflowError, RecursionError):
        refuse("/after", f"this is no cursor that was given out here; {again}")


def links(path: str, given: Sequence[tuple[str, str]], related: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Return the `Link` header to related parts of a collection (RFC 8288); each states parameters of its own.

    They are in order of importance: what does not fit any more is left out.
    """
    text = ""
    for relation, stated in related.items():
        parameters = [*((name, value) for name, value in given if name not in stated), *stated.items()]
        link = f'<{path}?{urlencode(parameters)}>; rel="{relation}"'
        if len(text) + len(link) <= MAX_LINK_CHARS:
            text += f", {link}" if text else link
    return {"Link": text} if text else {}


def related_pages(part: Numbered, total: int) -> dict[str, dict[str, object]]:
    """Return the pages that a page leads to, the next one first."""
    last = max(1, -(-total // part.size))
    pages = {
        "next": part.page + 1 if part.page < last else None,
        "prev": min(part.page - 1, last) if part.page > 1 else None,
        "first": 1,
        "last": last,
    }
    return {relation: {"page": page, "size": part.size} for relation, page in pages.items() if page is not None}


def related_parts(part: Following, on: str | None) -> dict[str, dict[str, object]]:
    """Return what the records after a position lead to."""
    cursors = {"next": on, "first": ""}
    return {name: {"after": after, "size": part.size} for name, after in cursors.items() if after is not None}


def _number(given: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = given.get(name, str(default))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        refuse(f"/{name}", f"expected a whole number from 1 to {most}.")
    return int(text)


def _content(text: str) -> list[Json]:
    if not _CURSOR.fullmatch(text):
        raise ValueError
    content: Json = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(content, list) or not content:
        raise ValueError
    return content


def _value(grammar: Grammar, name: str, value: Json) -> Value | None:
    column, kind = grammar.sorts[name]
    return None if value is None and column.nullable else kind.of_json(value)
