"""Is the process alive, is it ready, and what is it."""

import asyncio
import contextlib

import pytest

from chassis.resilience.providers import Scripted, down, guarded, without
from chassis.web.app import client_of, get
from object_service.chassis.container import Container
from object_service.chassis.contracts.work import LongWork
from object_service.chassis.metrics import Metrics
from object_service.chassis.resilience.assembly import Surroundings
from object_service.chassis.resilience.telemetry import ProviderMetrics
from object_service.chassis.web import readiness
from object_service.chassis.web.readiness import Readiness
from object_service.chassis.work import InProcessRunner, MemoryStore


async def _answers() -> None:
    return None


async def _fails() -> None:
    raise OSError("postgres://u:hunter2@db")


async def _hangs() -> None:
    await asyncio.Event().wait()


def _container(**pings: object) -> Container:
    container = Container()
    for name, ping in pings.items():
        container.add_ping(name, ping)  # type: ignore[arg-type] # one of the pings above
    return container


async def test_a_living_process_says_so_and_asks_nobody() -> None:
    """Liveness does not depend on anything outside the process."""
    async with client_of(_container(database=_hangs)) as client:
        response = await client.get("/livez")

    assert (200, {"status": "ok"}) == (response.status_code, response.json())


async def test_without_anything_to_ask_the_service_is_ready() -> None:
    """A service that owns no engine is ready when it answers."""
    response = await get("/readyz")

    assert (200, {"status": "ok", "checks": {}}) == (response.status_code, response.json())


async def test_readiness_asks_everything_and_tells_of_each(caplog: pytest.LogCaptureFixture) -> None:
    """One that fails makes the service not ready; what it said stays in the log, without a trace for each probe."""
    async with client_of(_container(database=_answers, cache=_fails)) as client:
        response = await client.get("/readyz")

    assert 503 == response.status_code
    assert {
        "status": "failed",
        "checks": {"database": {"status": "ok"}, "cache": {"status": "failed"}},
    } == response.json()
    assert "hunter2" not in response.text
    (line,) = [record for record in caplog.records if record.message == "ping_failed"]
    assert ("cache", "OSError: postgres://u:hunter2@db") == (vars(line)["check"], vars(line)["error"])
    assert line.exc_info is None


async def test_a_ping_that_hangs_counts_as_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readiness answers in bounded time, for all pings together, and the log names the one that hung."""
    monkeypatch.setattr(readiness, "PING_TIMEOUT_S", 0.02)
    async with client_of(_container(a=_hangs, b=_hangs, c=_answers)) as client:
        async with asyncio.timeout(5):
            response = await client.get("/readyz")

    assert ["failed", "failed", "ok"] == [response.json()["checks"][name]["status"] for name in "abc"]
    assert ["a", "b"] == [vars(r)["check"] for r in caplog.records if r.message == "ping_failed"]


async def test_what_was_down_may_be_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a time to hold, all pings are asked each time."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__READY_HOLD_S", "0")
    states = iter([False, True])

    async def ping() -> None:
        if not next(states):
            raise ConnectionError

    async with client_of(_container(database=ping)) as client:
        assert [503, 200] == [(await client.get("/readyz")).status_code for _ in range(2)]


async def test_what_was_heard_holds_for_a_while() -> None:
    """However often probes ask, engines are asked once per time, whether they answer or not."""
    now, asked = [100.0], list[bool]()

    async def ping() -> None:
        asked.append(True)
        if len(asked) == 1:
            raise ConnectionError

    held = Readiness({"database": ping}, hold_s=1, clock=lambda: now[0])
    heard = []
    for now[0] in (100.0, 100.5, 100.99, 101.0, 101.5):
        heard.append((await held.ask())["database"])

    assert ([False, False, False, True, True], 2) == (heard, len(asked))


async def test_probes_at_the_same_time_share_one_question() -> None:
    """A probe that is given up does not end the question for the others."""
    opened, asked = asyncio.Event(), list[bool]()

    async def ping() -> None:
        asked.append(True)
        await opened.wait()

    shared = Readiness({"database": ping}, hold_s=0)
    probes = [asyncio.create_task(shared.ask()) for _ in range(20)]
    await asyncio.sleep(0.01)
    probes[0].cancel()
    opened.set()
    heard = await asyncio.gather(*probes, return_exceptions=True)

    assert ([True], [{"database": True}] * 19) == (asked, heard[1:])
    assert isinstance(heard[0], asyncio.CancelledError)


async def test_a_ping_that_cannot_be_ended_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that holds on to a dead connection costs one task, and no probe waits for it."""
    monkeypatch.setattr(readiness, "PING_TIMEOUT_S", 0.02)
    asked, over = list[bool](), asyncio.Event()

    async def stubborn() -> None:
        asked.append(True)
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    held = Readiness({"database": stubborn}, hold_s=0)
    async with asyncio.timeout(5):
        assert [{"database": False}] * 3 == [await held.ask() for _ in range(3)]
    assert [True] == asked
    over.set()
    await asyncio.sleep(0.01)
    assert {"database": True} == await held.ask()


async def test_a_provider_that_fails_is_a_detail() -> None:
    """It belongs to somebody else: restarting this service would not help, and others may still be served."""
    container = Container()
    metrics = container.provide(Metrics, Metrics())
    front, _ = guarded(Scripted([down()]), without("retry"), Surroundings(metrics=metrics.of(ProviderMetrics)))
    async with client_of(container) as client:
        before = (await client.get("/readyz")).json()
        for _ in range(6):
            await asyncio.gather(front.ask("x"), return_exceptions=True)
        after = await client.get("/readyz")

    assert {"status": "ok", "checks": {}} == before
    assert (200, {**before, "providers": {"mine": {"status": "failed"}}}) == (after.status_code, after.json())


async def test_a_service_about_to_stop_is_not_ready() -> None:
    """Nothing is asked any more: whoever sends requests should look elsewhere."""
    container = _container(database=_hangs)
    container.stopping.announce()
    async with client_of(container) as client:
        ready, alive = [await client.get(path) for path in ("/readyz", "/livez")]

    assert (503, {"status": "draining"}) == (ready.status_code, ready.json())
    assert 200 == alive.status_code


@pytest.mark.parametrize("mode", ["in_process", "durable"])
async def test_info_tells_what_runs_here(mode: str) -> None:
    """Exactly the keys of the contract; capabilities are the features that call themselves so."""
    container = Container()
    if mode == "durable":
        container.provide(LongWork, LongWork(InProcessRunner(MemoryStore()), MemoryStore(), "durable"))
    async with client_of(container) as client:
        document = (await client.get("/info")).json()

    assert {"service", "version", "environment", "capabilities", "long_work", "template_version"} == set(document)
    assert ("object-service", "dev", ["things"], mode) == (
        document["service"],
        document["environment"],
        document["capabilities"],
        document["long_work"],
    )
