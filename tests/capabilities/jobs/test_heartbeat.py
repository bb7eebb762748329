"""The heartbeat: takes over from whoever ended, and gives up when its own lease is gone."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from object_service.capabilities.jobs import heartbeat
from object_service.capabilities.jobs.heartbeat import EXIT_LOST, Heartbeat, Succession

EVERY_S = 0.005


@dataclass
class Scene:
    """A heartbeat among others, and what it did."""

    held: set[str] = field(default_factory=lambda: {"me"})
    lapsed: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    handed_over: list[str] = field(default_factory=list)
    away: Exception | None = None
    lost: threading.Event = field(default_factory=threading.Event)
    beaten: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    looked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    lease_s: float = EVERY_S * 6

    def renew(self, executor_id: str) -> bool:
        """Renew a lease."""
        try:
            if self.away is not None:
                raise self.away
            return executor_id in self.held
        finally:
            self.beaten.release()

    def end_lapsed(self, executor_id: str) -> None:
        """End what has lapsed."""
        self.held -= self.lapsed - {executor_id}
        self.looked.release()

    def holders(self) -> set[str]:
        """Return who is alive."""
        return set(self.held)

    def executors(self) -> set[str]:
        """Return who runs jobs."""
        return set(self.running)

    def hand_over(self, executor_id: str) -> int:
        """Note a hand-over."""
        self.handed_over.append(executor_id)
        self.running.discard(executor_id)
        return 1


@contextmanager
def _beating(scene: Scene) -> Iterator[None]:
    succession = Succession(executors=scene.executors, hand_over=scene.hand_over)
    beating = Heartbeat(scene, "me", succession, lost=scene.lost.set)  # type: ignore[arg-type]  # stands in for Leases
    beating.start()
    try:
        yield
    finally:
        beating.stop()


def _times(semaphore: threading.Semaphore, count: int) -> None:
    for _ in range(count):
        assert semaphore.acquire(timeout=5)


def _until(condition: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(EVERY_S)
    raise AssertionError("it did not come")


def test_whoever_has_no_lease_is_succeeded() -> None:
    """The jobs of executors without a lease are handed over; those of the living are not."""
    scene = Scene(held={"me", "alive", "late"}, lapsed={"late"}, running={"me", "alive", "late", "unknown"})
    with _beating(scene):
        _until(lambda: len(scene.handed_over) == 2)
        _times(scene.looked, 3)
    assert (["late", "unknown"], {"me", "alive"}) == (scene.handed_over, scene.running)


def test_nothing_is_taken_over_during_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that is cut off asks for nothing but its lease, and goes on as soon as the database answers."""
    scene = Scene()
    with _beating(scene), caplog.at_level("INFO"):
        _times(scene.looked, 2)
        scene.away = OSError("connection is bad")
        _until(lambda: "worker_cut_off" in caplog.messages)
        _times(scene.beaten, 3)  # a look that had begun has ended
        scene.running = {"silent"}
        while scene.beaten.acquire(blocking=False):
            pass
        _times(scene.beaten, 5)
        assert [] == scene.handed_over
        scene.away = None
        _until(lambda: scene.handed_over)
    assert (["silent"], False) == (scene.handed_over, scene.lost.is_set())
    assert ["worker_cut_off", "worker_reconnected"] == [one for one in caplog.messages if one.startswith("worker_")]


def test_a_worker_whose_lease_is_gone_stops() -> None:
    """Its jobs run elsewhere: it is told once, and beats no more."""
    scene = Scene()
    with _beating(scene):
        scene.held.clear()
        assert scene.lost.wait(5)
        _times(scene.beaten, 1)
        while scene.beaten.acquire(blocking=False):
            pass
        assert not scene.beaten.acquire(timeout=EVERY_S * 6)


def test_trouble_with_taking_over_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An error is told and tried again; the lease is renewed all the while."""
    scene = Scene(running={"gone"})
    failing = [ValueError("first"), ValueError("second")]
    hand_over = scene.hand_over

    def sometimes(executor_id: str) -> int:
        if failing:
            raise failing.pop()
        return hand_over(executor_id)

    scene.hand_over = sometimes  # type: ignore[method-assign]  # the one method that fails here
    with _beating(scene):
        _until(lambda: scene.handed_over)
    assert ["jobs_not_taken_over"] * 2 == [one.msg for one in caplog.records if one.msg == "jobs_not_taken_over"]


def test_leaving_says_start_me_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is the one that supervisors know as a passing failure."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    heartbeat.leave()
    assert [75] == codes == [EXIT_LOST]
