"""Recordings over HTTP: written, read, listed, deleted and audited."""

import csv
from typing import Any

import httpx2
import pytest

URL = "/v1/recordings"
WHOLE = {"title": "Board meeting", "language": "en-GB", "is_active": False, "duration_s": 61.5, "tags": ["board", "q1"]}
ANY_VERSION = {"If-Match": "*"}


async def create(client: httpx2.AsyncClient, **fields: Any) -> httpx2.Response:
    """Return the answer to a creation."""
    return await client.post(URL, json={"title": "Interview", **fields})


async def titles(client: httpx2.AsyncClient, **parameters: Any) -> list[str]:
    """Return the titles of a page, as it is sorted."""
    answer = await client.get(URL, params=parameters)
    return [item["title"] for item in answer.json()["items"]]


async def test_a_new_recording_is_found_at_its_address(client: httpx2.AsyncClient) -> None:
    """Creation answers the record, with what was not stated at its default or left out."""
    whole, short = await create(client, **WHOLE), await create(client)
    read = await client.get(whole.headers["location"])
    assert (201, 201, 200) == (whole.status_code, short.status_code, read.status_code)
    assert (whole.json(), whole.headers["etag"]) == (read.json(), read.headers["etag"])
    assert {**WHOLE, **{name: read.json()[name] for name in ("id", "created_at", "updated_at")}} == read.json()
    assert {"id", "title", "is_active", "tags", "created_at", "updated_at"} == set(short.json())


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        pytest.param({"title": ""}, "invalid_request", "/title", id="empty-title"),
        pytest.param({"title": "x" * 201}, "invalid_request", "/title", id="long-title"),
        pytest.param({"language": "English"}, "invalid_request", "/language", id="language"),
        pytest.param({"duration_s": -1}, "invalid_request", "/duration_s", id="duration"),
        pytest.param({"is_active": "yes"}, "invalid_request", "/is_active", id="active"),
        pytest.param({"tags": ["x"] * 21}, "invalid_request", "/tags", id="many-tags"),
        pytest.param({"tags": ["x" * 41]}, "invalid_request", "/tags/0", id="long-tag"),
        pytest.param({"titel": "x"}, "unknown_field", "/titel", id="unknown-field"),
        pytest.param({"id": "rec_1"}, "unknown_field", "/id", id="id-is-not-theirs"),
    ],
)
async def test_a_wrong_body_is_a_problem_that_names_the_field(
    client: httpx2.AsyncClient, body: dict[str, Any], code: str, pointer: str
) -> None:
    """One by one and in bulk, nothing is written."""
    whole = {"title": "x", **body}
    single = await client.post(URL, json=whole)
    bulk = await client.post(f"{URL}/$bulk", json={"items": [{"title": "x"}, whole]})
    for answer, above in ((single, ""), (bulk, "/items/1")):
        problem = answer.json()
        assert (422, code, above + pointer) == (answer.status_code, problem["code"], problem["errors"][0]["pointer"])
    assert [] == await titles(client)


async def test_a_recording_is_changed_by_whoever_has_read_it(client: httpx2.AsyncClient) -> None:
    """Each change needs the ETag of the version that it is based on, and gives a new one."""
    created = await create(client, **WHOLE)
    url, tag = created.headers["location"], {"If-Match": created.headers["etag"]}
    patched = await client.patch(url, json={"title": "Patched", "duration_s": None}, headers=tag)
    late = await client.put(url, json={"title": "Late"}, headers=tag)
    blind = await client.put(url, json={"title": "Blind"})
    replaced = await client.put(url, json={"title": "New"}, headers={"If-Match": patched.headers["etag"]})
    assert [200, 412, 428, 200] == [answer.status_code for answer in (patched, late, blind, replaced)]
    assert ("Patched", ["board", "q1"]) == (patched.json()["title"], patched.json()["tags"])
    assert "duration_s" not in patched.json()
    assert ("New", []) == (replaced.json()["title"], replaced.json()["tags"])


async def test_a_deleted_recording_can_be_restored_until_it_is_purged(client: httpx2.AsyncClient) -> None:
    """It is hidden and can be asked for; the audit outlives it."""
    created = await create(client)
    url, id_ = created.headers["location"], created.json()["id"]
    assert 204 == (await client.delete(url, headers=ANY_VERSION)).status_code
    assert (404, []) == ((await client.get(url)).status_code, await titles(client))
    assert ["Interview"] == await titles(client, include_deleted="true")
    assert 200 == (await client.post(f"{url}/$restore")).status_code
    assert 200 == (await client.get(url)).status_code
    assert 204 == (await client.delete(f"{url}?purge=true", headers=ANY_VERSION)).status_code
    assert [] == await titles(client, include_deleted="true")
    entries = (await client.get("/v1/audit", params={"resource": "recordings", "id": id_})).json()["items"]
    assert ["purge", "restore", "delete", "create"] == [entry["action"] for entry in entries]
    assert (created.json(), "Interview") == (entries[-1]["after"], entries[0]["before"]["title"])


async def test_recordings_are_listed_as_they_are_asked_for(client: httpx2.AsyncClient) -> None:
    """Filters, ranges, search and order work together, and pages follow on each other."""
    items = [
        {"title": f"{word} {number}", "language": language, "duration_s": number, "tags": [word]}
        for number, (word, language) in enumerate([("Call", "en"), ("Talk", "en"), ("Call", "de"), ("Call", "en")])
    ]
    bulk = await client.post(f"{URL}/$bulk", json={"items": items})
    assert [201] * 4 == [outcome["status"] for outcome in bulk.json()["items"]]
    assert ["Call 3", "Call 0"] == await titles(client, filter='{"language": "en"}', search="call", sort="-duration_s")
    assert ["Talk 1", "Call 2"] == await titles(
        client, sort="-title", **{"duration_s[gte]": "1", "duration_s[lt]": "3"}
    )
    first = (await client.get(URL, params={"sort": "title", "size": 3, "after": ""})).json()
    rest = await titles(client, sort="title", size=3, after=first["next"])
    assert ["Call 0", "Call 2", "Call 3", "Talk 1"] == [*(item["title"] for item in first["items"]), *rest]
    exported = csv.DictReader((await client.get(f"{URL}/$export", params={"sort": "title"})).text.splitlines())
    assert ["Call 0", "Call 2", "Call 3", "Talk 1"] == [row["title"] for row in exported]


@pytest.mark.parametrize(
    "parameter",
    ['filter={"tittle": "x"}', "sort=tags", "fields=secret", "tags[gte]=x", "q=x"],
    ids=["filter", "sort", "fields", "range", "unknown"],
)
async def test_a_question_that_is_not_allowed_is_a_problem(client: httpx2.AsyncClient, parameter: str) -> None:
    """It says what is allowed, and never becomes a failure of the service."""
    answer = await client.get(f"{URL}?{parameter}")
    assert (422, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
