"""Records are created, changed, deleted, restored and purged, by writers who know what they change."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import create_model
from sqlalchemy import null, select

from capabilities.database.resources.things import THINGS, URL, Service, Size, ThingBody, ThingRow, serving
from object_service.capabilities.database.resources.resource import Resource
from object_service.capabilities.database.resources.writing import Writing
from object_service.capabilities.database.tables import AuditRow

ANY = {"If-Match": "*"}
DETAIL = {"since": "2026-01-01T00:00:00Z", "words": ["a"]}
WHOLE = {"day": "2026-01-02", "size": "large", "amount_cents": 7, "price": "1.50", "detail": DETAIL}


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """Serve things, on either engine."""
    async with serving(database_url) as started:
        yield started


async def test_a_new_record_comes_back_with_its_place_and_tag(service: Service) -> None:
    """201 with `Location` and `ETag`; what is unknown or never shown is left out."""
    answer = await service.create(code="x", note="never shown", **WHOLE)

    record = answer.json()
    id_, created, updated = (record.pop(name) for name in ("id", "created_at", "updated_at"))
    assert {"code": "x", **WHOLE} == record
    assert re.fullmatch(r"thi_[0-9a-f]{32}", id_)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", created)
    assert created == updated
    assert f"{URL}/{id_}" == answer.headers["location"]
    assert f'"{id_}.1"' == answer.headers["etag"]


async def test_what_is_unknown_is_null_in_the_table(service: Service) -> None:
    """Also in a column of JSON, and in the audit of a record that was not there before."""
    await service.create()

    things, entries = ThingRow.metadata.tables["things"], AuditRow.metadata.tables["template_audit"]
    async with service.database.reading() as connection:
        for column in (things.c.day, things.c.detail, entries.c.before):
            assert 1 == len((await connection.execute(select(column).where(column.is_(null())))).all())


async def test_what_is_written_is_what_lies_in_the_table(service: Service) -> None:
    """Values keep their type on either engine, also those that are never shown."""
    await service.create(code="x", note="kept", **WHOLE)

    async with service.database.reading() as connection:
        row = (await connection.execute(ThingRow.metadata.tables["things"].select())).mappings().one()
    assert (date(2026, 1, 2), Size.LARGE, 7, "kept", 1) == tuple(
        row[name] for name in ("day", "size", "amount_cents", "note", "version")
    )
    assert (DETAIL, None) == (row["detail"], row["deleted_at"])
    assert datetime.now(UTC) > row["created_at"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/merge-patch+json", ""])
async def test_a_body_has_to_call_itself_json(service: Service, media_type: str) -> None:
    """Only a patch has a media type of its own."""
    url = f"{URL}/{(await service.create()).json()['id']}"
    headers = {"Content-Type": media_type, **ANY}

    answers = [
        await service.client.request(method, path, content=b'{"code":"b"}', headers=headers)
        for method, path in (("POST", URL), ("PUT", url), ("POST", f"{URL}/$bulk"))
    ]

    assert [415, 415, 415] == [answer.status_code for answer in answers]


async def test_a_record_is_replaced_as_a_whole(service: Service) -> None:
    """Fields that the new body does not state fall back to their defaults."""
    before = await service.create(**WHOLE)
    url, headers = before.headers["location"], {"If-Match": before.headers["etag"]}

    answer = await service.client.put(url, json={"code": "b"}, headers=headers)

    record = answer.json()
    assert {"id", "code", "size", "amount_cents", "created_at", "updated_at"} == set(record)
    assert (200, "b", "small", 0) == (answer.status_code, record["code"], record["size"], record["amount_cents"])
    assert before.json()["created_at"] == record["created_at"] < record["updated_at"]
    assert f'"{record["id"]}.2"' == answer.headers["etag"]


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json; charset=utf-8"])
async def test_a_patch_changes_what_it_names(service: Service, media_type: str) -> None:
    """Null removes, objects are merged, everything else stays, also what is never shown."""
    created = await service.create(note="kept", **WHOLE)
    patch = b'{"day":null,"detail":{"since":null,"words":["b"]}}'

    answer = await service.client.patch(
        created.headers["location"], content=patch, headers={"Content-Type": media_type, **ANY}
    )

    record = answer.json()
    assert (200, {"words": ["b"]}, "1.50") == (answer.status_code, record["detail"], record["price"])
    assert "day" not in record
    async with service.database.reading() as connection:
        row = (await connection.execute(ThingRow.metadata.tables["things"].select())).mappings().one()
    assert ("kept", None, {"words": ["b"]}) == (row["note"], row["day"], row["detail"])


async def test_a_patch_of_another_kind_is_refused(service: Service) -> None:
    """A JSON patch (RFC 6902) looks different and means something else."""
    url = (await service.create()).headers["location"]

    answer = await service.client.patch(
        url, content=b"{}", headers={"Content-Type": "application/json-patch+json", **ANY}
    )

    assert (415, "unsupported_media") == (answer.status_code, answer.json()["code"])


async def test_a_record_from_before_a_field_was_added_can_be_patched(service: Service) -> None:
    """What is null in the table counts as not stated, so that the default of the body holds."""
    created = await service.create()
    with_more = create_model("WithMore", __base__=ThingBody, note=(str, "default"))
    writing = Writing(Resource(**{name: getattr(THINGS, name) for name in Resource.__slots__} | {"body": with_more}))

    written = await writing.merge(service.database, created.json()["id"], {"code": "b"}, None)

    assert "b" == written.document["code"]


@pytest.mark.parametrize(
    ("patch", "code", "pointer"),
    [
        pytest.param({"code": None}, "invalid_request", "/code", id="required"),
        pytest.param({"detail": {"word": 1}}, "unknown_field", "/detail/word", id="unknown"),
        pytest.param({"id": "x"}, "unknown_field", "/id", id="not-theirs"),
        pytest.param({"amount_cents": "1"}, "invalid_request", "/amount_cents", id="type"),
        pytest.param({"code": "a\0"}, "invalid_request", "/code", id="nul"),
    ],
)
async def test_what_a_patch_leads_to_is_a_whole_body(
    service: Service, patch: dict[str, Any], code: str, pointer: str
) -> None:
    """The result is checked by the same rules as a new record, and nothing is changed when it breaks them."""
    created = await service.create(**WHOLE)

    answer = await service.client.patch(created.headers["location"], json=patch, headers=ANY)

    problem = answer.json()
    assert (422, code, pointer) == (answer.status_code, problem["code"], problem["errors"][0]["pointer"])
    assert 1 == len(await service.audit())


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_that_changes_nothing_makes_no_version(service: Service, method: str) -> None:
    """The tag stays, and the audit has no entry."""
    created = await service.create(code="a")

    answer = await service.client.request(method, created.headers["location"], json={"code": "a"}, headers=ANY)

    assert created.json() == answer.json()
    assert (created.headers["etag"], 1) == (answer.headers["etag"], len(await service.audit()))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_writer_has_to_know_the_current_version(service: Service, method: str) -> None:
    """428 without If-Match, 412 with an old or a weak tag, 400 with what is none; nothing is changed."""
    created = await service.create()
    url, tag = created.headers["location"], created.headers["etag"]
    body: dict[str, Any] = {} if method == "DELETE" else {"json": {"code": "b"}}

    statuses = [
        (await service.client.request(method, url, headers=headers, **body)).status_code
        for headers in ({}, {"If-Match": '"old"'}, {"If-Match": f"W/{tag}"}, {"If-Match": "old"})
    ]

    assert [428, 412, 412, 400] == statuses
    assert 1 == len(await service.audit())
    listed = {"If-Match": f'"old", {tag}'}
    assert (await service.client.request(method, url, headers=listed, **body)).is_success


async def test_of_writers_at_the_same_time_one_wins(service: Service) -> None:
    """Twenty writers who read the same version: one changes it, the others learn that it has changed."""
    created = await service.create()
    headers = {"If-Match": created.headers["etag"]}

    answers = await asyncio.gather(
        *(
            service.client.patch(created.headers["location"], json={"amount_cents": 100 + index}, headers=headers)
            for index in range(20)
        )
    )

    assert [200] + [412] * 19 == sorted(answer.status_code for answer in answers)
    assert 2 == len(await service.audit())


async def test_writers_for_whom_any_version_will_do_all_win(service: Service) -> None:
    """Each change lies over the one before it, and each has its entry with what was there before."""
    url = (await service.create()).headers["location"]

    answers = await asyncio.gather(
        *(service.client.patch(url, json={"amount_cents": 100 + index}, headers=ANY) for index in range(20))
    )

    assert {200} == {answer.status_code for answer in answers}
    entries = await service.audit(size=100)
    assert 21 == len(entries)
    assert [entry["before"] for entry in entries[:-1]] == [entry["after"] for entry in entries[1:]]


async def test_a_deleted_record_is_hidden_until_it_is_restored(service: Service) -> None:
    """For every write it is as if it were not there; a second deletion finds nothing either."""
    created = await service.create()
    url = created.headers["location"]

    gone = await service.client.delete(url, headers={"If-Match": created.headers["etag"]})
    hidden = [
        (await service.client.request(method, url, headers=ANY, **body)).status_code
        for method, body in (("PUT", {"json": {"code": "b"}}), ("PATCH", {"json": {}}), ("DELETE", {}))
    ]
    stale = await service.client.post(f"{url}/$restore", headers={"If-Match": created.headers["etag"]})
    restored = await service.client.post(f"{url}/$restore", headers={"If-Match": gone.headers["etag"]})
    again = await service.client.post(f"{url}/$restore")

    assert (204, b"", [404, 404, 404]) == (gone.status_code, gone.content, hidden)
    assert (412, 200, 409) == (stale.status_code, restored.status_code, again.status_code)
    assert restored.json() == {**created.json(), "updated_at": restored.json()["updated_at"]}
    assert f'"{created.json()["id"]}.3"' == restored.headers["etag"]


@pytest.mark.parametrize("deleted", [False, True], ids=["shown", "deleted"])
async def test_a_purged_record_is_gone_for_good(service: Service, deleted: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Nothing brings it back, and the audit still says what it was."""
    created = await service.create()
    url = created.headers["location"]
    if deleted:
        await service.client.delete(url, headers=ANY)

    stale = await service.client.delete(f"{url}?purge=true", headers={"If-Match": '"old"'})
    purged = await service.client.delete(f"{url}?purge=true", headers=ANY)

    after = [
        await service.client.post(f"{url}/$restore"),
        await service.client.delete(f"{url}?purge=true", headers=ANY),
    ]
    assert (412, 204, [404, 404]) == (stale.status_code, purged.status_code, [answer.status_code for answer in after])
    last, *_ = await service.audit(created.json()["id"])
    assert ("purge", created.json()["code"]) == (last["action"], last["before"]["code"])
    assert ("after" in last, "deleted_at" in last["before"]) == (False, deleted)


