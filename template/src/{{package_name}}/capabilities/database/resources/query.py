"""Query: what a caller asks of a collection, read from the parameters of a request and checked."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from sqlalchemy import Column, String

from ....chassis.contracts.errors import RequestError
from ....chassis.contracts.json import Json
from ....chassis.contracts.providers import MAX_SHOWN_CHARS, did_you_mean
from .kinds import MAX_VALUE_CHARS, Kind, Value, is_storable, kind_of
from .records import Records
from .resource import Resource

MAX_FILTER_CHARS = 4096
MAX_FILTER_VALUES = 100
MAX_SEARCH_CHARS = 200
MAX_SEARCH_WORDS = 10

type Operator = Literal["in", "gt", "gte", "lt", "lte"]
RANGES: Mapping[str, Operator] = {"gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}


@dataclass(frozen=True, slots=True)
class Condition:
    """What the value of one column has to be: one of the values, or beyond the only one; none of them means absent."""

    name: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One column to sort by."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A question to a collection. `keys` end with the id, which makes every order a definite one."""

    keys: tuple[Key, ...]
    fields: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    words: tuple[str, ...] = ()
    include_deleted: bool = False

    def digest(self) -> str:
        """Return what tells two questions apart whose pages do not follow on each other."""
        told = (self.keys, self.conditions, self.words, self.include_deleted)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


class Grammar:
    """What may be asked of one resource."""

    def __init__(self, resource: Resource, records: Records) -> None:
        """Look up the columns that the resource names.

        Raises:
            TypeError: for a column that cannot be asked for.
        """
        self._records = records
        self.filters = {name: _asked(resource, name) for name in resource.filters}
        self.sorts = {name: _asked(resource, name) for name in (*resource.sorts, "id")}
        for name, (column, kind) in self.sorts.items():
            length = column.type.length if isinstance(column.type, String) else 0
            if kind.of_text is None or length is None or length > MAX_VALUE_CHARS:
                message = f"{resource.name}: {name!r} has no order, or is longer than {MAX_VALUE_CHARS} characters"
                raise TypeError(message)
        self.ranges = {
            f"{name}[{operator}]": (name, operator, kind.of_text, kind)
            for name, (_, kind) in self.filters.items()
            if kind.of_text is not None
            for operator in RANGES.values()
        }
        self.search = tuple(resource.search)

    def query(self, given: Mapping[str, str]) -> Query:
        """Return what the parameters ask for; those of other names are not looked at.

        Raises:
            RequestError: `unknown_field` or `invalid_request`, naming what is allowed.
        """
        conditions = [*self._filtered(given.get("filter")), *self._ranged(given)]
        return Query(
            keys=self._sorted(given.get("sort")),
            fields=self._chosen(given.get("fields")),
            conditions=tuple(sorted(conditions, key=lambda condition: (condition.name, condition.operator))),
            words=_words(given.get("search", "")),
            include_deleted=truth(given, "include_deleted"),
        )

    def _filtered(self, text: str | None) -> list[Condition]:
        if text is None:
            return []
        return [self._condition(name, value) for name, value in _object(text).items()]

    def _condition(self, name: str, value: Json) -> Condition:
        if name not in self.filters:
            refuse_name("/filter", name, self.filters)
        column, kind = self.filters[name]
        if value is None and column.nullable:
            return Condition(name, "in", ())
        values = value if isinstance(value, list) else [value]
        if not 1 <= len(values) <= MAX_FILTER_VALUES:
            refuse(f"/filter/{name}", f"expected 1 to {MAX_FILTER_VALUES} values.")
        try:
            return Condition(name, "in", tuple(dict.fromkeys(kind.of_json(item) for item in values)))
        except (ValueError, OverflowError):
            absent = ", or null" if column.nullable else ""
            refuse(f"/filter/{name}", f"expected {kind.expected}, a list of such values{absent}.")

    def _ranged(self, given: Mapping[str, str]) -> list[Condition]:
        found = []
        for parameter in given.keys() & self.ranges.keys():
            name, operator, of_text, kind = self.ranges[parameter]
            try:
                found.append(Condition(name, operator, (of_text(given[parameter]),)))
            except (ValueError, OverflowError):
                refuse(f"/{parameter}", f"expected {kind.expected}.")
        return found

    def _sorted(self, text: str | None) -> tuple[Key, ...]:
        keys: dict[str, Key] = {}
        for term in [] if text is None else text.split(","):
            # An unescaped plus reads as a space.
            name = term.removeprefix("-") if term.startswith("-") else term.lstrip("+ ")
            if name not in self.sorts:
                refuse_name("/sort", name, self.sorts)
            if name in keys:
                refuse("/sort", f"expected {name} once.")
            keys[name] = Key(name, descending=term.startswith("-"))
        # The id goes the way of the column before it, so that one index serves both directions.
        last = next(reversed(keys.values()), Key("id"))
        keys.setdefault("id", Key("id", last.descending))
        return tuple(keys.values())[: list(keys).index("id") + 1]

    def _chosen(self, text: str | None) -> tuple[str, ...]:
        if text is None:
            return self._records.names
        chosen = text.split(",")
        for name in chosen:
            if name not in self._records.converts:
                refuse_name("/fields", name, self._records.names)
        return tuple(name for name in self._records.names if name in chosen)


def truth(given: Mapping[str, str], name: str) -> bool:
    """Return a parameter that is true or false; it is false when it is missing.

    Raises:
        RequestError: for any other text.
    """
    text = given.get(name, "false")
    if text not in ("true", "false"):
        refuse(f"/{name}", "expected true or false.")
    return text == "true"


def refuse(pointer: str, message: str) -> NoReturn:
    """Refuse the value of a parameter.

    Raises:
        RequestError: always; `invalid_request`.
    """
    raise RequestError(f"{pointer[1:]}: {message}", pointer=pointer, location="query")


def refuse_name(pointer: str, name: str, known: Mapping[str, Any] | Sequence[str]) -> NoReturn:
    """Refuse the name of a field.

    Raises:
        RequestError: always; `unknown_field`, naming those that are known.
    """
    shown = name[:MAX_SHOWN_CHARS]
    message = f"{pointer[1:]}: no field {shown!r} can be asked for.{did_you_mean(shown, known)}"
    message += f" Known: {', '.join(known) or 'none'}."
    escaped = shown.replace("~", "~0").replace("/", "~1")
    raise RequestError(message, code="unknown_field", pointer=f"{pointer}/{escaped}", location="query")


def _asked(resource: Resource, name: str) -> tuple[Column[Any], Kind]:
    column = resource.table.__table__.columns.get(name)
    if not isinstance(column, Column):
        message = f"{resource.name}: {resource.table.__name__} has no column {name!r}"
        raise TypeError(message)
    return column, kind_of(column)


def _object(text: str) -> dict[str, Json]:
    expected = 'expected a JSON object such as {"name": "value"}, each name once'
    if len(text) > MAX_FILTER_CHARS:
        refuse("/filter", f"expected at most {MAX_FILTER_CHARS} characters.")
    try:
        value: Json = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        refuse("/filter", f"{expected}.")
    if not isinstance(value, dict):
        refuse("/filter", f"{expected}.")
    return value


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _words(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.split()))
    if len(text) > MAX_SEARCH_CHARS or len(words) > MAX_SEARCH_WORDS or not is_storable(text):
        expected = f"expected at most {MAX_SEARCH_WORDS} words and {MAX_SEARCH_CHARS} characters, none of them NUL"
        refuse("/search", f"{expected}.")
    return words
