"""Long work inside the process: begun once, awaited, stopped, bounded in memory."""

import asyncio
import logging
from collections.abc import Mapping

import pytest

from chassis.contracts.test_envelope import FAILURE, PROVENANCE
from object_service.chassis.container import Container
from object_service.chassis.contracts.context import Context, current, entered
from object_service.chassis.contracts.envelope import Envelope, Failed, Failure, Pending, Running, Succeeded
from object_service.chassis.contracts.json import Json
from object_service.chassis.contracts.work import LongWork
from object_service.chassis.work import InProcessRunner, MemoryStore, long_work

OBJECT = PROVENANCE.object


def _pending(id_: str) -> Pending:
    return Pending(id=id_, provenance=PROVENANCE)


class _Work:
    """Work that notes its steps and waits where it is told to."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.go = asyncio.Event()
        self.context: Context | None = None

    async def __call__(self, id_: str, payload: Mapping[str, Json]) -> None:
        self.context = current()
        self.notes.append(f"begun {id_} {dict(payload)}")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.notes.append("cancelled")
            raise
        self.notes.append("ended")

    async def give_up(self, id_: str, payload: Mapping[str, Json], failure: Failure) -> None:
        raise AssertionError(f"work of a process ends with it: {id_} {payload} {failure}")


@pytest.fixture
async def work() -> _Work:
    """Return work that has not begun."""
    return _Work()


@pytest.fixture
def runner(work: _Work) -> InProcessRunner:
    """Return a runner that knows the work."""
    runner = InProcessRunner(MemoryStore())
    runner.register("diarize", work)
    return runner


async def test_submitted_work_runs_on_its_own(runner: InProcessRunner, work: _Work) -> None:
    """Submitting returns while the work runs; waiting returns when it has ended."""
    await runner.submit("diarize", _pending("dia_1"), {"a": 1})
    assert ["begun dia_1 {'a': 1}"] == work.notes
    waiting = asyncio.create_task(runner.wait("dia_1"))
    await asyncio.sleep(0)
    assert not waiting.done()

    work.go.set()
    await waiting

    assert "ended" == work.notes[-1]


async def test_work_has_begun_when_it_can_be_cancelled(runner: InProcessRunner, work: _Work) -> None:
    """A cancel right after the submit still lets the work say that it was cancelled, and waits for that."""
    await runner.submit("diarize", _pending("dia_1"), {})
    await runner.cancel("dia_1")

    assert ["begun dia_1 {}", "cancelled"] == work.notes


async def test_a_cancelled_waiter_leaves_the_work_alone(runner: InProcessRunner, work: _Work) -> None:
    """Who waits is not who decides."""
    await runner.submit("diarize", _pending("dia_1"), {})
    waiting = asyncio.create_task(runner.wait("dia_1"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    work.go.set()
    await runner.wait("dia_1")

    assert "ended" == work.notes[-1]


async def test_the_deadline_of_the_request_does_not_bind_the_work(runner: InProcessRunner, work: _Work) -> None:
    """Work outlives the request; it keeps its correlation id and its idempotency key."""
    with entered(Context("3f0c", "key", deadline=1.0)):
        await runner.submit("diarize", _pending("dia_1"), {})
    await runner.aclose()

    assert Context("3f0c", "key", deadline=None) == work.context


async def test_a_crash_of_the_work_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else would tell; who waits is not hurt by it."""

    class Crash(_Work):
        async def __call__(self, id_: str, payload: Mapping[str, Json]) -> None:
            raise RuntimeError(f"{id_} {payload}")

    runner = InProcessRunner(MemoryStore())
    runner.register("crash", Crash())
    await runner.submit("crash", _pending("dia_1"), {})
    await runner.wait("dia_1")

    (line,) = caplog.records
    assert ("work_crashed", logging.ERROR, "crash", "dia_1") == (
        line.message,
        line.levelno,
        vars(line)["work"],
        vars(line)["work_id"],
    )
    assert line.exc_info is not None


async def test_unknown_or_ended_work_is_left_alone(runner: InProcessRunner, work: _Work) -> None:
    """Waiting for it and cancelling it do nothing."""
    work.go.set()
    await runner.submit("diarize", _pending("dia_1"), {})
    await runner.wait("dia_1")

    for id_ in ("dia_1", "dia_2"):
        await runner.wait(id_)
        await runner.cancel(id_)
    assert "ended" == work.notes[-1]


async def test_closing_stops_all_work(runner: InProcessRunner, work: _Work) -> None:
    """No task outlives the service."""
    for number in range(3):
        await runner.submit("diarize", _pending(f"dia_{number}"), {})

    await runner.aclose()

    assert 3 == work.notes.count("cancelled")
    assert 1 == len(asyncio.all_tasks())


async def test_closing_stops_everything_together() -> None:
    """The whole takes as long as the slowest, not as long as all of them one after another."""
    stopping: list[str] = []
    everyone = asyncio.Event()

    class Stubborn(_Work):
        async def __call__(self, id_: str, payload: Mapping[str, Json]) -> None:
            del payload
            try:
                await asyncio.Event().wait()
            finally:
                stopping.append(id_)
                if len(stopping) == 3:
                    everyone.set()
                await everyone.wait()

    runner = InProcessRunner(MemoryStore())
    runner.register("stubborn", Stubborn())
    for number in range(3):
        await runner.submit("stubborn", _pending(f"dia_{number}"), {})

    async with asyncio.timeout(5):
        await runner.aclose()
    await runner.aclose()

    assert {"dia_0", "dia_1", "dia_2"} == set(stopping)


async def test_long_work_runs_in_the_process_by_default() -> None:
    """Nothing else provides it, so tasks and memory do; a second object shares them."""
    async with Container() as container:
        work = long_work(container)

        assert "in_process" == work.mode
        assert work is long_work(container) is container[LongWork]


def test_a_capability_may_provide_long_work() -> None:
    """What was provided is used."""
    container = Container()
    durable = container.provide(LongWork, LongWork(InProcessRunner(MemoryStore()), MemoryStore(), "durable"))

    assert durable is long_work(container)


async def test_the_newest_envelope_is_kept() -> None:
    """Each save replaces the one before, through all states."""
    store = MemoryStore()
    states: list[Envelope[str]] = [
        Pending(id="a", provenance=PROVENANCE),
        Running(id="a", provenance=PROVENANCE),
        Failed(id="a", error=FAILURE, provenance=PROVENANCE),
    ]

    for envelope in states:
        await store.save(envelope)
        assert envelope == await store.load("a", str, of=OBJECT)
    assert await store.load("b", str, of=OBJECT) is None
    assert await store.load("a", str, of="another") is None


async def test_only_the_newest_finished_envelopes_are_kept() -> None:
    """Memory stays bounded; what is not finished is never dropped."""
    store = MemoryStore(max_finished=2)
    await store.save(Pending(id="open", provenance=PROVENANCE))
    for id_ in "abc":
        await store.save(Succeeded(id=id_, result=id_, provenance=PROVENANCE))

    found = {id_: await store.load(id_, str, of=OBJECT) is not None for id_ in ("a", "b", "c", "open")}

    assert {"a": False, "b": True, "c": True, "open": True} == found
