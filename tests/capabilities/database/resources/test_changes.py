"""What counts as a change, what is unique, and what is removed for good."""

from collections.abc import AsyncIterator

import pytest

from capabilities.database.resources.things import URL, Service, serving

ANY = {"If-Match": "*"}


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """Serve things, on either engine."""
    async with serving(database_url) as started:
        yield started


@pytest.mark.parametrize(
    ("old", "new", "version"),
    [
        pytest.param({"a": 1}, {"a": True}, 2, id="true-for-1"),
        pytest.param({"a": False}, {"a": 0}, 2, id="0-for-false"),
        pytest.param([[1]], [[True]], 2, id="deep"),
        pytest.param([1], [1, 1], 2, id="longer"),
        pytest.param({"a": 1}, {"b": 1}, 2, id="name"),
        pytest.param({"a": None}, {"a": 0}, 2, id="0-for-null"),
        pytest.param({"a": 1e23}, {"a": 1e23}, 1, id="large"),
        pytest.param({"a": 1.0}, {"a": 1}, 1, id="whole"),
        pytest.param({"a": [True, {"b": 1.5}]}, {"a": [True, {"b": 1.5}]}, 1, id="same"),
    ],
)
async def test_a_change_of_a_document_is_seen(service: Service, old: object, new: object, version: int) -> None:
    """Another type of JSON is another value; a number is the same however it is written."""
    url = (await service.create(facts=old)).headers["location"]

    answer = await service.client.put(url, json={"code": "a", "facts": new}, headers=ANY)

    assert f'.{version}"' == answer.headers["etag"][-3:]
    if version > 1:
        assert repr(new) == repr(answer.json()["facts"])


async def test_a_unique_value_is_free_again_where_only_shown_records_count(service: Service) -> None:
    """With an index that leaves deleted records out; restoring is a conflict while somebody else has the value."""
    first = (await service.create(label="one")).headers["location"]
    taken = await service.client.post(URL, json={"code": "b", "label": "one"})
    await service.client.delete(first, headers=ANY)
    second = (await service.create(code="b", label="one")).headers["location"]
    conflict = await service.client.post(f"{first}/$restore")
    await service.client.delete(second, headers=ANY)
    restored = await service.client.post(f"{first}/$restore")

    assert [(409, ["/label"])] * 2 == [
        (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) for answer in (taken, conflict)
    ]
    assert 200 == restored.status_code


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("purge=on", 422),
        ("purge=1", 422),
        ("purge=false&purge=true", 422),
        ("purge=true&purge=true", 422),
        ("purge=false", 204),
    ],
)
async def test_only_who_says_so_once_purges(service: Service, query: str, status: int) -> None:
    """Everything else is refused, or hides the record."""
    url = (await service.create()).headers["location"]

    answer = await service.client.delete(f"{url}?{query}", headers=ANY)

    assert status == answer.status_code, answer.text
    assert "purge" not in {entry["action"] for entry in await service.audit()}
