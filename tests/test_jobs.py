"""Jobs that outlive their process: killed, frozen, drained and restarted, with the real commands on both engines."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chores import Scene, all_succeeded, jobs_of, until
from chores_module import STEPS
from postgresql_server import PostgresqlServer
from scenes import SHORT, Scenes, on_file, on_server, scene, stage
from serving import Answer, Service

__all__ = ["on_file", "on_server", "scene", "stage"]

pytestmark = pytest.mark.gate

MANY = int(os.environ.get("TEMPLATE_TEST_JOBS", "200"))
"""How many jobs a process is killed under."""


def _ask_for(service: Service, count: int, pause_s: float) -> list[str]:
    answer = service.call("POST", f"/v1/chores?count={count}&pause_s={pause_s}")
    assert 202 == answer.status, answer.body
    ids: list[str] = answer.document["ids"]
    return ids


def _judge(scene: Scene, service: Service, ids: list[str]) -> None:
    """Every step of every job is recorded once, and each job returned what was recorded."""
    recorded = scene.recorded()
    assert {(id_, number) for id_ in ids for number in range(STEPS)} == recorded.keys()
    for id_ in ids:
        found = service.call("GET", f"/v1/jobs/{id_}").document["result"]
        assert [recorded[id_, number] for number in range(STEPS)] == found


def test_a_kill_loses_no_job_and_repeats_no_completed_step(scene: Scene) -> None:
    """The process that runs jobs is killed in the middle of steps; the next one goes on after the last recorded one."""
    if scene.url.startswith("sqlite"):
        with scene.serving("first") as service:
            ids = _ask_for(service, MANY, 0.1)
            before, lines = _killed(scene, service.process.kill)
        with scene.serving("second") as service:
            all_succeeded(service, MANY)
            _judge(scene, service, ids)
    else:
        with scene.serving() as service:
            ids = _ask_for(service, MANY, 0.1)
            before, lines = _killed(scene, scene.worker().started().kill)
            scene.worker()
            all_succeeded(service, MANY)
            _judge(scene, service, ids)
    after = scene.recorded()
    assert before == {step: after[step] for step in before}
    again = scene.traced("begun", lines)
    assert set() == again.keys() & before.keys()
    begun = scene.traced("begun")
    assert {1, 2} >= set(begun.values())
    assert sum(count - 1 for count in begun.values()) <= 10  # what one process runs at once


def _killed(scene: Scene, kill: Callable[[], object]) -> tuple[dict[tuple[str, int], str], int]:
    """Kill when steps have been recorded and others are under way; return what is recorded, and lines so far."""
    until(lambda: sum(scene.traced("ended").values()) > 20 and scene.under_way() > 2, "nothing ran")
    kill()
    time.sleep(0.3)  # what was on its way to the server arrives
    assert scene.under_way() > 0
    before = scene.recorded()
    assert 0 < len(before) < MANY * STEPS
    return before, scene.lines()


def test_a_request_that_was_stored_and_not_answered_is_one_job(scene: Scene) -> None:
    """The server is killed between storing and answering: repeated with its key, the request gets the same job."""
    one, other = ({"Idempotency-Key": "one", "Authorization": f"Bearer {name}"} for name in ("a", "b"))
    lease = {"MY_SERVICE_DATABASE__LEASE_S": "1"}
    with scene.serving("dies", DIE="1", **lease) as service:
        with pytest.raises(OSError, match=r"(?i)reset|closed|without response"):
            service.call("POST", "/v1/chores", headers=one)
        assert -signal.SIGKILL == service.process.wait(10)
    with scene.serving("again", **lease) as service:
        (stored,) = (job["id"] for job in jobs_of(service))
        for _ in range(2):
            assert [stored] == _accepted(service, one)
        (second,) = _accepted(service, other)
        assert {stored, second} == {job["id"] for job in jobs_of(service)}
        assert stored != second


def _accepted(service: Service, headers: dict[str, str]) -> list[str]:
    """Ask until nobody is believed to work on the answer any more."""
    answers: list[Answer] = []

    def accepted() -> bool:
        answers.append(service.call("POST", "/v1/chores", headers=headers))
        return answers[-1].status == 202

    until(accepted, "it was not accepted", 40)
    assert {202, 409} >= {answer.status for answer in answers}
    ids: list[str] = answers[-1].document["ids"]
    return ids


@pytest.mark.parametrize("way", ["over-tcp", "over-a-socket"])
def test_an_outage_of_the_server_fails_no_job(stage: Scenes, tmp_path: Path, way: str) -> None:
    """PostgreSQL is killed under load and comes back: no job fails, no worker gives up."""
    count = 40
    with PostgresqlServer() as server:
        scene = Scene(stage.project, tmp_path, server.url() if way == "over-tcp" else server.socket_url(), SHORT)
        try:
            assert 0 == scene.command("migrate").returncode
            with scene.serving() as service:
                workers = [scene.worker(lease_s="6").started() for _ in range(2)]
                ids = _ask_for(service, count, 0.2)
                until(lambda: sum(scene.traced("ended").values()) > 10, "nothing ran")
                server.kill()
                until(lambda: all(one.said("worker_cut_off") for one in workers), "nobody noticed", 15)
                assert 503 == service.call("GET", "/v1/jobs").status
                server.start()
                all_succeeded(service, count)
                _judge(scene, service, ids)
                assert [None, None] == [one.process.poll() for one in workers]
                assert [0, 0] == [one.stop() for one in workers]
        finally:
            scene.close()


def test_two_workers_share_the_work(on_server: Scene) -> None:
    """No step is begun twice; both take part, and when they are asked to end they do, with nothing left behind."""
    with on_server.serving() as service:
        workers = [on_server.worker().started() for _ in range(2)]
        ids = _ask_for(service, 40, 0.05)
        all_succeeded(service, 40)
        _judge(on_server, service, ids)
        assert {1} == set(on_server.traced("begun").values())
        assert 2 == len({one.split()[2] for one in on_server.recorded().values()})
        assert [0, 0] == [one.stop() for one in workers]
    assert [] == list(on_server.ask("SELECT * FROM template_job_leases"))


def test_a_worker_that_never_comes_back_is_succeeded(on_server: Scene) -> None:
    """Its jobs go to the one that is left when its lease has lapsed."""
    with on_server.serving() as service:
        workers = [on_server.worker().started() for _ in range(2)]
        _ask_for(service, 30, 0.3)
        until(lambda: sum(on_server.traced("ended").values()) > 10, "nothing ran")
        workers[0].kill()
        all_succeeded(service, 30)
        assert workers[1].said("jobs_taken_over")
    begun = on_server.traced("begun")
    assert {1, 2} >= set(begun.values())


def test_a_worker_that_was_frozen_gives_up(on_server: Scene) -> None:
    """It finds its lease gone, records nothing any more, and ends with the code that asks to be started again."""
    with on_server.serving() as service:
        frozen, other = (on_server.worker().started() for _ in range(2))
        _ask_for(service, 30, 0.3)
        until(lambda: sum(on_server.traced("ended").values()) > 10, "nothing ran")
        frozen.process.send_signal(signal.SIGSTOP)
        all_succeeded(service, 30)
        recorded, lines = on_server.recorded(), on_server.lines()
        frozen.process.send_signal(signal.SIGCONT)
        assert 75 == frozen.process.wait(20)
        assert frozen.said("worker_lease_lost")
        assert recorded == on_server.recorded()
        again = on_server.traced("begun", lines)  # the engine had let these begin before
        assert len({id_ for id_, _ in again}) == sum(again.values()) <= 10
        assert other.process.poll() is None


def test_being_asked_to_end_drains(scene: Scene) -> None:
    """What runs ends, or is handed back where the time is over; the next process has all the rest."""
    with scene.serving("first", drain_s="1") as service:
        ids = _ask_for(service, 20, 0.4)
        runs = service if scene.url.startswith("sqlite") else scene.worker(drain_s="1").started()
        until(lambda: len(scene.traced("ended")) > 5, "nothing ran")
        begun = time.monotonic()
        assert 0 == runs.stop()
        assert time.monotonic() - begun < 10
    with scene.serving("second") as service:
        assert set() == {one["status"] for one in jobs_of(service)} - {"enqueued", "running", "succeeded"}
        if not scene.url.startswith("sqlite"):
            scene.worker()
        all_succeeded(service, 20)
        _judge(scene, service, ids)


def test_a_schedule_fires_once_over_two_workers(on_server: Scene) -> None:
    """Each time of the schedule is one job, whoever of them enqueues it."""
    workers = [on_server.worker(TICKS="1").started() for _ in range(2)]
    until(lambda: len(on_server.ticks()) >= 4, "it did not fire")
    assert [0, 0] == [one.stop() for one in workers]
    times = [at for _, at, _ in on_server.ticks()]
    assert len(times) == len(set(times))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_jobs_wait_for_the_migration(stage: Scenes, tmp_path: Path, engine: str) -> None:
    """Every process starts before `migrate`, says once what it waits for, and runs jobs after it without a restart."""
    with stage.scene(engine, tmp_path, SHORT, migrated=False) as scene, scene.serving() as service:
        runs = service if engine == "sqlite" else scene.worker()
        until(lambda: [line for line in runs.log() if line["event"] == "jobs_waiting"], "nothing was said")
        assert (503, "storage_unavailable") == _refused(service)
        time.sleep(3)  # it asks again meanwhile
        assert 0 == scene.command("migrate").returncode
        until(lambda: service.call("GET", "/readyz").status == 200, "not ready")
        _ask_for(service, 3, 0)
        all_succeeded(service, 3)
        events = [(line["event"], line.get("error")) for line in runs.log() if line["event"].startswith("jobs_")]
        assert ("jobs_started", None) == events[-1]
        assert len(events) == len(set(events)), events
        assert 0 == runs.stop()


def _refused(service: Service) -> tuple[int, str]:
    answer = service.call("POST", "/v1/chores?count=1&pause_s=0")
    return answer.status, answer.code


def test_a_file_has_one_process_that_runs_its_jobs(on_file: Scene) -> None:
    """A second server, and a worker, are refused in a line that says what to do; the first goes on."""
    with on_file.serving() as service:
        for words in (("serve", "--port", "0"), ("worker",)):
            refused = on_file.command(*words)
            said = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
            assert (1, 1) == (refused.returncode, len(said)), refused.stderr
            assert "Another process runs the jobs of this SQLite file" in said[0]
            assert "stop it, or use PostgreSQL. [jobs_locked]" in said[0]
            assert "Traceback" not in refused.stderr
        _ask_for(service, 1, 0)
        all_succeeded(service, 1)


def test_writers_do_not_lock_each_other_out(on_file: Scene) -> None:
    """On SQLite, 500 transactions that read before they write succeed beside running jobs."""
    with on_file.serving() as service:
        _ask_for(service, 30, 0.05)
        with ThreadPoolExecutor(25) as threads:
            answers = list(threads.map(lambda _: service.call("POST", "/v1/counts"), range(500)))
        assert {200} == {answer.status for answer in answers}
        assert list(range(500)) == sorted(answer.document["n"] for answer in answers)
        all_succeeded(service, 30)
        assert [] == [line for line in service.log() if "locked" in str(line)]


def test_a_job_is_followed_on_the_command_line(on_server: Scene) -> None:
    """`jobs show --follow` draws a bar on stderr and prints the end on stdout."""
    with on_server.serving() as service:
        on_server.worker().started()
        (id_,) = _ask_for(service, 1, 0.7)
        shown = on_server.command("jobs", "show", id_, "--follow")
        assert (0, f"{id_}  chore  succeeded 100%\n") == (shown.returncode, shown.stdout)
        assert "chore" in shown.stderr
        listed = on_server.command("jobs", "list", "--status", "succeeded")
        assert (0, shown.stdout) == (listed.returncode, listed.stdout)
