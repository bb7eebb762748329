"""Replaying, at its edges: odd headers and statuses, long bodies, and what is counted and logged."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capabilities.database.test_replaying import KEY, kitchen_at
from capabilities.database.waiting import until
from object_service.capabilities.database import replaying
from object_service.capabilities.database.database import Database


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "media_type",
    [
        "multipart/form-data; boundary*=utf-8''%E2%82%AC",
        "application/json; boundary*=utf-8''%E2%82%AC",
        "multipart/form-data; boundary*=",
        "multipart/form-data",
        "; boundary*",
        "",
    ],
)
async def test_a_boundary_that_is_none_does_no_harm(database_url: str, media_type: str) -> None:
    """The request is served, and its repeat gets the answer."""
    async with kitchen_at(database_url) as (one, client, _):
        headers = {**KEY, "Content-Type": media_type}
        answers = [await client.post("/dishes", content=b"salt", headers=headers) for _ in range(2)]
    assert ([201, 201], 1) == ([answer.status_code for answer in answers], one.served)


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_no_type_of_content_is_too_odd(rest: str) -> None:
    """Whatever a caller writes there, it is read without a failure."""
    for begin in ("", "multipart/form-data; boundary", "multipart/x;boundary*"):
        header = (b"content-type", (begin + rest).encode("latin-1"))
        found = replaying._boundary({"type": "http", "headers": [header]})
        assert found is None or found


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_forms_have_a_boundary(database_url: str) -> None:
    """In a body of another type nothing is left out, whatever its parameters say."""
    async with kitchen_at(database_url) as (_, client, _):
        headers = {**KEY, "Content-Type": "text/plain; boundary=salt"}
        await client.post("/dishes", content=b"sweet salt", headers=headers)
        other = await client.post("/dishes", content=b"sweet saltsalt", headers=headers)
    assert 422 == other.status_code


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_any_status_of_success_is_kept(database_url: str) -> None:
    """Also one that no list names."""
    async with kitchen_at(database_url) as (one, client, _):
        answers = [await client.post("/odd", headers=KEY) for _ in range(2)]
    assert ([299, 299], 1) == ([answer.status_code for answer in answers], one.served)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_body_that_cannot_be_the_same_is_not_read_to_its_end(database_url: str) -> None:
    """As soon as more has arrived than the first time, the answer is known."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 1000

    async with kitchen_at(database_url) as (one, client, _):
        assert 201 == (await client.post("/dishes", content=b"y" * 2500, headers=KEY)).status_code
        answer = await client.post("/dishes", content=endless(), headers=KEY)
    assert (422, 1) == (answer.status_code, one.served)
    assert taken <= 4


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_answers_given_here_count_for_their_route(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics and the access line name its template, for a repeat as for a refusal; a path without one has none."""
    async with kitchen_at(database_url) as (_, client, _):
        for path, body in (("/dishes/1", b""), ("/dishes/1", b""), ("/dishes/1", b"x"), ("/nowhere", b"")):
            await client.post(path, content=body, headers=KEY)
        shown = (await client.get("/metrics")).text
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "request_served" in line]
    expected = [("/dishes/{number}", 201), ("/dishes/{number}", 201), ("/dishes/{number}", 422), ("unmatched", 404)]
    assert expected == [(line["route"], line["status"]) for line in lines]
    for status, count in (("201", 2), ("422", 1)):
        assert f'route="/dishes/{{number}}",status="{status}"}} {count}.0' in shown
    assert 'route="unmatched",status="404"} 1.0' in shown


async def _ask(client: httpx2.AsyncClient, database: Database, path: str, **more: Any) -> httpx2.Response:
    """Ask while another writer holds the database."""
    async with database.writing() as connection:
        await connection.exec_driver_sql("DELETE FROM template_replies")
        return await client.post(path, headers={**KEY, "X-Request-Timeout": "0.2"}, **more)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_key_is_looked_up_within_the_deadline(database_url: str) -> None:
    """Who cannot wait for the database is told so, and nothing was begun."""
    async with kitchen_at(database_url) as (one, client, database):
        async with asyncio.timeout(5):
            answer = await _ask(client, database, "/dishes", content=b"salt")
        assert (504, "deadline_exceeded", 0) == (answer.status_code, answer.json()["code"], one.served)
        assert "retry-after" not in answer.headers
        assert 201 == (await client.post("/dishes", content=b"salt", headers=KEY)).status_code


async def test_who_hangs_up_gives_the_key_back(database_url: str) -> None:
    """A request that is cancelled in the middle is served anew when it is repeated."""
    async with kitchen_at(database_url) as (one, client, _):
        task = asyncio.create_task(client.post("/slow", headers=KEY))
        await until(lambda: one.served)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        one.open.set()
        answer = await client.post("/slow", headers=KEY)
        for _ in range(100):
            if answer.status_code != 409:
                break
            await asyncio.sleep(0.05)
            answer = await client.post("/slow", headers=KEY)
        assert (200, {"number": 2}) == (answer.status_code, answer.json())
