"""Reading over HTTP: one record, parts of a collection, and what both say about themselves."""

import re
from typing import Any

import pytest
from sqlalchemy import text

from capabilities.database.resources.songs import NOON, RANGE_NAMES, SONGS, URL, Service, serving, song
from object_service.capabilities.database.resources.pages import Following
from object_service.capabilities.database.resources.reading import Reader
from object_service.chassis.openapi.document import completed

ALICE = song(1, title="Alice", duration_s=1.5, tags=["a"])
DOCUMENT = {
    "id": "son_000001",
    "title": "Alice",
    "is_active": True,
    "duration_s": 1.5,
    "plays": 0,
    "tags": ["a"],
    "created_at": "2025-01-01T12:00:00.000000Z",
    "updated_at": "2025-01-01T12:00:00.000000Z",
}


async def test_one_record_is_read_with_its_version(database_url: str) -> None:
    """What is not known is left out, and what is not part of the record stays inside."""
    async with serving(database_url, [ALICE]) as service:
        answer = await service.get("/son_000001")
    assert (200, DOCUMENT, "application/json") == (answer.status_code, answer.json(), answer.headers["content-type"])
    assert re.fullmatch(r'"[!-~]+"', answer.headers["etag"])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("{0}", 304, id="same"),
        pytest.param("W/{0}", 304, id="same-weakly"),
        pytest.param('"other", {0}', 304, id="among-others"),
        pytest.param("*", 304, id="any"),
        pytest.param('"other"', 200, id="other"),
        pytest.param("other", 400, id="unreadable"),
    ],
)
async def test_what_the_caller_has_is_not_sent_again(database_url: str, template: str, expected: int) -> None:
    """If-None-Match with the version that was read is answered without the record."""
    async with serving(database_url, [ALICE]) as service:
        tag = (await service.get("/son_000001")).headers["etag"]
        answer = await service.get("/son_000001", headers={"If-None-Match": template.format(tag)})
    assert expected == answer.status_code
    if expected == 304:
        assert (b"", tag) == (answer.content, answer.headers["etag"])


async def test_versions_have_tags_of_their_own(database_url: str) -> None:
    """A change changes the tag."""
    async with serving(database_url, [ALICE, song(2)]) as service:
        first = (await service.get("/son_000001")).headers["etag"]
        async with service.database.writing() as connection:
            await connection.execute(text("UPDATE songs SET version = 2"))
        assert first != (await service.get("/son_000001")).headers["etag"]


async def test_a_deleted_record_is_shown_on_request_only(database_url: str) -> None:
    """Its id leads nowhere, unless deleted records are asked for."""
    async with serving(database_url, [song(1, deleted_at=NOON), song(2)]) as service:
        hidden = await service.get("/son_000001")
        shown = await service.get("/son_000001", include_deleted="true")
        assert (404, "not_found") == (hidden.status_code, hidden.json()["code"])
        assert "2025-01-01T12:00:00.000000Z" == shown.json()["deleted_at"]
        assert ([2], [1, 2]) == (await service.ids(), await service.ids(include_deleted="true"))


@pytest.mark.parametrize("id_", ["son_9", "a%00b", "%F0%9F%8E%B5", "a" * 3000, "%FF"], ids=lambda id_: id_[:12])
async def test_an_id_of_nothing_is_not_found(database_url: str, id_: str) -> None:
    """Whatever stands in the place of the id."""
    async with serving(database_url) as service:
        answer = await service.get(f"/{id_}")
    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


async def test_a_page_says_where_it_is(database_url: str) -> None:
    """A page has its number, its size, how many records there are, and the way to its neighbours."""
    async with serving(database_url, [song(number) for number in range(5)]) as service:
        answer = await service.get(page=2, size=2, fields="id,plays")
        behind = await service.get(page=9, size=2)
    items = [{"id": "son_000002", "plays": 0}, {"id": "son_000003", "plays": 0}]
    assert {"items": items, "page": 2, "size": 2, "total": 5} == answer.json()
    assert f'<{URL}?fields=id%2Cplays&page=3&size=2>; rel="next"' in answer.headers["link"]
    assert {"items": [], "page": 9, "size": 2, "total": 5} == behind.json()


