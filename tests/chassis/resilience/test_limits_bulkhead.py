"""The bulkhead under callers that come, are cancelled and leave in any order."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_service.chassis.resilience.limits import Bulkhead


class _Callers:
    """Callers of a bulkhead, numbered as they come; each keeps its place until it is told to leave."""

    def __init__(self, max_concurrent: int, max_queue: int) -> None:
        self.bulkhead = Bulkhead(max_concurrent, max_queue)
        self.most = (max_concurrent, max_queue)
        self.tasks: list[asyncio.Task[None]] = []
        self.inside: list[int] = []
        self.entered: list[int] = []
        self.refused: list[int] = []
        self.queued: list[int] = []

    async def come(self) -> int:
        """Send a new caller, which asks before this returns."""
        number = len(self.tasks)
        self.tasks.append(asyncio.create_task(self._call(number)))
        await asyncio.sleep(0)
        return number

    async def _call(self, number: int) -> None:
        if not self.bulkhead.try_acquire():
            if self.bulkhead.full():
                self.refused.append(number)
                return
            self.queued.append(number)
            await self.bulkhead.wait()
        self.inside.append(number)
        self.entered.append(number)

    def leave(self, which: int = 0) -> None:
        """Let one of those inside give its place back."""
        if self.inside:
            self.inside.pop(which % len(self.inside))
            self.bulkhead.release()

    def cancel(self, number: int) -> None:
        """Cancel a caller; no effect on one that is inside already."""
        self.tasks[number].cancel()

    def waiting(self) -> list[int]:
        """Return the callers that wait and have not been cancelled."""
        return [
            number for number in self.queued if not self.tasks[number].done() and not self.tasks[number].cancelling()
        ]

    async def settle(self) -> None:
        """Let everybody do what they can do."""
        for _ in range(len(self.tasks) + 2):
            await asyncio.sleep(0)

    def check(self) -> None:
        """Check what holds at every moment."""
        max_concurrent, max_queue = self.most
        assert len(self.inside) <= self.bulkhead.in_use <= max_concurrent
        assert 0 <= self.bulkhead.queued <= max_queue

    def check_settled(self) -> None:
        """Check what holds when everybody has done what they could: nothing is lost and nobody waits in vain."""
        self.check()
        assert (len(self.inside), len(self.waiting())) == (self.bulkhead.in_use, self.bulkhead.queued)
        assert not self.waiting() or self.bulkhead.in_use == self.most[0]


STEPS = st.lists(
    st.one_of(
        st.just(("come", 0)),
        st.just(("pause", 0)),
        st.tuples(st.sampled_from(["leave", "cancel", "cancel-waiting", "leave-and-cancel-first"]), st.integers(0, 9)),
    ),
    min_size=5,
    max_size=60,
)


async def _scenario(max_concurrent: int, max_queue: int, steps: Sequence[tuple[str, int]]) -> None:
    callers = _Callers(max_concurrent, max_queue)
    for step, which in steps:
        waiting = callers.waiting()
        if step == "come":
            await callers.come()
        elif step == "pause":
            await callers.settle()
            callers.check_settled()
        elif step == "cancel" and callers.tasks:
            callers.cancel(which % len(callers.tasks))
        elif step == "cancel-waiting" and waiting:
            callers.cancel(waiting[which % len(waiting)])
        elif step.startswith("leave"):
            callers.leave(which)
            if step == "leave-and-cancel-first" and waiting:
                callers.cancel(waiting[0])
        callers.check()

    await callers.settle()
    callers.check_settled()
    while callers.inside:
        callers.leave()
        await callers.settle()
    assert (0, 0) == (callers.bulkhead.in_use, callers.bulkhead.queued)
    assert all(task.done() for task in callers.tasks)
    from_queue = [number for number in callers.entered if number in callers.queued]
    assert sorted(from_queue) == from_queue
    ended = {*callers.entered, *callers.refused}
    assert {number for number, task in enumerate(callers.tasks) if not task.cancelled()} == ended


@given(max_concurrent=st.integers(1, 4), max_queue=st.integers(0, 5), steps=STEPS)
@settings(max_examples=300)
def test_nothing_is_lost_under_any_interleaving(
    max_concurrent: int, max_queue: int, steps: list[tuple[str, int]]
) -> None:
    """Never more inside or waiting than allowed; first come, first served; at the end every place is free again."""
    asyncio.run(_scenario(max_concurrent, max_queue, steps))


async def test_callers_beyond_places_and_queue_are_refused() -> None:
    """With 5 places and a queue of 5, 10 of 20 callers are refused at once; the others get in as they came."""
    callers = _Callers(5, 5)
    for _ in range(20):
        await callers.come()
    assert ([*range(5)], [*range(5, 10)], [*range(10, 20)]) == (callers.inside, callers.queued, callers.refused)
    assert (5, 5) == (callers.bulkhead.in_use, callers.bulkhead.queued)

    while callers.inside:
        callers.leave()
        await callers.settle()
        callers.check_settled()
    assert [*range(10)] == callers.entered


@pytest.mark.parametrize(("in_use", "full"), [(0, True), (1, True)], ids=["free", "taken"])
async def test_without_a_queue_there_is_a_place_or_none(in_use: int, *, full: bool) -> None:
    """A queue of 0 is always full, but whoever finds a free place needs none."""
    callers = _Callers(2, 0)
    for _ in range(in_use):
        await callers.come()

    assert (full, True) == (callers.bulkhead.full(), callers.bulkhead.try_acquire())


async def test_a_newcomer_does_not_overtake() -> None:
    """A place on its way to the one who waited longest is not free for somebody who asks in that moment."""
    callers = _Callers(1, 2)
    for _ in range(3):
        await callers.come()

    callers.leave()
    assert not callers.bulkhead.try_acquire()
    assert (1, 1) == (callers.bulkhead.in_use, callers.bulkhead.queued)
    await callers.settle()
    assert [1] == callers.inside


@pytest.mark.parametrize(
    "moment", ["while it waits", "before the hand-over", "in the hand-over", "both in the hand-over"]
)
async def test_a_cancelled_caller_passes_its_turn_on(moment: str) -> None:
    """Whenever it is cancelled, it gets no place and the next in the queue gets the one it would have had."""
    callers = _Callers(1, 3)
    for _ in range(4):
        await callers.come()

    if moment in {"while it waits", "before the hand-over"}:
        callers.cancel(1)
    if moment == "while it waits":
        await callers.settle()
        assert [2, 3] == callers.waiting()
        callers.check_settled()
    callers.leave()
    callers.cancel(1)
    if moment == "both in the hand-over":
        callers.cancel(2)
    await callers.settle()

    assert callers.tasks[1].cancelled()
    assert [3 if moment == "both in the hand-over" else 2] == callers.inside
    callers.check_settled()


async def test_a_place_handed_to_the_last_who_is_cancelled_is_free() -> None:
    """When nobody is left to take it, the place goes back."""
    callers = _Callers(1, 1)
    for _ in range(2):
        await callers.come()

    callers.leave()
    callers.cancel(1)
    await callers.settle()

    assert (0, 0) == (callers.bulkhead.in_use, callers.bulkhead.queued)
    assert callers.bulkhead.try_acquire()
