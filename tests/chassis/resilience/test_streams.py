"""Streams and sessions: the pipeline spans them, from the first piece to the end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest

from chassis.resilience.providers import Pauses, down, hang, pausing, unclear, without
from object_service.chassis.contracts.call import Operation, recording
from object_service.chassis.contracts.context import Context, current, entered
from object_service.chassis.contracts.errors import (
    AdapterDeadlineError,
    AdapterError,
    AdapterResponseError,
    AdapterStreamInterruptedError,
    AdapterTimeoutError,
)
from object_service.chassis.resilience.assembly import Guards
from object_service.chassis.resilience.breaker import BreakerState
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience

OPERATIONS = {
    "tell": Operation("tell", idempotent=False, returns="stream"),
    "tell_later": Operation("tell_later", idempotent=False, returns="stream"),
    "open": Operation("open", idempotent=False, returns="session"),
}
KEY = Context("c", "key-1")


class Teller:
    """A port that streams: each opening takes the next list of entries, the last list stays."""

    def __init__(self, *scripts: Sequence[Any]) -> None:
        """Begin at the first list."""
        self.scripts = scripts
        self.opened = 0
        self.closed = 0
        self.sent = 0

    async def tell(self) -> AsyncIterator[Any]:
        """Yield pieces, raise errors, await gates."""
        script = self.scripts[min(self.opened, len(self.scripts) - 1)]
        self.opened += 1
        try:
            for entry in script:
                if isinstance(entry, Exception):
                    raise entry
                if callable(entry):
                    await entry()
                else:
                    self.sent += 1
                    yield entry
        finally:
            self.closed += 1

    def tell_later(self) -> AsyncIterator[Any]:
        """Return a stream from a plain function."""
        return self.tell()

    def open(self) -> AbstractAsyncContextManager[str]:
        """Return a session."""
        return self._session()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[str]:
        self.opened += 1
        entry = self.scripts[0][0]
        if isinstance(entry, Exception):
            raise entry
        try:
            yield entry
        finally:
            self.closed += 1


def _front(port: Teller, settings: Resilience | None = None) -> tuple[Any, Guards]:
    guards = Guards("mine", settings or Resilience(), pausing(Pauses()))
    return guard(port, guards.pipeline, OPERATIONS, provider="mine", kind="scripted"), guards


async def _collect(stream: AsyncIterator[Any], pieces: list[Any] | None = None) -> list[Any]:
    pieces = [] if pieces is None else pieces
    async for piece in stream:
        pieces.append(piece)
    return pieces


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Every test ends without a task of its own."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0.01)
    assert set() == asyncio.all_tasks() - before - {asyncio.current_task()}


@pytest.mark.parametrize("name", ["tell", "tell_later"])
async def test_pieces_come_in_order(name: str) -> None:
    """A generator and a function that returns one are the same."""
    port = Teller(["a", "b", None, "c"])
    front, guards = _front(port)

    assert ["a", "b", None, "c"] == await _collect(getattr(front, name)())
    assert guards.bulkhead is not None
    assert (1, 0) == (port.closed, guards.bulkhead.in_use)


async def test_a_place_is_held_until_the_end() -> None:
    """The bulkhead counts streams, not first pieces."""
    front, guards = _front(Teller(["a", "b"]))
    assert guards.bulkhead is not None
    async with aclosing(front.tell()) as stream:
        assert "a" == await anext(stream)
        assert 1 == guards.bulkhead.in_use

    assert 0 == guards.bulkhead.in_use


async def test_before_the_first_piece_everything_can_be_repeated() -> None:
    """A stream that fails at once is opened again."""
    port = Teller([down()], [down()], ["a"])
    front, _ = _front(port)
    with recording() as record:
        assert ["a"] == await _collect(front.tell())

    assert (3, 3) == (port.opened, record.attempts)


@pytest.mark.parametrize("failure", [down(), unclear(), RuntimeError("defect")], ids=["error", "reset", "defect"])
async def test_after_the_first_piece_nothing_is_repeated(failure: Exception) -> None:
    """The consumer has the pieces, and then an error that says that they are not all."""
    port = Teller(["a", "b", failure])
    front, guards = _front(port)
    pieces: list[Any] = []
    with entered(KEY), pytest.raises(AdapterStreamInterruptedError):
        await _collect(front.tell(), pieces)

    assert (["a", "b"], 1) == (pieces, port.opened)
    assert 1 == guards.breakers["tell"]._consecutive


async def test_a_defect_before_the_first_piece_is_an_unreadable_answer() -> None:
    """Like any other call."""
    front, _ = _front(Teller([RuntimeError("defect")]))
    with pytest.raises(AdapterResponseError):
        await _collect(front.tell())


@pytest.mark.parametrize(
    ("script", "limit"),
    [([hang], "stream_first_chunk_s"), (["a", hang], "stream_idle_s")],
    ids=["first", "between"],
)
async def test_a_silent_stream_is_cut(script: list[Any], limit: str) -> None:
    """The first piece and each further one have a limit of their own."""
    port = Teller(script)
    front, _ = _front(port, without(timeouts={limit: 0.02, "stream_total_s": 60}))
    with pytest.raises(AdapterTimeoutError):
        await _collect(front.tell())

    assert (1, 1) == (port.opened, port.closed)


async def test_a_long_stream_may_take_longer_than_an_attempt() -> None:
    """The limit of an attempt is for answers; a stream that flows is not cut."""
    front, _ = _front(Teller(["a", lambda: asyncio.sleep(0.05), "b"]), without(timeouts={"attempt_s": 0.01}))

    assert ["a", "b"] == await _collect(front.tell())


async def test_the_whole_stream_has_a_total() -> None:
    """Also one that drips for ever, and the deadline of the caller only shortens it."""
    dripping = [*["x", lambda: asyncio.sleep(0.005)] * 100]
    front, _ = _front(Teller(dripping), without(timeouts={"stream_total_s": 0.05}))
    with pytest.raises(AdapterDeadlineError):
        await _collect(front.tell())
    front, _ = _front(Teller(dripping))
    with entered(Context("c").shortened(0.05)), pytest.raises(AdapterDeadlineError):
        await _collect(front.tell())


async def test_a_slow_consumer_is_not_the_provider_s_fault() -> None:
    """While the consumer is busy, no limit of the provider runs, and the provider is held up."""
    port = Teller(list(range(10)))
    front, guards = _front(port, without(timeouts={"stream_idle_s": 0.02, "stream_total_s": 10}))
    async with aclosing(front.tell()) as stream:
        await anext(stream)
        await asyncio.sleep(0.06)
        assert port.sent <= 3
        assert 9 == len(await _collect(stream))

    assert BreakerState.CLOSED is guards.breakers["tell"].state


async def test_leaving_early_closes_the_provider_s_stream() -> None:
    """Breaking off cancels the work at the provider, gives the place back, and is no failure."""
    port = Teller(["a", hang])
    front, guards = _front(port)
    async with aclosing(front.tell()) as stream:
        await anext(stream)

    assert guards.bulkhead is not None
    assert (1, 0, 0) == (port.closed, guards.bulkhead.in_use, guards.breakers["tell"]._consecutive)


async def test_a_forgotten_stream_is_closed() -> None:
    """A consumer that leaves the loop and never closes leaves nothing behind."""
    port = Teller(["a", hang])
    front, _ = _front(port)
    async for _ in front.tell():
        break
    await asyncio.sleep(0.01)

    assert 1 == port.closed


async def test_a_cancelled_consumer_cancels_the_provider() -> None:
    """In the middle of waiting for a piece."""
    port = Teller(["a", hang])
    front, _ = _front(port)
    task = asyncio.create_task(_collect(front.tell()))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    assert (True, 1) == (task.cancelled(), port.closed)


async def test_the_consumer_s_context_reaches_the_provider() -> None:
    """Correlation and deadline are the caller's."""
    seen: list[Context] = []

    async def look() -> None:
        seen.append(current())

    front, _ = _front(Teller([look, "a"]), without(timeouts={"stream_total_s": 7}))
    with entered(Context("c-1")):
        await _collect(front.tell())

    assert "c-1" == seen[0].correlation_id
    assert 6 < (seen[0].remaining_s() or 0) <= 7


