"""Refusals: what the tables have against a change, in words that callers may read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Index, Table, exc
from sqlalchemy.schema import ColumnCollectionConstraint

from ....chassis.contracts.errors import RequestError
from ....chassis.web.problems import ValidationProblem

_SQLITE = re.compile(r"[A-Z ]+ constraint failed: (.+)")


def not_found() -> RequestError:
    """Return the answer about a record that does not exist, or is hidden."""
    return RequestError("No record has this id.", code="not_found", location="path", pointer="/id")


@contextmanager
def refusals(table: Table) -> Iterator[None]:
    """Turn what the tables refuse into problems.

    Raises:
        ValidationProblem: `conflict` or `invalid_request`, naming the fields where the engine does.
    """
    try:
        yield
    except FAILED as error:
        found = refused(error, table)
        if not found:
            raise
        raise ValidationProblem(found) from error


FAILED = (exc.StatementError, OverflowError)
"""What a change may end in that the tables do not allow."""

_DATA = "22"
"""Class of SQLSTATE: values that do not fit. The drivers raise no class of their own for it.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


def refused(error: Exception, table: Table, above: str = "") -> list[dict[str, str]]:
    """Return what the tables have against a change, one entry for each field; nothing if they are not the reason.

    `above` is the pointer of the body.
    """
    names: tuple[str, ...] = ()
    if isinstance(error, exc.IntegrityError):
        code, message = "conflict", "The record contradicts another one, or lacks one that it refers to."
        names = violated(error, table)
    elif isinstance(error, OverflowError) or _sqlstate(error)[:2] == _DATA:
        code, message = "invalid_request", "A value does not fit into its column: it is too large or too long."
    elif isinstance(getattr(error, "orig", None), ValueError):
        code, message = "invalid_request", "A value cannot be stored: JSON knows neither infinity nor NaN."
    else:
        return []
    pointers = [f"{above}/{name}" for name in names] or [above]
    return [{"in": "body", "pointer": pointer, "code": code, "message": message} for pointer in pointers]


def violated(error: exc.IntegrityError, table: Table) -> tuple[str, ...]:
    """Return the columns of the violated constraint; none where the engine does not name it."""
    reported = getattr(error.orig, "__cause__", None)  # the driver's own error, where the dialect wraps it
    column, name = getattr(reported, "column_name", None), getattr(reported, "constraint_name", None)
    if column is not None:
        return (column,)
    said = _SQLITE.fullmatch(str(error.orig))
    if said is not None:
        columns = tuple(part.removeprefix(f"{table.name}.") for part in said[1].split(", "))
        if all(column in table.columns for column in columns):
            return columns
        name = said[1].removeprefix("index ").strip("'")
    rules: list[ColumnCollectionConstraint | Index] = [
        rule for rule in (*table.constraints, *table.indexes) if isinstance(rule, ColumnCollectionConstraint | Index)
    ]
    return next((tuple(rule.columns.keys()) for rule in rules if rule.name == name), ())


def _sqlstate(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None))
