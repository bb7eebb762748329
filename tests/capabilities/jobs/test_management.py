"""Management: jobs are found, listed, followed, cancelled and tried again, whether anybody runs jobs or not."""

import asyncio
from collections.abc import Mapping

import pytest

from capabilities.jobs.workplace import Workplace, opened
from object_service.capabilities.jobs.records import JobRecord, JobStatus
from object_service.chassis.contracts.errors import RequestError, StorageUnavailableError
from object_service.chassis.contracts.json import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _nothing(_: str, payload: Mapping[str, Json]) -> Json:
    return payload.get("n")


async def test_an_id_that_is_not_known(workplace: Workplace) -> None:
    """Each way to ask for it says so."""
    management = workplace.management
    assert await management.find("job_unknown") is None
    assert [] == [one async for one in management.follow("job_unknown")]
    for ask in (management.show, management.cancel, management.retry):
        with pytest.raises(RequestError, match="No job has this id") as refused:
            await ask("job_unknown")
        assert "not_found" == refused.value.code


async def test_jobs_are_listed_newest_first_without_results(workplace: Workplace) -> None:
    """By name and by status, page after page, each job once."""
    ids = [(await workplace.outcome(_nothing, {"n": n}, name="in-line")).id for n in range(5)]
    pages = [await workplace.management.page(name="in-line", size=2, offset=n) for n in (0, 2, 4, 6)]
    assert ids[::-1] == [one.id for page in pages for one in page]
    assert [2, 2, 1, 0] == [len(page) for page in pages]
    assert {None} == {one.result for page in pages for one in page}
    assert 2 == (await workplace.management.show(ids[2])).result
    assert [] == await workplace.management.page(name="in-line", status=JobStatus.FAILED)
    assert 5 == len(await workplace.management.page(name="in-line", status=JobStatus.SUCCEEDED))


async def test_who_cancelled_is_told_apart_in_lists(workplace: Workplace) -> None:
    """A list of what has timed out has nothing of what was cancelled, and the other way round, across pages."""

    async def endless(_: str, __: Mapping[str, Json]) -> Json:
        await asyncio.sleep(60)
        return None

    late = (await workplace.outcome(endless, name="brief")).id
    stopped = []
    for _ in range(3):
        stopped.append(await workplace.begin(_nothing, name="brief", delay_s=600))
        await workplace.management.cancel(stopped[-1])
    for status, expected in ((JobStatus.TIMED_OUT, [late]), (JobStatus.CANCELLED, stopped[::-1])):
        found = await workplace.management.page(name="brief", status=status)
        assert expected == [one.id for one in found]
    assert stopped[:1] == [
        one.id for one in await workplace.management.page(name="brief", status=JobStatus.CANCELLED, size=2, offset=2)
    ]


async def test_progress_is_followed_to_the_end(workplace: Workplace) -> None:
    """Whoever follows sees each change once, and then the end."""
    told, done = asyncio.Event(), asyncio.Event()

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        await workplace.jobs.progress(0.25, "a \0quarter")
        told.set()
        await done.wait()
        await workplace.jobs.progress(1.0)
        return "end"

    id_ = await workplace.begin(work)
    await told.wait()
    seen: list[JobRecord] = []
    async with asyncio.timeout(20):
        async for record in workplace.management.follow(id_):
            seen.append(record)
            done.set()
    assert (0.25, "a quarter", JobStatus.RUNNING) == (seen[0].progress, seen[0].note, seen[0].status)
    assert (1.0, "a quarter", JobStatus.SUCCEEDED, "end") == (
        *(seen[-1].progress, seen[-1].note),
        *(seen[-1].status, seen[-1].result),
    )
    assert len(seen) == len({repr(one) for one in seen}) <= 3


@pytest.mark.parametrize(
    ("told", "kept"),
    [(7.5, 1.0), (-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 1.0)],
    ids=["beyond", "before", "no-number", "endless"],
)
async def test_no_job_fails_because_of_what_it_tells(workplace: Workplace, told: float, kept: float) -> None:
    """What is beyond either end is that end, and what cannot be stored of a note is left out."""

    async def work(_: str, __: Mapping[str, Json]) -> Json:
        await workplace.jobs.progress(told, "half \ud800 a \0character")
        return None

    record = await workplace.outcome(work)
    assert (JobStatus.SUCCEEDED, kept, "half ? a character") == (record.status, record.progress, record.note)


