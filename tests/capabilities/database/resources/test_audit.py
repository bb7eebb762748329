"""The audit says who changed what and when, in the transaction of the change, and can only be read."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from capabilities.database.resources.things import THINGS, Service, ThingBody, serving
from object_service.capabilities.database.resources import audit
from object_service.capabilities.database.resources.writing import Writing

ANY = {"If-Match": "*"}


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """Serve things, on either engine."""
    async with serving(database_url) as started:
        yield started


async def test_every_change_has_an_entry(service: Service) -> None:
    """Newest first, each with the record before and after, as callers read it."""
    headers = {"X-Request-ID": "cor-7"}
    created = await service.create(code="a", note="a secret", price="1.50")
    url, id_ = created.headers["location"], created.json()["id"]
    await service.client.patch(url, json={"code": "b"}, headers={**ANY, **headers})
    await service.client.put(url, json={"code": "c"}, headers=ANY)
    await service.client.delete(url, headers=ANY)
    await service.client.post(f"{url}/$restore")
    await service.client.delete(f"{url}?purge=true", headers=ANY)

    entries = await service.audit(id_)

    assert ["purge", "restore", "delete", "replace", "update", "create"] == [entry["action"] for entry in entries]
    assert {("things", id_, "anonymous")} == {
        (entry["resource"], entry["record_id"], entry["actor"]) for entry in entries
    }
    assert created.json() == entries[-1]["after"]
    assert ("cor-7", "a", "b") == (
        entries[-2]["correlation_id"],
        entries[-2]["before"]["code"],
        entries[-2]["after"]["code"],
    )
    assert "deleted_at" in entries[2]["after"]
    assert ("before" in entries[-1], "after" in entries[0]) == (False, False)
    assert "a secret" not in str(entries)
    times = [entry["at"] for entry in entries]
    assert times == sorted(times, reverse=True)
    assert created.json()["created_at"] == times[-1]


async def test_an_entry_tells_callers_apart(service: Service) -> None:
    """By a digest of their credentials, which are nowhere themselves."""
    for token in ("hunter22", "hunter22", "other"):
        headers = {"Authorization": f"Bearer {token}", **ANY}
        assert 201 == (await service.client.post("/v1/things", json={"code": token}, headers=headers)).status_code

    other, again, first = [entry["actor"] for entry in await service.audit()]

    assert first == again == hashlib.sha256(b"Bearer hunter22").hexdigest()
    assert other == hashlib.sha256(b"Bearer other").hexdigest()


async def test_a_change_without_its_entry_is_not_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are written, or neither."""

    async def fails(*_: Any) -> None:
        raise ZeroDivisionError

    created = await service.create()
    monkeypatch.setattr(audit, "write", fails)
    writing, id_ = Writing(THINGS), created.json()["id"]
    for change in (
        writing.create(service.database, ThingBody(code="b")),
        writing.replace(service.database, id_, ThingBody(code="b"), None),
        writing.delete(service.database, id_, None),
        writing.purge(service.database, id_, None),
    ):
        with pytest.raises(ZeroDivisionError):
            await change
    monkeypatch.undo()

    unchanged = await service.client.put(f"/v1/things/{id_}", json={"code": "a"}, headers=ANY)
    assert (created.json(), 1) == (unchanged.json(), len(await service.audit()))


async def test_pages_of_the_audit_follow_on_each_other(service: Service) -> None:
    """`next` and the header `Link` lead on until nothing is left, also while new entries arrive."""
    ids = [(await service.create()).json()["id"] for _ in range(5)]
    url, seen = "/v1/audit?resource=things&size=2", list[str]()

    while url:
        answer = await service.client.get(url)
        page = answer.json()
        assert 2 == page["size"]
        seen += [entry["record_id"] for entry in page["items"]]
        link = answer.links.get("next", {}).get("url", "")
        assert ("next" in page) == bool(link)
        url = link
        await service.create()

    assert list(reversed(ids)) == seen


async def test_the_audit_of_others_is_left_out(service: Service) -> None:
    """Entries are of the resource and the record that were asked for."""
    first, _ = await service.create(), await service.create()

    assert 1 == len(await service.audit(first.json()["id"]))
    assert [] == (await service.client.get("/v1/audit?resource=others")).json()["items"]


@pytest.mark.parametrize(
    ("query", "code", "pointer"),
    [
        pytest.param("", "invalid_request", "/resource", id="no-resource"),
        pytest.param("resource=Things!", "invalid_request", "/resource", id="name"),
        pytest.param("resource=things&id=%00", "invalid_request", "/id", id="nul"),
        pytest.param("resource=things&size=0", "invalid_request", "/size", id="no-size"),
        pytest.param("resource=things&size=1001", "invalid_request", "/size", id="size"),
        pytest.param("resource=things&after=x", "invalid_request", "/after", id="cursor"),
        pytest.param(f"resource=things&after={'9' * 19}", "invalid_request", "/after", id="long-cursor"),
        pytest.param("resource=things&resource=others", "invalid_request", "/resource", id="two-resources"),
        pytest.param("resource=things&page=1", "unknown_parameter", "/page", id="unknown"),
    ],
)
async def test_a_wrong_question_is_a_problem(service: Service, query: str, code: str, pointer: str) -> None:
    """It says which parameter is wrong."""
    answer = await service.client.get(f"/v1/audit?{query}")

    problem = answer.json()
    assert (422, code, pointer) == (answer.status_code, problem["code"], problem["errors"][0]["pointer"])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_audit_is_only_read(service: Service, method: str) -> None:
    """No route changes it."""
    assert 405 == (await service.client.request(method, "/v1/audit?resource=things")).status_code
