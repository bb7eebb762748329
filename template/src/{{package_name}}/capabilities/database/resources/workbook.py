"""Workbook: rows as an Excel file, written as they come; nothing of it is kept.

Texts stand in their cells as texts, which Excel never takes for formulas. Numbers that it would round are texts, too.
Source: ECMA-376, part 1, sections 18.2 and 18.3; Microsoft, "Excel specifications and limits".
"""

import io
import re
import zipfile
from collections.abc import AsyncGenerator, Buffer, Sequence
from typing import Final, override
from xml.sax.saxutils import escape

from ....chassis.contracts.errors import ServiceError
from .sheets import Cell, Rows

MAX_ROWS: Final = 1_048_575
"""Most records in a file; the names of the fields take a row."""
MAX_CELL_CHARS: Final = 32_767
"""Longest text of a cell, in units of UTF-16; the rest is cut off."""

MAX_SHEET_BYTES: Final = 2**31 - 2**16
"""Longest sheet, before it is compressed: a longer one needs ZIP64, which not every Office reads in a file that is
written in one go."""

_EXACT = 10**15
"""Whole numbers from here on have more digits than Excel keeps."""
_LEVEL = 3
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
_UNWRITABLE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""What XML cannot hold, and what would be read as the escape for it (section 22.9.2.19)."""


class _Pieces(io.RawIOBase):
    """A file that is taken away while it is written; it cannot be read or sought in."""

    def __init__(self) -> None:
        self._written = bytearray()

    @override
    def write(self, content: Buffer, /) -> int:
        before = len(self._written)
        self._written += memoryview(content)
        return len(self._written) - before

    def taken(self) -> bytes:
        content = bytes(self._written)
        self._written.clear()
        return content


async def as_workbook(names: Sequence[str], batches: Rows) -> AsyncGenerator[bytes]:
    """Yield a file with one sheet: the names, then the rows, one piece for each batch.

    Raises:
        ServiceError: as soon as the sheet gets too long.
    """
    pieces, written = _Pieces(), 0
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as file:
        for name, content in _PARTS.items():
            file.writestr(name, _XML + content)
        with file.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(f'{_XML}<worksheet xmlns="{_MAIN}"><sheetData>{_row(names)}'.encode())
            async for rows in batches:
                written += sheet.write("".join(map(_row, rows)).encode())
                if written > MAX_SHEET_BYTES:
                    raise ServiceError(f"a sheet has more than {MAX_SHEET_BYTES} bytes; filter the records, or use csv")
                yield pieces.taken()
            sheet.write(b"</sheetData></worksheet>")
    yield pieces.taken()


def _row(cells: Sequence[Cell]) -> str:
    return f"<row>{''.join(map(_cell, cells))}</row>"


def _cell(cell: Cell) -> str:
    if cell is None:
        return "<c/>"
    if isinstance(cell, bool):
        return f'<c t="b"><v>{cell:d}</v></c>'
    if isinstance(cell, float) or (isinstance(cell, int) and abs(cell) < _EXACT):
        return f"<c><v>{cell!r}</v></c>"
    text = _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", _cut(str(cell)))
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


def _cut(text: str) -> str:
    if len(text) <= MAX_CELL_CHARS // 2:
        return text
    return text.encode("utf-16-le")[: MAX_CELL_CHARS * 2].decode("utf-16-le", "ignore")
