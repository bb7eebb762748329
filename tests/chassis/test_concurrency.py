"""The bridge to blocking code: bounded threads, callers that are let go at once."""

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from object_service.chassis.concurrency import BlockingBridge

WORD: ContextVar[str] = ContextVar("word", default="none")


class _Gate:
    """A function that blocks until it is opened, and counts who is inside."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.entered.release()
        self.open.wait(10)
        return "done"


async def _until_entered(gate: _Gate) -> None:
    assert await asyncio.to_thread(gate.entered.acquire, timeout=10)


async def test_results_and_exceptions_come_back() -> None:
    """What the function returns or raises reaches the caller, and it sees the caller's context."""
    bridge = BlockingBridge(1)
    WORD.set("mine")

    assert "mine" == await bridge.run(WORD.get)
    with pytest.raises(ZeroDivisionError):
        await bridge.run(lambda: 1 // 0)
    await bridge.aclose()


async def test_the_loop_stays_free() -> None:
    """The function runs in another thread."""
    bridge = BlockingBridge(1)

    assert threading.get_ident() != await bridge.run(threading.get_ident)
    await bridge.aclose()


async def test_a_cancelled_caller_is_let_go_at_once_and_its_place_only_later() -> None:
    """The thread cannot be stopped: until it ends, nobody else gets its place."""
    bridge, gate = BlockingBridge(1), _Gate()
    caller = asyncio.create_task(bridge.run(gate))
    await _until_entered(gate)
    begun = time.monotonic()

    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert time.monotonic() - begun < 5

    waiting = asyncio.create_task(bridge.run(lambda: "next"))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert set() == done
    gate.open.set()
    assert "next" == await waiting
    await bridge.aclose()


async def test_so_many_run_at_once_and_no_more() -> None:
    """A further call begins only when a place is free; one that is cancelled while it waits never runs."""
    bridge, gate, extra = BlockingBridge(2), _Gate(), _Gate()
    running = [asyncio.create_task(bridge.run(gate)) for _ in range(2)]
    await _until_entered(gate)
    await _until_entered(gate)
    third = asyncio.create_task(bridge.run(extra))
    await asyncio.sleep(0.02)
    assert 0 == extra.calls

    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    gate.open.set()

    assert ["done", "done"] == await asyncio.gather(*running)
    await bridge.aclose()
    assert 0 == extra.calls


async def test_closing_waits_for_threads() -> None:
    """After the close no function runs any more."""
    bridge, gate = BlockingBridge(1), _Gate()
    running = asyncio.create_task(bridge.run(gate))
    await _until_entered(gate)
    closing = asyncio.create_task(bridge.aclose())
    done, _ = await asyncio.wait([closing], timeout=0.05)
    assert set() == done

    gate.open.set()
    await closing

    assert "done" == await running
    await bridge.aclose()
