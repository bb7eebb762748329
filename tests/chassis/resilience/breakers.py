"""What the tests of the breaker share: limits, and a provider that is called through a breaker in virtual time."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Self

from chassis.doubles import VirtualClock
from object_service.chassis.resilience.breaker import Breaker, BreakerLimits, BreakerState, Permit

# The shipped defaults, with a window whose slices are one second long and a lease that is easy to tell from the rest.
LIMITS = BreakerLimits(
    ratio=0.5, minimum_calls=20, window_s=10.0, consecutive=5, open_s=5.0, max_open_s=60.0, probes=1, lease_s=3.0
)
BY_RATIO = replace(LIMITS, consecutive=0)
CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


class Provider:
    """Calls through a breaker, one after the other, on a clock that only the test moves."""

    def __init__(self, limits: BreakerLimits = LIMITS) -> None:
        """Begin closed, at zero."""
        self.clock = VirtualClock()
        self.breaker = Breaker(limits, self.clock.monotonic)

    @property
    def state(self) -> BreakerState:
        """Return the state of the breaker."""
        return self.breaker.state

    def permit(self) -> Permit:
        """Return the permit that the breaker must give."""
        permit = self.breaker.acquire()
        assert isinstance(permit, Permit)
        return permit

    def calls(self, outcomes: str) -> list[BreakerState]:
        """Make a call for each `+` (success), `-` (failure) and `.` (release); return the states after each."""
        states = []
        for outcome in outcomes:
            report = {"+": self.breaker.success, "-": self.breaker.failure, ".": self.breaker.release}[outcome]
            report(self.permit())
            states.append(self.state)
        return states

    def after(self, seconds: float) -> Self:
        """Let some time pass."""
        self.clock.seconds += seconds
        return self

    def permits(self, callers: int) -> list[Permit]:
        """Return the permits that so many callers get in one moment; the others must be refused."""
        answers = [self.breaker.acquire() for _ in range(callers)]
        return [answer for answer in answers if isinstance(answer, Permit)]


def tripped(limits: BreakerLimits = LIMITS) -> Provider:
    """Return a provider whose breaker opened at this moment."""
    provider = Provider(replace(limits, consecutive=5))
    provider.calls("-----")
    return provider


def half_open(limits: BreakerLimits = LIMITS) -> Provider:
    """Return a provider whose breaker has just let its open time pass."""
    return tripped(limits).after(limits.open_s)


def only_last_opens(states: Iterable[BreakerState]) -> bool:
    """Tell whether the breaker was closed after each call and open after the last."""
    *before, last = states
    return last is OPEN and set(before) <= {CLOSED}