async def test_links_lead_through_the_collection(database_url: str) -> None:
    """Who follows `next` sees every record once, by either kind of page."""
    async with serving(database_url, [song(number, duration_s=number % 3 or None) for number in range(10)]) as service:
        whole = await service.ids(sort="-duration_s")
        for begin in ("page=1", "after="):
            found: list[int] = []
            path: str | None = f"{URL}?sort=-duration_s&size=3&{begin}"
            while path:
                answer = await service.client.get(path)
                found += [int(item["id"][4:]) for item in answer.json()["items"]]
                match = re.search(r'<([^>]*)>; rel="next"', answer.headers["link"])
                path = match and match[1]
            assert whole == found, begin


async def test_a_cursor_outlives_the_record_it_was_made_of(database_url: str) -> None:
    """Records that come and go in front of a cursor do not move what follows on it."""
    async with serving(database_url, [song(number) for number in range(6)]) as service:
        on = (await service.get(after="", size=3)).json()["next"]
        async with service.database.writing() as connection:
            await connection.execute(text("DELETE FROM songs WHERE id < 'son_000003'"))
        assert [3, 4, 5] == await service.ids(after=on, size=3)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        pytest.param("ÄRGER", [1], id="letters-beyond-ascii"),
        pytest.param("ärger bob", [1], id="all-words-in-any-column"),
        pytest.param("ärger eve", [], id="one-word-missing"),
        pytest.param("100%", [2], id="percent"),
        pytest.param("1%", [], id="percent-that-is-none"),
        pytest.param("a_b", [3], id="underscore"),
        pytest.param("\\", [4], id="backslash"),
        pytest.param("'; DROP TABLE songs; --", [], id="sql"),
        pytest.param("", [1, 2, 3, 4], id="nothing"),
    ],
)
async def test_a_search_takes_words_as_they_are(database_url: str, search: str, expected: list[int]) -> None:
    """Every word has to be found, in capitals or not; no character means anything else than itself."""
    rows = [song(1, title="Der Ärger", singer="BOB"), song(2, title="100%"), song(3, title="a_b"), song(4, title="\\")]
    async with serving(database_url, [*rows]) as service:
        assert expected == await service.ids(search=search)


@pytest.mark.parametrize(
    ("query", "code", "pointer"),
    [
        pytest.param("pagesize=3", "unknown_parameter", "/pagesize", id="parameter"),
        pytest.param("created_at[after]=2025-01-01", "unknown_parameter", "/created_at[after]", id="operator"),
        pytest.param("is_active[gt]=true", "unknown_parameter", "/is_active[gt]", id="range-without-order"),
        pytest.param("secret[gt]=a", "unknown_parameter", "/secret[gt]", id="range-of-what-is-not-shown"),
        pytest.param("format=csv", "unknown_parameter", "/format", id="parameter-of-another-route"),
        pytest.param("size=1&size=2", "invalid_request", "/size", id="twice"),
        pytest.param("plays[gt]=1&plays[gt]=2", "invalid_request", "/plays[gt]", id="bound-twice"),
        pytest.param("filter={}&filter={}", "invalid_request", "/filter", id="filter-twice"),
        pytest.param("filter=%7B%22title%22%3A%22%FF%22%7D", None, None, id="broken-utf-8-is-replaced"),
        pytest.param("sort=%00", "unknown_field", "/sort/\x00", id="nul"),
    ],
)
async def test_what_is_not_understood_is_refused(
    database_url: str, query: str, code: str | None, pointer: str | None
) -> None:
    """No parameter is passed over, and none is read twice."""
    async with serving(database_url) as service:
        answer = await service.client.get(f"{URL}?{query}")
    if code is None:
        assert 200 == answer.status_code
    else:
        (error,) = answer.json()["errors"]
        assert (422, code, pointer, "query") == (answer.status_code, error["code"], error["pointer"], error["in"])


