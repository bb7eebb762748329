"""Sheets: what a text looks like in a cell, so that it stays a text."""

import csv
import io
import random
import zipfile
from collections.abc import AsyncIterator, Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.capabilities.database.resources.sheets import Cell, as_csv, guarded
from object_service.capabilities.database.resources.workbook import MAX_CELL_CHARS, as_workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("'=+-@\t\r\n \ufeff\uff1d\uff0da", max_size=6)


async def batch(*rows: Sequence[Cell]) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """Yield rows as one batch."""
    yield rows


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\tx", " =1"),
        *("\u00a0=1", "\u200b=1", "\ufeff=1", "\x01=1", "'=1", "''-1"),
        *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\ufe661", "\u207a1"),
    ],
    ids=ascii,
)
def test_what_a_spreadsheet_would_calculate_gets_an_apostrophe(text: str) -> None:
    """Signs at the beginning, in any width, behind anything invisible."""
    assert f"'{text}" == guarded(text)


@pytest.mark.parametrize("text", ["", "a", "1-1", "a=1", "'", "'a", "#=1", "ä-", " a", " ", "(-1)", "🎵"], ids=ascii)
def test_other_texts_stay_as_they_are(text: str) -> None:
    """Nobody finds apostrophes where there is no danger."""
    assert text == guarded(text)


@given(first=TEXTS, second=TEXTS)
def test_no_two_texts_look_the_same(first: str, second: str) -> None:
    """Who removes the apostrophe has the text back."""
    assert (first == second) == (guarded(first) == guarded(second))
    assert guarded(first)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0d")


@given(rows=st.lists(st.tuples(TEXTS, TEXTS, st.none() | st.integers()), max_size=5))
async def test_any_text_comes_back_from_a_csv(rows: list[tuple[str, str, int | None]]) -> None:
    """Quotation marks, commas and line breaks are part of a text; an empty text is not a missing one."""
    content = b"".join([piece async for piece in as_csv(("a", "b", "c"), batch(*rows))]).decode()
    expected = [
        [guarded(first), guarded(second), "" if number is None else str(number)] for first, second, number in rows
    ]
    assert [["a", "b", "c"], *expected] == list(csv.reader(io.StringIO(content, newline="")))


@given(texts=st.lists(TEXTS, min_size=1, max_size=3))
async def test_any_text_comes_back_from_a_workbook(texts: list[str]) -> None:
    """What XML cannot hold is escaped, and so is what looks like the escape."""
    assert texts == await written(*texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\x00\x1f", "a_x0000__x001F_", id="control-characters"),
        pytest.param("_x0041_", "_x005F_x0041_", id="looks-like-an-escape"),
        pytest.param("_x41_", "_x41_", id="is-none"),
        pytest.param("\uffff", "_xFFFF_", id="no-character"),
        pytest.param(" a ", " a ", id="blanks"),
        pytest.param("<&>", "<&>", id="marks-of-xml"),
        pytest.param("a" * 40_000, "a" * MAX_CELL_CHARS, id="longer-than-a-cell"),
        pytest.param("a" + "🎵" * 20_000, "a" + "🎵" * 16_383, id="cut-between-characters"),
        pytest.param("a" * 32_766 + "🎵", "a" * 32_766, id="cut-before-half-a-character"),
    ],
)
async def test_a_cell_has_what_excel_reads(text: str, expected: str) -> None:
    """Texts are escaped as Excel does, and end where its cells end."""
    assert [expected] == await written(text, raw=True)


async def test_a_workbook_comes_in_pieces() -> None:
    """Nothing waits for the end of the file."""
    chance = random.Random(0)  # noqa: S311 - nothing secret
    texts = [[[chance.randbytes(15_000).hex()] for _ in range(9)] for _ in range(3)]

    async def batches() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        for rows in texts:
            yield rows

    sizes = [len(piece) async for piece in as_workbook(("a",), batches())]
    assert [True, True, True] == [size > 50_000 for size in sizes[:3]]


async def written(*texts: str, raw: bool = False) -> list[str]:
    """Return the texts of a workbook's cells, as Excel reads them or as they are written."""
    content = b"".join([piece async for piece in as_workbook(("a",), batch(texts))])
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        root = ET.fromstring(file.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - made here
    found = [cell.text or "" for cell in root.iter(f"{MAIN}t")][1:]
    return found if raw else [_unescaped(text) for text in found]


def _unescaped(text: str) -> str:
    head, *parts = text.split("_x")
    for part in parts:
        code, closed, rest = part[:4], part[4:5], part[5:]
        is_code = closed == "_" and all(digit in "0123456789abcdefABCDEF" for digit in code)
        head += chr(int(code, 16)) + rest if is_code else f"_x{part}"
    return head