async def test_following_goes_on_after_an_outage(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away nothing comes, and then what has become of the job meanwhile; it is told once."""
    find, looks = workplace.management.find, list[bool]()

    async def sometimes(id_: str, *, told: bool) -> JobRecord | None:
        looks.append(told)
        if len(looks) in (1, 2, 4):
            raise StorageUnavailableError("away")
        return await find(id_, told=told)

    id_ = await workplace.begin(_nothing, delay_s=1)
    monkeypatch.setattr(workplace.management, "find", sometimes)
    seen = [record.status async for record in workplace.management.follow(id_)]
    assert (JobStatus.DELAYED, JobStatus.SUCCEEDED) == (seen[0], seen[-1])
    assert [False, True, True, False, True] == looks[:5]


async def test_progress_outside_a_job_is_nothing(workplace: Workplace) -> None:
    """The same code can run where no job is."""
    await workplace.jobs.progress(0.5)


@pytest.mark.parametrize("delay_s", [None, 600], ids=["queued", "delayed"])
async def test_a_job_that_nobody_runs_is_cancelled(url: str, delay_s: float | None) -> None:
    """That needs no worker, and its code is never called."""
    async with opened(url) as office:
        id_ = await office.begin(_nothing, delay_s=delay_s)
        record = await office.management.cancel(id_)
        assert (JobStatus.CANCELLED, 0, None) == (record.status, record.attempts, record.started_at)
        assert JobStatus.CANCELLED is (await office.management.cancel(id_)).status


async def test_what_has_ended_is_not_cancelled(workplace: Workplace) -> None:
    """It says how it ended."""
    record = await workplace.outcome(_nothing)
    with pytest.raises(RequestError, match="ended already: succeeded") as refused:
        await workplace.management.cancel(record.id)
    assert "already_finished" == refused.value.code


async def test_a_cancelled_job_is_tried_again(workplace: Workplace) -> None:
    """It takes its turn in its queue and ends like any other."""
    id_ = await workplace.begin(_nothing, {"n": 7}, name="in-line", delay_s=600)
    await workplace.management.cancel(id_)
    again = await workplace.management.retry(id_)
    assert "line" == again.queue
    record = await workplace.ended(id_)
    assert (JobStatus.SUCCEEDED, 7) == (record.status, record.result)


async def test_only_what_ended_without_success_is_tried_again(workplace: Workplace) -> None:
    """A job that succeeded, or still has to run, is left as it is."""
    done, waiting = (await workplace.outcome(_nothing)).id, await workplace.begin(_nothing, delay_s=600)
    for id_, status in ((done, "succeeded"), (waiting, "delayed")):
        with pytest.raises(RequestError, match=f"The job is {status};") as refused:
            await workplace.management.retry(id_)
        assert "conflict" == refused.value.code


async def test_children_end_with_their_parent(workplace: Workplace) -> None:
    """A job that was enqueued by another one is cancelled with it."""
    begun = asyncio.Event()

    async def child(_: str, __: Mapping[str, Json]) -> Json:
        begun.set()
        await asyncio.sleep(60)
        return None

    async def parent(_: str, __: Mapping[str, Json]) -> Json:
        return await workplace.jobs.result(await workplace.begin(child))

    id_ = await workplace.begin(parent)
    await begun.wait()
    await workplace.management.cancel(id_)
    record = await workplace.ended(f"{id_}_1")
    assert (JobStatus.CANCELLED, id_) == (record.status, record.parent)


async def test_fan_out_and_fan_in(workplace: Workplace) -> None:
    """A job enqueues others, awaits what they return, and sees the error of one that failed."""

    async def double(_: str, payload: Mapping[str, Json]) -> Json:
        n = payload["n"]
        if n == 3:
            raise RequestError("three is refused", code="invalid_request", location="body")
        return [n, n]

    async def parent(_: str, __: Mapping[str, Json]) -> Json:
        ids = [await workplace.begin(double, {"n": n}) for n in range(4)]
        found = [await workplace.jobs.result(id_) for id_ in ids[:3]]
        try:
            await workplace.jobs.result(ids[3])
        except RequestError as error:
            found.append(error.code)
        return found

    record = await workplace.outcome(parent)
    assert [[0, 0], [1, 1], [2, 2], "invalid_request"] == record.result
