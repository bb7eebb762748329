"""The circuit breaker against a reference: whatever happens in whatever order, both give the same answers.

The reference keeps every event since the breaker last closed, with its time in whole ticks, and derives each answer
from that history anew; it shares neither code nor counters with the breaker.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chassis.doubles import VirtualClock
from object_service.chassis.resilience.breaker import Breaker, BreakerLimits, BreakerState, Permit

TICK_S = 0.25  # a power of two: the breaker's floats stay exact


@dataclass(eq=False)
class _Call:
    """A call as the reference sees it; a probe when it began after an opening."""

    begun: int
    history: "_History"
    opening: int | None
    done: bool = False


@dataclass(eq=False)
class _History:
    """What happened since the breaker last closed."""

    outcomes: list[tuple[int, bool]] = field(default_factory=list)
    openings: list[int] = field(default_factory=list)
    probes: list[_Call] = field(default_factory=list)
    successes: list[int] = field(default_factory=list)


class _Reference:
    """The rules of the breaker, told over a history; all times are ticks."""

    def __init__(self, limits: BreakerLimits) -> None:
        self.limits = limits
        self.now = 0
        self.history = _History()

    def reopens(self) -> int:
        """Return the tick at which the open time of the last opening ends."""
        first, cap = _ticks(self.limits.open_s), _ticks(self.limits.max_open_s)
        open_ticks = [max(first, min(first << repeats, cap)) for repeats in range(len(self.history.openings))]
        return self.history.openings[-1] + open_ticks[-1]

    def state(self) -> BreakerState:
        if not self.history.openings:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.now < self.reopens() else BreakerState.HALF_OPEN

    def lease_ends(self) -> list[int]:
        """Return when the leases of the probes end that are under way."""
        begun = [
            call.begun for call in self.history.probes if call.opening == len(self.history.openings) and not call.done
        ]
        return [end for at in begun if (end := at + _ticks(self.limits.lease_s)) > self.now]

    def answer(self) -> int | None:
        """Return None when a call may pass, otherwise for how many ticks it may not."""
        if self.state() is BreakerState.CLOSED:
            return None
        if self.state() is BreakerState.OPEN:
            return self.reopens() - self.now
        ends = self.lease_ends()
        free = self.limits.probes - len(ends) - self.history.successes.count(len(self.history.openings))
        return None if free > 0 else min(min(ends) - self.now, _ticks(self.limits.open_s))

    def begin(self) -> _Call:
        call = _Call(self.now, self.history, len(self.history.openings) or None)
        self.history.probes.append(call)
        return call

    def report(self, call: _Call, verdict: str) -> None:
        """Note what a call says about the provider, if it still has a say."""
        current = call.history is self.history and call.opening == (len(self.history.openings) or None)
        if call.done or not current:
            return
        if call.opening is None:
            if verdict != "release":
                self.history.outcomes.append((self.now, verdict == "success"))
            if verdict == "failure" and self.too_many():
                self.history.openings.append(self.now)
        elif self.now < call.begun + _ticks(self.limits.lease_s):
            call.done = True
            if verdict == "failure":
                self.history.openings.append(self.now)
            elif verdict == "success":
                self.history.successes.append(call.opening)
                if self.history.successes.count(call.opening) == self.limits.probes:
                    self.history = _History()

    def too_many(self) -> bool:
        """Judge the row and the window: the slice of now and the nine before it."""
        good = [index for index, (_, succeeded) in enumerate(self.history.outcomes) if succeeded]
        row = len(self.history.outcomes) - 1 - good[-1] if good else len(self.history.outcomes)
        if self.limits.consecutive and row >= self.limits.consecutive:
            return True
        slice_ticks = _ticks(self.limits.window_s) // 10
        begins = (self.now // slice_ticks - 9) * slice_ticks
        window = [succeeded for at, succeeded in self.history.outcomes if at >= begins]
        share = Fraction(window.count(False), len(window))
        return len(window) >= self.limits.minimum_calls and share >= Fraction(str(self.limits.ratio))


def _ticks(seconds: float) -> int:
    return int(seconds / TICK_S)


LIMITS = st.builds(
    BreakerLimits,
    ratio=st.sampled_from([0.1, 0.3, 0.5, 0.55, 0.7, 1.0]),
    minimum_calls=st.integers(1, 12),
    window_s=st.sampled_from([2.5, 5.0, 10.0]),
    consecutive=st.sampled_from([0, 1, 3, 5]),
    open_s=st.sampled_from([0.25, 1.0, 5.0]),
    max_open_s=st.sampled_from([0.5, 5.0, 6.0, 60.0]),
    probes=st.integers(1, 3),
    lease_s=st.sampled_from([0.5, 2.0, 30.0]),
)
VERDICTS = st.sampled_from(["success", "failure", "release"])


class BreakerAgainstReference(RuleBasedStateMachine):
    """Random calls, reports in any order and passing time."""

    @initialize(limits=LIMITS)
    def begin(self, limits: BreakerLimits) -> None:
        """Build both with the same limits."""
        self.clock = VirtualClock()
        self.breaker = Breaker(limits, self.clock.monotonic)
        self.reference = _Reference(limits)
        self.calls: list[tuple[Permit, _Call]] = []

    def pass_time(self, ticks: int) -> None:
        """Move both clocks."""
        self.reference.now += ticks
        self.clock.seconds = self.reference.now * TICK_S

    def report_as(self, verdict: str, permit: Permit, call: _Call) -> None:
        """Report to both."""
        {"success": self.breaker.success, "failure": self.breaker.failure, "release": self.breaker.release}[verdict](
            permit
        )
        self.reference.report(call, verdict)

    @rule(ticks=st.integers(1, 50))
    def wait(self, ticks: int) -> None:
        """Let some time pass."""
        self.pass_time(ticks)

    @rule(early=st.integers(0, 1))
    def wait_as_told(self, early: int) -> None:
        """Let exactly the time pass that a refusal named, or one tick less."""
        self.pass_time(max(0, (self.reference.answer() or 0) - early))

    @precondition(lambda self: self.reference.history.outcomes)
    @rule(which=st.integers(0, 63), early=st.integers(0, 1))
    def wait_for_the_window(self, which: int, early: int) -> None:
        """Let the time pass after which an outcome is forgotten, or one tick less."""
        outcomes, slice_ticks = self.reference.history.outcomes, _ticks(self.reference.limits.window_s) // 10
        forgotten = (outcomes[which % len(outcomes)][0] // slice_ticks + 10) * slice_ticks
        self.pass_time(max(0, forgotten - early - self.reference.now))

    @rule(callers=st.integers(1, 8))
    def acquire(self, callers: int) -> None:
        """Ask for permits, and keep those that are given."""
        for _ in range(callers):
            refusal = self.reference.answer()
            answer = self.breaker.acquire()
            assert (refusal is None) == isinstance(answer, Permit)
            if isinstance(answer, Permit):
                self.calls.append((answer, self.reference.begin()))
            else:
                assert refusal is not None
                assert refusal * TICK_S == answer

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 63), verdict=VERDICTS)
    def report(self, which: int, verdict: str) -> None:
        """Report any call that has been let through, however long ago."""
        self.report_as(verdict, *self.calls.pop(which % len(self.calls)))

    @precondition(lambda self: self.calls)
    @rule(verdict=VERDICTS)
    def report_all(self, verdict: str) -> None:
        """Report all calls that are under way, or were lost."""
        while self.calls:
            self.report_as(verdict, *self.calls.pop())

    @rule(verdicts=st.lists(st.sampled_from(["success", "failure", "failure", "release"]), min_size=1, max_size=12))
    def call(self, verdicts: list[str]) -> None:
        """Make calls that report at once, as long as they are let through."""
        for verdict in verdicts:
            permit = self.breaker.acquire()
            if not isinstance(permit, Permit):
                break
            self.report_as(verdict, permit, self.reference.begin())

    @rule(times=st.integers(1, 3))
    def ask(self, times: int) -> None:
        """Ask without taking anything: the advice is the same, however often."""
        refusal = self.reference.answer()

        for _ in range(times):
            assert (None if refusal is None else refusal * TICK_S) == self.breaker.peek()

    @precondition(lambda self: self.reference.history.openings)
    @rule()
    def recover(self) -> None:
        """Let the provider be well for as long as it takes to close the breaker."""
        while self.reference.history.openings:
            self.pass_time(self.reference.answer() or 0)
            self.call(["success"])

    @invariant()
    def same_state(self) -> None:
        """The state is the same at all times, without anybody asking."""
        assert self.reference.state() is self.breaker.state


TestBreakerAgainstReference = BreakerAgainstReference.TestCase
TestBreakerAgainstReference.settings = settings(max_examples=400, stateful_step_count=40)
