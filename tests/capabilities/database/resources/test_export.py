"""Export: everything that is found, as a file, and what is left when nobody wants it any more."""

import asyncio
import csv
import io
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import text

from capabilities.database.resources.songs import URL, Service, serving, some_songs, song
from object_service.capabilities.database.resources import export, workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
TOLD = {
    "title": "=1+1",
    "singer": 'a,"b"\nc',
    "is_active": True,
    "duration_s": -1.5,
    "plays": -3,
    "listeners": 2**60,
    "released": date(2025, 1, 31),
    "tags": ["=x", "ä"],
}
AT_ONCE = 2
"""Exports that run beside each other with the usual number of connections."""
FIELDS = "title,singer,language,is_active,duration_s,plays,listeners,released,tags,created_at"


async def exported(service: Service, **given: Any) -> bytes:
    """Return the content of an export."""
    answer = await service.get("/$export", **given)
    assert answer.status_code == 200, answer.text
    return answer.content


async def test_a_csv_has_what_a_list_has(database_url: str) -> None:
    """Texts stand in quotation marks, numbers as they are; what is missing is empty, what would be a formula is not."""
    async with serving(database_url, [song(1, **TOLD)]) as service:
        answer = await service.get("/$export", fields=FIELDS)
    names = ",".join(f'"{name}"' for name in FIELDS.split(","))
    row = '"\'=1+1","a,""b""\nc",,"true",-1.5,-3,1152921504606846976,"2025-01-31","[""=x"",""ä""]"'
    assert f'{names}\r\n{row},"2025-01-01T12:00:00.000000Z"\r\n' == answer.text
    assert "text/csv; charset=utf-8; header=present" == answer.headers["content-type"]
    assert 'attachment; filename="songs.csv"' == answer.headers["content-disposition"]


@pytest.mark.parametrize("count", [0, 1, export.BATCH_ROWS, export.BATCH_ROWS + 1])
async def test_an_export_has_every_record(database_url: str, count: int) -> None:
    """Whether they fill one batch, or more, or none."""
    async with serving(database_url, [song(number) for number in range(count)]) as service:
        rows = list(csv.DictReader(io.StringIO((await exported(service, sort="-id")).decode())))
    assert [f"son_{number:06}" for number in reversed(range(count))] == [row["id"] for row in rows]


async def test_an_export_answers_the_same_questions_as_a_list(database_url: str) -> None:
    """Filters, ranges, order, fields and deleted records."""
    told: dict[str, Any] = {"filter": '{"language": ["en", "de"]}', "plays__gte": "0", "sort": "-duration_s"}
    async with serving(database_url, some_songs(1)) as service:
        for more in ({}, {"include_deleted": "true"}, {"search": "ALICE"}):
            rows = csv.DictReader(io.StringIO((await exported(service, fields="id", **told, **more)).decode()))
            assert await service.ids(size=1000, **told, **more) == [int(row["id"][4:]) for row in rows]


async def test_a_workbook_has_texts_that_are_no_formulas(database_url: str) -> None:
    """Excel gets numbers as numbers, as long as it keeps all their digits, and everything else as it is."""
    async with serving(database_url, [song(1, **TOLD)]) as service:
        answer = await service.get("/$export", format="xlsx", fields=FIELDS)
    names, row = sheet_of(answer.content)
    texts = ["=1+1", 'a,"b"\nc', None, True, -1.5, -3, str(2**60), "2025-01-31", '["=x","ä"]']
    assert (FIELDS.split(","), [*texts, "2025-01-01T12:00:00.000000Z"]) == (names, row)
    assert 'attachment; filename="songs.xlsx"' == answer.headers["content-disposition"]


def sheet_of(content: bytes) -> list[list[Any]]:
    """Return the cells of a workbook."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.testzip() is None
        for name in file.namelist():
            ET.fromstring(file.read(name))  # noqa: S314 - made here
        root = ET.fromstring(file.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - as above
    return [[_cell(cell) for cell in row] for row in root.iter(f"{MAIN}row")]


def _cell(cell: ET.Element) -> Any:
    value = cell.find(f"{MAIN}v")
    if value is not None:
        assert value.text is not None
        return value.text == "1" if cell.get("t") == "b" else float(value.text)
    found = cell.find(f"{MAIN}is/{MAIN}t")
    return None if found is None else found.text or ""


async def test_a_workbook_refuses_more_than_it_holds(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cut off in silence; CSV has no such limit."""
    short = export.Format(export.FORMATS["xlsx"].media_type, workbook.as_workbook, max_rows=2)
    monkeypatch.setattr(export, "FORMATS", {**export.FORMATS, "xlsx": short})
    async with serving(database_url, [song(number, plays=number) for number in range(3)]) as service:
        refused = await service.refused("/$export", format="xlsx")
        assert ("invalid_request", "/format") == (refused["code"], refused["errors"][0]["pointer"])
        assert "it holds 2 records, and 3 were found" in refused["detail"]
        assert 3 == len(sheet_of(await exported(service, format="xlsx", plays__gt=0)))