async def test_a_refusal_names_what_is_allowed(database_url: str) -> None:
    """An unknown parameter is answered with the known ones, those in brackets included."""
    async with serving(database_url) as service:
        detail = (await service.refused(created_at__gtee="2025-01-01"))["detail"]
    assert "Did you mean 'created_at[gte]'?" in detail
    assert {"filter", "sort", "after", "plays[lte]"} <= set(re.split(r"[ ,.]+", detail))


async def test_the_document_names_every_parameter(database_url: str) -> None:
    """What the OpenAPI document says is what the route takes; items may lack any field."""
    async with serving(database_url) as service:
        document: dict[str, Any] = completed(service.app.openapi())
    listed = document["paths"][URL]["get"]
    expected = {"filter", "sort", "fields", "search", "include_deleted", "page", "size", "after", *RANGE_NAMES}
    assert expected == {parameter["name"] for parameter in listed["parameters"] if parameter.get("in") == "query"}
    schemas = document["components"]["schemas"]
    assert {"items", "size"} == set(schemas["SongList"]["required"])
    assert ("required" in schemas["SongFields"], "singer" in schemas["SongFields"]["properties"]) == (False, True)
    assert {"id", "title"} < set(schemas["Song"]["required"])


async def test_questions_share_their_statements(database_url: str) -> None:
    """Other values in the same question are compiled only once."""
    async with serving(database_url, [song(number, duration_s=float(number)) for number in range(9)]) as service:
        cache = service.database.engine.sync_engine._compiled_cache
        assert cache is not None

        async def ask(value: int) -> None:
            told: dict[str, Any] = {"filter": f'{{"plays": {value}, "tags": "t{value}"}}', "search": f"word{value}"}
            await service.get(page=9, size=value + 1, duration_s__gt=value, **told)
            page = (await service.get(after="", size=value + 5, sort="-duration_s,title")).json()
            await service.get(after=page["next"], size=value + 5, sort="-duration_s,title")

        await ask(0)
        known = len(cache)
        for value in range(1, 4):
            await ask(value)
        assert known == len(cache)


@pytest.mark.parametrize(
    ("sort", "values"),
    [
        pytest.param("created_at", (NOON, "son_000002"), id="never-missing"),
        pytest.param("-created_at", (NOON, "son_000002"), id="never-missing-descending"),
        pytest.param("duration_s", (3.0, "son_000002"), id="with-a-value"),
        pytest.param("-duration_s", (3.0, "son_000002"), id="with-a-value-descending"),
        pytest.param("duration_s", (None, "son_000002"), id="without-a-value"),
        pytest.param("-created_at,title", (NOON, "a", "son_000002"), id="two-ways"),
    ],
)
async def test_a_keyset_page_begins_in_the_index(database_url: str, sort: str, values: tuple[Any, ...]) -> None:
    """Neither engine reads the records before the page: what a page costs does not depend on where it is."""
    async with serving(database_url, [song(number) for number in range(9)]) as service:
        plans = await _plans(service, sort, values)
    for plan in plans:
        if service.database.dialect == "sqlite":
            assert re.fullmatch(r"SEARCH songs USING INDEX ix_songs_\w+ \(.*\)(\nUSE TEMP B-TREE .*)?", plan), plan
        else:
            assert re.search(r"Index Scan.*using ix_songs_\w+.*\n +Index Cond:", plan), plan
        assert "," in sort or not re.search("TEMP B-TREE|Sort Key", plan), plan


async def _plans(service: Service, sort: str, values: tuple[Any, ...]) -> list[str]:
    reader = Reader(SONGS)
    dialect = service.database.dialect
    query, part = reader.grammar.query({"sort": sort}), Following(values, 5)
    explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
    plans = []
    async with service.database.writing() as connection:
        if dialect == "postgresql":
            for way in ("seqscan", "bitmapscan", "sort"):  # which suit a table of nine rows better
                await connection.execute(text(f"SET LOCAL enable_{way} = off"))
        for statement in reader.statements.following(query, dialect, part.after, part.size):
            asked = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            rows = await connection.exec_driver_sql(f"{explain} {asked}")
            plans.append("\n".join(str(row[-1]) for row in rows))
    return plans
