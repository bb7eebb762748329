"""The routes of the jobs: list, read, follow and cancel, on both engines."""

import asyncio
import json
from typing import Any

import pytest

from capabilities.jobs.service import served
from object_service.capabilities.jobs.jobs import Jobs
from object_service.capabilities.jobs.management import JobManagement
from object_service.capabilities.jobs.records import JobStatus
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.identity import ENV_PREFIX

TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture(autouse=True)
def _environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}DATABASE__URL", url)
    monkeypatch.setenv(f"{ENV_PREFIX}JOBS__POLL_INTERVAL_S", "0.05")


async def test_a_job_is_read_by_its_id() -> None:
    """What is known is there, what is not known is absent, and neither payload nor key is shown."""
    async with served() as (client, container):
        with entered(Context("cor_1", "secret-key", TRACEPARENT)):
            id_ = await container[Jobs].enqueue("count", {"to": 1, "private": "not shown"}, delay_s=60)
        answer = await client.get(f"/v1/jobs/{id_}")
    document = answer.json()
    assert (200, id_, "count", "delayed", "jobs", 0, "cor_1", TRACEPARENT) == (
        *(answer.status_code, document["id"], document["name"], document["status"], document["queue"]),
        *(document["attempts"], document["correlation_id"], document["traceparent"]),
    )
    assert {"created_at", "due_at"} <= document.keys()
    assert document.keys().isdisjoint({"started_at", "finished_at", "result", "error", "progress"})
    assert ("not shown" in answer.text, "secret-key" in answer.text) == (False, False)


async def test_jobs_are_listed_page_by_page() -> None:
    """The newest first, filtered by name and status; `next` leads to the end and is absent there."""
    async with served() as (client, container):
        ids = []
        for n in range(5):
            ids.append(await container[Jobs].enqueue("count", {"to": n}, delay_s=60 if n % 2 else None))
            await asyncio.sleep(0.002)
        await container[Jobs].enqueue("other", {"to": 1})
        found, after = [], None
        for _ in range(3):
            asked: dict[str, str | int] = {"name": "count", "size": 2, "after": after or 0}
            page = (await client.get("/v1/jobs", params=asked)).json()
            found += [one["id"] for one in page["items"]]
            after = page.get("next")
        assert (ids[::-1], None) == (found, after)
        delayed = (await client.get("/v1/jobs", params={"status": "delayed"})).json()
        assert [ids[3], ids[1]] == [one["id"] for one in delayed["items"]]
        assert {"items": [], "size": 50} == (await client.get("/v1/jobs?status=dead&name=count")).json()
        assert 6 == len((await client.get("/v1/jobs")).json()["items"])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=unknown", "status"),
        ("size=0", "size"),
        ("size=1001", "size"),
        ("after=-1", "after"),
        ("after=abc", "after"),
        ("sort=name", "sort"),
        ("Status=dead", "Status"),
    ],
)
async def test_what_cannot_be_asked_is_refused(query: str, names: str) -> None:
    """A value out of range and a parameter that is not known are named."""
    async with served() as (client, _):
        answer = await client.get(f"/v1/jobs?{query}")
    assert 422 == answer.status_code
    assert names in json.dumps(answer.json())


@pytest.mark.parametrize("path", ["job_unknown", "job_unknown/events", "a%00b"], ids=["read", "follow", "odd"])
async def test_an_id_that_is_not_known_is_not_found(path: str) -> None:
    """Before any event is sent, and whatever the id looks like."""
    async with served() as (client, _):
        answer = await client.get(f"/v1/jobs/{path}")
    assert (404, "not_found") == (answer.status_code, answer.json()["code"])


async def test_a_name_that_nothing_has_lists_nothing() -> None:
    """Whatever characters it is made of."""
    async with served() as (client, container):
        await container[Jobs].enqueue("count", {"to": 1})
        for name in ("unknown", "a%00b", "%F0%9F%8E%B5"):
            assert [] == (await client.get(f"/v1/jobs?name={name}")).json()["items"]


async def test_deleting_stops_a_job_once() -> None:
    """A job that waits is cancelled; again, it still is; what has ended otherwise is a conflict."""
    async with served(running=True) as (client, container):
        waiting = await container[Jobs].enqueue("count", {"to": 1}, delay_s=600)
        for _ in range(2):
            answer = await client.delete(f"/v1/jobs/{waiting}")
            assert (200, "cancelled", "cancelled") == (
                *(answer.status_code, answer.json()["status"]),
                answer.json()["error"]["code"],
            )
        done = await container[Jobs].enqueue("count", {"to": 1})
        await container[JobManagement].until(done, lambda record: record.status is JobStatus.SUCCEEDED, within_s=20)
        refused = await client.delete(f"/v1/jobs/{done}")
        assert (409, "already_finished") == (refused.status_code, refused.json()["code"])
        unknown = await client.delete("/v1/jobs/job_unknown")
        assert (404, "not_found") == (unknown.status_code, unknown.json()["code"])


async def test_a_job_is_followed_to_its_end() -> None:
    """Progress comes as it is told, and the last event is the job with its result."""
    async with served(running=True) as (client, container):
        id_ = await container[Jobs].enqueue("count", {"to": 4, "pause_s": 0.3})
        answer = await client.get(f"/v1/jobs/{id_}/events")
        failing = await container[Jobs].enqueue("count", {"to": -1})
        failed = await client.get(f"/v1/jobs/{failing}/events")
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    events = _events(answer.text)
    assert {"progress"} == {name for name, _ in events[:-1]}
    told = [one["progress"] for _, one in events if "progress" in one]
    assert (sorted(told), 1.0) == (told, told[-1])
    assert ("job", "succeeded", 4) == (events[-1][0], events[-1][1]["status"], events[-1][1]["result"])
    name, document = _events(failed.text)[-1]
    assert ("job", "failed", "internal_error") == (name, document["status"], document["error"]["code"])
    assert "secret" not in failed.text


def _events(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_a_service_with_jobs_says_whether_they_are_ready(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before `migrate` the probe fails; it does not tell the reason to whoever asks."""
    monkeypatch.setenv(f"{ENV_PREFIX}DATABASE__URL", database_url)
    async with served() as (client, _):
        answer = await client.get("/readyz")
    assert (503, "failed") == (answer.status_code, answer.json()["checks"]["jobs"]["status"])


async def test_a_migrated_service_is_ready() -> None:
    """The tables of the jobs are as expected."""
    async with served() as (client, _):
        answer = await client.get("/readyz")
    assert "ok" == answer.json()["checks"]["jobs"]["status"]
