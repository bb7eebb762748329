"""Statements: a query as SQL, the same in effect on SQLite and PostgreSQL, but for the order of texts.

SQLite compares texts by their code points, PostgreSQL by the collation of the database: a page begins where the one
before ended on either, but capitals and accents stand elsewhere.

Records without a value in the first sort column come last in either direction, as they do in every other one. A keyset
page begins with a comparison that an index on (sort column, id) answers, so that its cost does not depend on where in
the collection it lies. Records without a value are read by a statement of their own: `IS NULL` uses the index, which
an order of nulls other than the engine's own does not.
Source: https://use-the-index-luke.com/no-offset; row values: https://www.sqlite.org/rowvalue.html, section 3.2.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, and_, false, func, literal, or_, select, tuple_, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT

from .kinds import Value
from .query import Condition, Grammar, Key, Query
from .resource import Resource

type Position = Sequence[Value | None]
"""The values of the sort columns in the last record of a page."""

_COMPARED: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True, slots=True)
class _By:
    """A column to sort by, and whether records may lack it."""

    column: Column[Any]
    descending: bool
    nullable: bool

    def order(self) -> ColumnElement[Any]:
        ordered = self.column.desc() if self.descending else self.column.asc()
        return ordered.nulls_last() if self.nullable else ordered

    def beyond(self, value: Value | None) -> ColumnElement[bool]:
        """Return what holds for records that this column alone puts after a value."""
        if value is None:
            return false()
        bound = literal(value, self.column.type)
        beyond = self.column < bound if self.descending else self.column > bound
        return or_(beyond, self.column.is_(None)) if self.nullable else beyond

    def not_before(self, value: Value | None) -> ColumnElement[bool]:
        """Return what an index can begin with."""
        bound = literal(value, self.column.type)
        return self.column <= bound if self.descending else self.column >= bound

    def same(self, value: Value | None) -> ColumnElement[bool]:
        return self.column.is_(None) if value is None else self.column == literal(value, self.column.type)


class Statements:
    """Writes the statements of one resource."""

    def __init__(self, resource: Resource, grammar: Grammar) -> None:
        """Take the resource and the columns that may be asked for."""
        self._table = resource.table.__table__
        self._grammar = grammar

    def one(self, id_: str, names: Iterable[str]) -> Select[Any]:
        """Return what selects columns of one record, deleted or not."""
        return select(*self._columns(names)).where(self._table.c.id == id_)

    def count(self, query: Query, dialect: str) -> Select[Any]:
        """Return what counts the records."""
        return select(func.count()).select_from(self._table).where(*self._where(query, dialect))

    def all(self, query: Query, dialect: str) -> Select[Any]:
        """Return what selects the fields of all records in order."""
        order = [by.order() for by in self._by(query.keys)]
        return select(*self._columns(query.fields)).where(*self._where(query, dialect)).order_by(*order)

    def page(self, query: Query, dialect: str, *, limit: int, offset: int) -> Select[Any]:
        """Return what selects the records of one page: fields, then how many records there are on all pages."""
        total = self.count(query, dialect).scalar_subquery()
        return self.all(query, dialect).add_columns(total).limit(limit).offset(offset)

    def following(self, query: Query, dialect: str, after: Position | None, limit: int) -> Iterator[Select[Any]]:
        """Yield what selects the records after a position, or the first ones for None: see `names_of`.

        Each statement continues where the one before found fewer than the limit.
        """
        first, *others = self._by(query.keys)
        present = (_By(first.column, first.descending, nullable=False), *others)
        found = select(*self._columns(names_of(query))).where(*self._where(query, dialect))
        found = found.order_by(*(by.order() for by in present)).limit(limit)
        if after is None or after[0] is not None:
            has_value = [first.column.is_not(None)] if first.nullable else []
            yield found.where(*has_value, *([] if after is None else [_after(present, after)]))
        if first.nullable:
            # The column stands in the order although it has no value: PostgreSQL would not take the index otherwise.
            reached = after is not None and after[0] is None
            yield found.where(first.column.is_(None), *([_after(others, after[1:])] if after and reached else []))

    def _columns(self, names: Iterable[str]) -> list[ColumnElement[Any]]:
        return [self._table.c[name] for name in names]

    def _by(self, keys: Iterable[Key]) -> list[_By]:
        columns = ((self._grammar.sorts[key.name][0], key.descending) for key in keys)
        return [_By(column, descending, bool(column.nullable)) for column, descending in columns]

    def _where(self, query: Query, dialect: str) -> Iterator[ColumnElement[bool]]:
        if not query.include_deleted:
            yield self._table.c.deleted_at.is_(None)
        for condition in query.conditions:
            yield self._condition(condition, dialect)
        for word in query.words:
            yield or_(*(_contains(self._table.c[name], word, dialect) for name in self._grammar.search))

    def _condition(self, condition: Condition, dialect: str) -> ColumnElement[bool]:
        column, kind = self._grammar.filters[condition.name]
        match condition:
            case Condition(operator="in", values=()):
                return column.is_(None)
            case Condition(operator="in", values=values) if kind.listed:
                return _holds(column, values, dialect)
            case Condition(operator="in", values=(value,)):
                return column == literal(value, column.type)
            case Condition(operator="in", values=values):
                return column.in_(values)
            case _:
                return _COMPARED[condition.operator](column, literal(condition.values[0], column.type))


def names_of(query: Query) -> tuple[str, ...]:
    """Return the columns that a keyset page consists of: the fields, then what else the next page is found by."""
    return tuple(dict.fromkeys((*query.fields, *(key.name for key in query.keys))))


def _after(keys: Sequence[_By], values: Position) -> ColumnElement[bool]:
    """Return what holds for records that the keys put after the values."""
    if not any(by.nullable for by in keys) and len({by.descending for by in keys}) == 1:
        columns = tuple_(*(by.column for by in keys))
        bounds = tuple_(*(literal(value, by.column.type) for by, value in zip(keys, values, strict=True)))
        return columns < bounds if keys[0].descending else columns > bounds
    ways = []
    for place, (by, value) in enumerate(zip(keys, values, strict=True)):
        equal = [before.same(held) for before, held in zip(keys[:place], values, strict=False)]
        ways.append(and_(*equal, by.beyond(value)))
    return or_(*ways) if keys[0].nullable else and_(keys[0].not_before(values[0]), or_(*ways))


def _contains(column: ColumnElement[Any], word: str, dialect: str) -> ColumnElement[bool]:
    """Return what holds for texts with a word in them, whatever the case of its letters."""
    pattern = f"%{word.replace('\\', r'\\').replace('%', r'\%').replace('_', r'\_')}%"
    if dialect == "postgresql":
        return column.ilike(pattern, escape="\\")
    if word.isascii():
        return column.like(pattern, escape="\\")  # knows the case of ASCII letters, and only of those
    return func.unicode_lower(column).like(pattern.lower(), escape="\\")


def _holds(column: Column[Any], values: Sequence[Value], dialect: str) -> ColumnElement[bool]:
    """Return what holds for lists with one of the values in them."""
    if dialect == "postgresql":
        held: ColumnElement[bool] = type_coerce(column, JSONB).has_any(type_coerce(list(values), ARRAY(TEXT)))
        return held
    members = func.json_each(column).table_valued("value")
    return select(1).select_from(members).where(members.c.value.in_(values)).exists()
