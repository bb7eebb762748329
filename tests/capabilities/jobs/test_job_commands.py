"""The commands of the jobs: list, show, cancel and retry, with an exit code that says what came of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from capabilities.jobs.service import RUNTIME, run
from object_service.capabilities.jobs.executor import Executor
from object_service.capabilities.jobs.jobs import Jobs
from object_service.capabilities.jobs.management import JobManagement
from object_service.chassis.container import Container
from object_service.chassis.identity import ENV_PREFIX


@pytest.fixture(autouse=True)
def _environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{ENV_PREFIX}DATABASE__URL", url)
    monkeypatch.setenv(f"{ENV_PREFIX}JOBS__POLL_INTERVAL_S", "0.05")


def _within[T](call: Callable[[Container], Awaitable[T]]) -> T:
    async def started() -> T:
        async with RUNTIME.started(RUNTIME.load()) as container:
            return await call(container)

    return asyncio.run(started())


def _enqueue(**options: object) -> str:
    return _within(lambda container: container[Jobs].enqueue("count", {"to": 2}, **options))  # type: ignore[arg-type]  # as given


def _finished(to: int) -> str:
    async def call(container: Container) -> str:
        await container[Executor].start()
        id_ = await container[Jobs].enqueue("count", {"to": to})
        await container[JobManagement].until(id_, lambda record: record.status.finished, within_s=20)
        return id_

    return _within(call)


def test_jobs_are_listed() -> None:
    """One line each, the newest first, or one document; nothing is said so."""
    assert (0, "no jobs\n") == ((empty := run("jobs", "list")).exit_code, empty.stdout)
    first, second = _enqueue(), _enqueue(delay_s=60)
    listed = run("jobs", "list")
    assert (0, [f"{second}  count  delayed", f"{first}  count  enqueued"]) == (
        listed.exit_code,
        listed.stdout.splitlines(),
    )
    chosen = json.loads(run("jobs", "list", "--json", "--status", "delayed", "--name", "count", "--size", "1").stdout)
    assert [second] == [one["id"] for one in chosen["items"]]
    wrong = run("jobs", "list", "--status", "unknown")
    assert (2, True) == (wrong.exit_code, "expected one of enqueued, delayed" in " ".join(wrong.stderr.split()))


def test_arguments_that_are_no_text_name_nothing() -> None:
    """Bytes that are no UTF-8 come as half a character; nothing has such a name, and nobody sees a traceback."""
    _enqueue()
    assert (0, "no jobs\n") == ((listed := run("jobs", "list", "--name", "a\udcff")).exit_code, listed.stdout)
    for verb in ("show", "cancel", "retry"):
        refused = run("jobs", verb, "a\udcff")
        assert "No job has this id" in refused.stderr
        assert isinstance(refused.exception, SystemExit)


def test_a_job_is_shown_and_cancelled() -> None:
    """Each command prints the job as it is then; cancelling again is no error."""
    id_ = _enqueue(delay_s=600)
    assert (0, f"{id_}  count  delayed\n") == ((shown := run("jobs", "show", id_)).exit_code, shown.stdout)
    for _ in range(2):
        done = run("jobs", "cancel", id_, "--json")
        assert (0, "cancelled") == (done.exit_code, json.loads(done.stdout)["status"])
    line = f"{id_}  count  cancelled  The job was cancelled. [cancelled]\n"
    assert line == run("jobs", "show", id_).stdout
    assert 0 == run("jobs", "retry", id_).exit_code
    assert "enqueued" in run("jobs", "show", id_).stdout


@pytest.mark.parametrize("words", [("show",), ("show", "--follow"), ("cancel",), ("retry",)], ids=" ".join)
def test_an_id_that_is_not_known(words: tuple[str, ...]) -> None:
    """Exit code 1 and one line, or one document."""
    done = run("jobs", *words, "job_unknown")
    assert (1, "", "error: No job has this id. [not_found]\n") == (done.exit_code, done.stdout, done.stderr)
    told = run("jobs", *words, "job_unknown", "--json")
    assert (1, "not_found") == (told.exit_code, json.loads(told.stdout)["error"]["code"])


def test_what_has_ended_cannot_be_cancelled_nor_tried_again() -> None:
    """A job that succeeded stays what it is; following it shows how far it came."""
    id_ = _finished(2)
    for word, code in (("cancel", "already_finished"), ("retry", "conflict")):
        refused = run("jobs", word, id_)
        assert (1, True) == (refused.exit_code, refused.stderr.endswith(f"[{code}]\n"))
    followed = run("jobs", "show", id_, "--follow")
    assert (0, f"{id_}  count  succeeded 100%\n") == (followed.exit_code, followed.stdout)
    assert 2 == json.loads(run("jobs", "show", id_, "--json").stdout)["result"]


def test_a_failed_job_says_why_and_is_tried_again() -> None:
    """What callers may see of the failure is on its line."""
    id_ = _finished(-1)
    assert run("jobs", "show", id_).stdout.endswith("[internal_error]\n")
    assert (0, True) == ((again := run("jobs", "retry", id_)).exit_code, "enqueued" in again.stdout)
