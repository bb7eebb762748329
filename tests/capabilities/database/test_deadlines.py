"""Deadlines: whoever allows a request some time is answered within it, whatever the database is busy with."""

import asyncio
import time

import pytest
from sqlalchemy import text

from capabilities.database.resources.things import URL, serving

SOON = {"X-Request-Timeout": "0.3"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_writer_does_not_wait_longer_than_its_caller(database_url: str) -> None:
    """It gives up its place, so that the next one gets its turn."""
    async with serving(database_url) as service:
        async with asyncio.timeout(5), service.database.writing():
            answer = await service.client.post(URL, json={"code": "a"}, headers=SOON)
        assert (504, "deadline_exceeded", False) == (
            *(answer.status_code, answer.json()["code"], answer.json()["retryable"]),
        )
        assert [] == await service.audit()
        assert 201 == (await service.client.post(URL, json={"code": "a"})).status_code


@pytest.mark.parametrize(
    ("table", "path"),
    [("template_envelopes", "/v1/envelopes/gen_1"), ("template_audit", "/v1/audit?resource=things"), ("things", URL)],
)
async def test_a_reader_does_not_wait_longer_than_its_caller(postgresql_url: str, table: str, path: str) -> None:
    """A statement that waits for a lock is given up; its connection is free for others."""
    async with serving(postgresql_url) as service:
        async with asyncio.timeout(5), service.database.writing() as connection:
            await connection.execute(text(f"LOCK TABLE {table}"))
            begun = time.monotonic()
            answers = await asyncio.gather(*(service.client.get(path, headers=SOON) for _ in range(3)))
            assert time.monotonic() - begun < 3
        assert {(504, "deadline_exceeded")} == {(answer.status_code, answer.json()["code"]) for answer in answers}
        assert (await service.client.get(path)).status_code in (200, 404)