async def test_a_workbook_ends_before_it_is_too_large(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transfer breaks off as soon as that is known, and the log says what to do."""
    monkeypatch.setattr(workbook, "MAX_SHEET_BYTES", 300_000)
    async with serving(
        database_url, [song(number, title="a" * 200, plays=number) for number in range(1500)]
    ) as service:
        assert 501 == len(sheet_of(await exported(service, format="xlsx", fields="title", plays__lt="500")))
        with pytest.raises(RuntimeError) as caught:
            await service.get("/$export", format="xlsx", fields="title")
    assert "a sheet has more than 300000 bytes; filter the records, or use csv" == str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param({"format": "pdf"}, "invalid_request", id="format"),
        pytest.param({"page": "1"}, "unknown_parameter", id="page"),
        pytest.param({"after": ""}, "unknown_parameter", id="cursor"),
        pytest.param({"fields": "secret"}, "unknown_field", id="field"),
        pytest.param({"filter": "{"}, "invalid_request", id="filter"),
    ],
)
async def test_what_cannot_be_exported_is_refused(database_url: str, given: dict[str, str], code: str) -> None:
    """A refusal comes in place of the file, not in it."""
    async with serving(database_url) as service:
        assert code == (await service.refused("/$export", **given))["code"]


async def test_a_failure_before_the_first_row_is_a_problem(database_url: str) -> None:
    """Nothing has been sent by then."""
    async with serving(database_url) as service:
        async with service.database.writing() as connection:
            await connection.execute(text("DROP TABLE songs"))
        answer = await service.get("/$export")
    assert (503, "storage_unavailable") == (answer.status_code, answer.json()["code"])
    assert "content-disposition" not in answer.headers


class Caller:
    """A caller of the application who takes some pieces, or all, and then leaves or does nothing more."""

    def __init__(self, service: Service, pieces: int | None = None, *, stays: bool = False) -> None:
        """Say how much it takes; nothing of it is kept."""
        self.taken = 0
        self._app = service.app
        self._pieces = pieces
        self._stays = stays
        self._full = asyncio.Event()
        self._asked = False

    async def ask(self, query: str = "") -> None:
        """Ask for an export."""
        path = f"{URL}/$export"
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
        }
        scope |= {"method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode()}
        scope |= {"scheme": "http", "root_path": "", "server": ("service.test", 80), "headers": []}
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._full.wait()
        if self._stays:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.taken += message["type"] == "http.response.body"
        if self._pieces is not None and self.taken > self._pieces:
            self._full.set()
            await asyncio.Event().wait()


async def in_use(service: Service, connections: int) -> None:
    """Wait until that many connections are in use."""
    pool: Any = service.database.engine.sync_engine.pool
    async with asyncio.timeout(10):
        while pool.checkedout() != connections:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def many_songs(url: str) -> AsyncIterator[Service]:
    """Serve more songs than the pieces on their way can hold."""
    async with serving(url, [song(number, title="a" * 200) for number in range(export.BATCH_ROWS * 8)]) as service:
        yield service


async def test_a_caller_who_leaves_ends_the_query(database_url: str) -> None:
    """Its connection is free for others, and so is its place among the exports."""
    async with many_songs(database_url) as service:
        for _ in range(AT_ONCE + 1):
            caller = Caller(service, 2)
            await asyncio.wait_for(caller.ask(), 10)
            assert 3 == caller.taken
            await in_use(service, 0)
        assert export.BATCH_ROWS * 8 + 1 == (await exported(service)).count(b"\r\n")


async def test_a_caller_who_takes_nothing_is_given_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection goes back, although the caller stays."""
    monkeypatch.setattr(export, "STALL_S", 0.05)
    async with many_songs(database_url) as service:
        task = asyncio.create_task(Caller(service, 1, stays=True).ask())
        await in_use(service, 1)
        await in_use(service, 0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_only_some_exports_run_at_once(database_url: str) -> None:
    """Callers who read slowly leave connections for everybody else; one more is told to come again."""
    async with many_songs(database_url) as service:
        tasks = [asyncio.create_task(Caller(service, 1, stays=True).ask()) for _ in range(AT_ONCE)]
        await in_use(service, AT_ONCE)
        answer = await service.get("/$export")
        assert (503, "overloaded", "10") == (answer.status_code, answer.json()["code"], answer.headers["retry-after"])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await in_use(service, 0)
        assert 200 == (await service.get("/$export")).status_code


@pytest.mark.parametrize("format_", ["csv", "xlsx"])
async def test_memory_does_not_grow_with_the_collection(database_url: str, format_: str) -> None:
    """Ten times the records take no more memory while they are sent."""
    async with serving(database_url) as service:
        peaks = []
        for first, last in ((0, 2), (2, 20)):
            numbers = range(first * export.BATCH_ROWS, last * export.BATCH_ROWS)
            await service.add(*(song(number, title="a" * 200) for number in numbers))
            await Caller(service).ask(f"format={format_}")  # what is remembered from now on is remembered already
            tracemalloc.start()
            try:
                await Caller(service).ask(f"format={format_}")
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5
