"""Failures: which errors of the drivers say that the database cannot be asked, not that it was asked wrongly."""

import sqlite3

from sqlalchemy import exc

_PASSING = ("08", "28", "3D", "40", "53", "55", "57")
"""Classes of SQLSTATE: the connection, who may connect, the name of the database, conflicts, resources, locks,
an operator.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""
_FORBIDDEN = "42501"
"""The role may not do this: whoever runs the database has to allow it."""
_UNDEFINED = ("42P01", "42703")
"""A table or a column is missing: this version of the service runs before its migration."""
_MISSING = ("no such table", "no such column", "has no column named")
"""As above, in the words of SQLite."""


def unavailability(error: exc.DBAPIError | exc.TimeoutError | OSError) -> str | None:
    """Return why the database cannot be asked, without the statement and its values; None if that is not the reason."""
    if not isinstance(error, exc.DBAPIError):
        return f"{type(error).__name__}: {error}"
    reason = f"{type(error.orig).__name__}: {error.orig}"
    if _sqlstate(error) in _UNDEFINED or any(words in str(error.orig) for words in _MISSING):
        return f"{reason}; run `migrate`"
    return reason if _may_pass(error) else None


def _may_pass(error: exc.DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        # The general code stands for statements that are wrong.
        is_wrong = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        return type(error) in (exc.OperationalError, exc.DatabaseError) and not is_wrong
    dropped = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
    return dropped or _sqlstate(error)[:2] in _PASSING or _sqlstate(error) == _FORBIDDEN


def _sqlstate(error: exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")
