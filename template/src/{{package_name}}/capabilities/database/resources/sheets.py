"""Sheets: rows as CSV, in pieces, for programs and for spreadsheets.

Spreadsheets take a text for a formula when it begins with one of `=`, `+`, `-`, `@`, a tab or a line break, also when
that sign has its full width or stands behind blanks. An apostrophe is put before such a text, and before one that would
begin so without the apostrophes it begins with: whoever removes one apostrophe there has the text back. Every text
stands in quotation marks; a cell without them is a number, or empty because there is no value.
Source: RFC 4180; https://owasp.org/www-community/attacks/CSV_Injection.
"""

import csv
import io
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

type Cell = str | bool | int | float | None
type Rows = AsyncIterator[Sequence[Sequence[Cell]]]

_BREAKS = "\t\r\n"
_SIGNS = "=+-@"


async def as_csv(names: Sequence[str], batches: Rows) -> AsyncGenerator[bytes]:
    """Yield the names and then the rows, one piece for each batch; the names come with the first."""
    begun = _lines([names])
    async for rows in batches:
        yield begun + _lines([[_plain(cell) for cell in row] for row in rows])
        begun = b""
    yield begun


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    if not text or text[0].isalnum():
        return text
    return f"'{text}" if _begins_formula(text.lstrip("'")) else text


def _begins_formula(text: str) -> bool:
    if text[:1] in _BREAKS:
        return bool(text)
    for character in text:
        if unicodedata.category(character)[0] not in "ZC":  # separators; controls and other invisible ones
            return unicodedata.normalize("NFKC", character)[0] in _SIGNS
    return False


def _plain(cell: Cell) -> str | float | None:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return guarded(cell) if isinstance(cell, str) else cell


def _lines(rows: Sequence[Sequence[str | float | None]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_STRINGS).writerows(rows)
    return text.getvalue().encode()