async def test_a_first_piece_closes_the_breaker() -> None:
    """A long stream that finds the provider back does not keep everybody else waiting for its end."""
    port = Teller(*[[down()]] * 5, ["a", hang], ["b"])
    front, guards = _front(port, without("retry", breaker={"open_s": 0.01}))
    for _ in range(5):
        with pytest.raises(AdapterError):
            await _collect(front.tell())
    await asyncio.sleep(0.02)
    async with aclosing(front.tell()) as stream:
        await anext(stream)
        assert BreakerState.CLOSED is guards.breakers["tell"].state
        assert ["b"] == await _collect(front.tell())


async def test_a_session_is_held_open() -> None:
    """It is closed when the consumer leaves, in the task that opened it, and the place is given back then."""
    port = Teller(["session"])
    front, guards = _front(port)
    assert guards.bulkhead is not None
    async with front.open() as session:
        assert ("session", 0, 1) == (session, port.closed, guards.bulkhead.in_use)

    assert (1, 0) == (port.closed, guards.bulkhead.in_use)


async def test_an_error_inside_a_session_is_the_consumer_s() -> None:
    """It passes through as it is; the session is closed, and the provider is not blamed."""
    port = Teller(["session"])
    front, guards = _front(port)
    with pytest.raises(KeyError):
        async with front.open():
            raise KeyError

    assert (1, 0) == (port.closed, guards.breakers["open"]._consecutive)


async def test_opening_a_session_is_retried() -> None:
    """Until it is open, it is like any other call."""
    port = Teller([down()])
    front, _ = _front(port)
    with pytest.raises(AdapterError):
        async with front.open():
            pass

    assert 3 == port.opened