@pytest.mark.parametrize("id_", ["none", "a/b", "%00", "x" * 300])
async def test_a_record_that_does_not_exist_cannot_be_written(service: Service, id_: str) -> None:
    """404, whatever the id looks like."""
    for method in ("PUT", "PATCH", "DELETE"):
        body: dict[str, Any] = {} if method == "DELETE" else {"json": {"code": "b"}}
        answer = await service.client.request(method, f"{URL}/{id_}", headers=ANY, **body)
        assert (404, "not_found") == (answer.status_code, answer.json()["code"])


class Odd(ThingBody):
    """A body with a field that no table has."""

    odd: int = 0


class Kept(ThingBody):
    """A body that states what is the service's own."""

    version: int = 0


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        pytest.param({"body": Odd}, "a column: odd", id="no-column"),
        pytest.param({"body": Kept}, "the service fills: version", id="own"),
        pytest.param({"record": Odd}, "odd", id="record"),
    ],
)
def test_a_declaration_that_does_not_fit_its_table_is_refused_at_start(parts: dict[str, Any], words: str) -> None:
    """The first request would be too late."""
    whole = {name: getattr(THINGS, name) for name in Resource.__slots__}

    with pytest.raises(TypeError, match=words):
        Writing(Resource(**{**whole, **parts}))
