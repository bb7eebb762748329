"""Export: all records that a query finds, sent while they are read.

The rows come from one transaction, a batch at a time, on either engine: memory does not grow with the collection, and
nobody else's changes show in the middle.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, override

from fastapi.responses import StreamingResponse
from sqlalchemy import Select
from starlette.types import Send

from ....chassis.contracts.errors import ServiceError
from ....chassis.web.events import pumped
from ..database import Database
from .query import Query, refuse
from .reading import Reader
from .records import Convert
from .sheets import Cell, Rows, as_csv
from .workbook import MAX_ROWS, as_workbook

BATCH_ROWS = 500
STALL_S = 60.0
"""How long a caller may take nothing; then the export ends, and its connection is free."""


@dataclass(frozen=True, slots=True)
class Format:
    """What an export can be written as."""

    media_type: str
    render: Callable[[Sequence[str], Rows], AsyncGenerator[bytes]]
    max_rows: int | None = None


FORMATS: Mapping[str, Format] = {
    "csv": Format("text/csv; charset=utf-8; header=present", as_csv),
    "xlsx": Format("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", as_workbook, MAX_ROWS),
}


def format_of(given: Mapping[str, str]) -> str:
    """Return the name of the format that is asked for.

    Raises:
        RequestError: `invalid_request`, naming those there are.
    """
    name = given.get("format", "csv")
    if name not in FORMATS:
        refuse("/format", f"expected one of {', '.join(FORMATS)}.")
    return name


class Exporter:
    """Exports one resource; shared by all requests."""

    def __init__(self, reader: Reader) -> None:
        """Take what reads the resource."""
        self._reader = reader

    async def export(self, database: Database, query: Query, name: str) -> "Download":
        """Return the answer with everything that the query finds.

        Raises:
            RequestError: if the format does not hold as many records.
            ServiceError: `overloaded`, if too many exports are on their way.
        """
        format_ = FORMATS[name]
        if format_.max_rows is not None:
            await self._require_fitting(database, query, format_.max_rows)
        headers = {"Content-Disposition": f'attachment; filename="{self._reader.resource.name}.{name}"'}
        return Download(self._pieces(database, query, format_), headers=headers, media_type=format_.media_type)

    async def _pieces(self, database: Database, query: Query, format_: Format) -> AsyncGenerator[bytes]:
        statement = self._reader.statements.all(query, database.dialect)
        cells = [self._cell(field) for field in query.fields]
        async with (
            aclosing(self._batches(database, statement, cells)) as batches,
            aclosing(format_.render(query.fields, batches)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def _require_fitting(self, database: Database, query: Query, most: int) -> None:
        async with database.reading() as connection:
            found = (await connection.execute(self._reader.statements.count(query, database.dialect))).scalar_one()
        if found > most:
            refuse("/format", f"it holds {most} records, and {found} were found; filter them, or use csv.")

    async def _batches(
        self, database: Database, statement: Select[Any], cells: Sequence[Callable[[Any], Cell]]
    ) -> AsyncGenerator[Sequence[Sequence[Cell]]]:
        if database.long_reads.locked():
            text = "Too many exports are on their way."
            raise ServiceError(text, code="overloaded", user_message=text, retryable=True, retry_after_s=10)
        async with database.long_reads, database.reading() as connection:
            found = await connection.stream(statement, execution_options={"yield_per": BATCH_ROWS})
            async for rows in found.partitions():
                yield [[cell(value) for cell, value in zip(cells, row, strict=True)] for row in rows]

    def _cell(self, name: str) -> Callable[[Any], Cell]:
        convert: Convert | None = self._reader.records.converts[name]

        def cell(value: Any) -> Cell:
            found = value if convert is None or value is None else convert(value)
            if isinstance(found, list | dict):
                return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
            return found

        return cell


class Download(StreamingResponse):
    """An answer in pieces. A failure before the first one is a problem; one after it breaks the transfer off."""

    def __init__(self, pieces: AsyncGenerator[bytes], *, headers: Mapping[str, str], media_type: str) -> None:
        """Take the pieces; they are closed at the end, however it comes."""
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._pieces = pieces

    @override
    async def stream_response(self, send: Send) -> None:
        async with aclosing(pumped(self._pieces, stall_s=STALL_S)) as pieces:
            first = await anext(pieces, b"")
            self.body_iterator = _joined(first, pieces)
            await super().stream_response(send)


async def _joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece
