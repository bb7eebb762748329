"""Enqueueing: one job for one key, whoever asks how often, and all or nothing within a transaction."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.jobs.records import JobStatus
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import RequestError, StorageUnavailableError
from object_service.chassis.contracts.json import Json
from tools import ROOT

_OUTBOX = """
import asyncio, os, sys
from capabilities.jobs.workplace import opened
from sqlalchemy import text

async def main(url, when):
    async with opened(url) as office:
        async with office.database.writing() as connection:
            await connection.execute(text("INSERT INTO orders VALUES (1)"))
            await office.jobs.enqueue_in(connection, "any", {}, id_="job_crash")
            if when == "before":
                os._exit(9)
        os._exit(9)

asyncio.run(main(*sys.argv[1:]))
"""


async def _nothing(_: str, __: Mapping[str, Json]) -> Json:
    return None


async def _count(office: Workplace) -> int:
    return len(await office.management.page(size=1000))


async def test_an_id_is_enqueued_once(office: Workplace) -> None:
    """A second job of one id is not stored, also when both come at once, and the first payload counts."""
    for n in range(2):
        assert "job_one" == await office.jobs.enqueue("any", {"n": n}, id_="job_one")
    found = await asyncio.gather(*(office.jobs.enqueue("any", {}, id_="job_two") for _ in range(8)))
    assert ({"job_two"}, 2, {"n": 0}) == (
        *(set(found), await _count(office)),
        await office.management.payload("job_one"),
    )


@pytest.mark.parametrize("within", [False, True], ids=["alone", "in-a-transaction"])
async def test_a_key_gives_no_job_for_another(office: Workplace, within: bool) -> None:  # noqa: FBT001 - a parameter
    """A second job of a name in one request would vanish behind the first: that is refused, or it has an id."""

    async def enqueue(payload: Mapping[str, Json], **options: Any) -> str:
        if not within:
            return await office.jobs.enqueue("any", payload, **options)
        async with office.database.writing() as connection:
            return await office.jobs.enqueue_in(connection, "any", payload, **options)

    with entered(Context("cor_one", "key one", None)):
        first = await enqueue({"n": 1, "of": ["a", 2.5]})
        assert first == await enqueue({"of": ["a", 2.5], "n": 1})
        with pytest.raises(RequestError, match="asked for another job already") as refused:
            await enqueue({"n": 2, "of": ["a", 2.5]})
        await enqueue({"n": 2}, id_="job_two")
    assert ("conflict", 2) == (refused.value.code, await _count(office))


async def test_a_key_gives_one_job_to_each_caller(office: Workplace) -> None:
    """The same Idempotency-Key of the same caller is one job of a name; of another caller, or name, it is another."""
    found: dict[tuple[str, str | None, str], str] = {}
    for _ in range(2):
        for key, caller, name in (
            *(("key", None, "any"), ("key", "one", "any"), ("key", "two", "any")),
            *(("other", "one", "any"), ("key", "one", "brief")),
        ):
            with entered(Context("cor_1", key, caller=caller)):
                id_ = await office.jobs.enqueue(name, {})
            assert id_ == found.setdefault((key, caller, name), id_)
    assert (5, 5) == (len(set(found.values())), await _count(office))


async def test_without_a_key_each_job_is_a_new_one(office: Workplace) -> None:
    """Two requests without a key are two jobs."""
    assert 2 == len({await office.jobs.enqueue("any", {}) for _ in range(2)})


async def test_a_key_is_not_shown(office: Workplace) -> None:
    """The key and the caller are for the job, and are not among the attributes that others read."""
    with entered(Context("cor_1", "key", f"00-{'a' * 32}-{'b' * 16}-01", caller="one")):
        id_ = await office.jobs.enqueue("any", {})
    (found,) = await office.jobs.client.list_workflows_async(workflow_ids=[id_])
    assert {"correlation_id", "traceparent"} == set(found.attributes or {})


async def test_what_is_not_json_is_refused_where_it_is_enqueued(office: Workplace) -> None:
    """The caller learns of it, and nothing is stored."""
    with pytest.raises(TypeError, match="object is not plain JSON"):
        await office.jobs.enqueue("any", {"a": object()})  # type: ignore[dict-item]  # what is refused
    assert 0 == await _count(office)


async def test_a_job_that_is_not_declared_is_a_defect(office: Workplace) -> None:
    """Nobody could run it."""
    with pytest.raises(KeyError, match="unknown"):
        await office.jobs.enqueue("unknown", {})


async def test_a_job_within_a_transaction_comes_with_it(office: Workplace) -> None:
    """Committed, the job is there beside the row; rolled back, neither is."""
    async with office.database.writing() as connection:
        await connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    async with office.database.writing() as connection:
        await connection.execute(text("INSERT INTO orders VALUES (1)"))
        kept = await office.jobs.enqueue_in(connection, "any", {"n": 1}, delay_s=60, priority=7)
    with pytest.raises(ZeroDivisionError):
        await _failing(office)
    async with office.database.reading() as connection:
        rows = (await connection.execute(text("SELECT id FROM orders"))).scalars().all()
    assert ([1], [kept], {"n": 1}) == (
        *(rows, [one.id for one in await office.management.page()]),
        await office.management.payload(kept),
    )
    assert JobStatus.DELAYED is (await office.management.show(kept)).status


async def _failing(office: Workplace) -> None:
    async with office.database.writing() as connection:
        await connection.execute(text("INSERT INTO orders VALUES (2)"))
        await office.jobs.enqueue_in(connection, "any", {}, id_="job_gone")
        raise ZeroDivisionError


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_keeps_row_and_job_together(office: Workplace, url: str, when: str) -> None:
    """A process that dies before its commit leaves neither, and one that dies after it leaves both."""
    async with office.database.writing() as connection:
        await connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    path = {"PYTHONPATH": f"{ROOT / 'dev'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", _OUTBOX, url, when]
    done = await asyncio.to_thread(subprocess.run, command, env=path, capture_output=True, check=False)
    assert 9 == done.returncode, done.stderr.decode()
    async with office.database.reading() as connection:
        rows = (await connection.execute(text("SELECT count(*) FROM orders"))).scalar_one()
    expected = 0 if when == "before" else 1
    assert (expected, expected) == (rows, await _count(office))


async def test_a_job_within_a_transaction_is_enqueued_once(office: Workplace) -> None:
    """A second transaction with the same id commits, and changes nothing of the job."""
    for n in range(2):
        async with office.database.writing() as connection:
            await office.jobs.enqueue_in(connection, "any", {"n": n}, id_="job_one")
    assert (1, {"n": 0}) == (await _count(office), await office.management.payload("job_one"))


async def test_an_unreachable_database_is_told(tmp_path: Path) -> None:
    """Nothing is enqueued, and the error may pass."""
    for url in (f"sqlite:///{tmp_path}/no/file.db", "postgresql://nobody@127.0.0.1:1/gone"):
        async with opened(url) as office:
            with pytest.raises(StorageUnavailableError):
                await office.jobs.enqueue("any", {})
            with pytest.raises(StorageUnavailableError):
                await office.management.page()
