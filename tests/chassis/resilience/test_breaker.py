"""The circuit breaker at exact moments of a virtual time: what opens it, what does not, and what it answers then."""

from dataclasses import replace

import pytest

from chassis.doubles import VirtualClock
from chassis.resilience.breakers import BY_RATIO, CLOSED, HALF_OPEN, LIMITS, OPEN, Provider, only_last_opens, tripped
from object_service.chassis.resilience.breaker import BreakerLimits, Breakers, BreakerState, Permit


def test_a_new_breaker_lets_every_call_pass() -> None:
    """It begins closed, and any number of calls may run at once."""
    provider = Provider()

    assert CLOSED is provider.state
    assert None is provider.breaker.peek()
    assert 1000 == len(provider.permits(1000))


@pytest.mark.parametrize(
    ("limits", "outcomes"),
    [
        (LIMITS, "-----"),
        (LIMITS, "----+-----"),
        (LIMITS, "----.-"),
        (BY_RATIO, "+-" * 10),
        (BY_RATIO, "-" * 20),
        (BY_RATIO, "+" * 10 + "-" * 10),
        (BY_RATIO, "+" * 15 + "-" * 15),
        (BY_RATIO, "-" * 10 + "+" * 10 + "-"),
        (replace(LIMITS, consecutive=1), "+-"),
        (replace(BY_RATIO, minimum_calls=1), "-"),
        (replace(BY_RATIO, ratio=0.07, minimum_calls=100), "+" * 93 + "-" * 7),
        (replace(BY_RATIO, ratio=0.55, minimum_calls=100), "+" * 45 + "-" * 55),
    ],
    ids=[
        "five-in-a-row",
        "a-success-begins-the-row-anew",
        "a-release-does-not",
        "half-of-twenty",
        "twenty-of-twenty",
        "the-twentieth-call",
        "more-calls-than-needed",
        "judged-when-a-call-fails",
        "first-failure",
        "one-call",
        "seven-percent",
        "fifty-five-percent",
    ],
)
def test_it_opens_at_the_limit_and_not_before(limits: BreakerLimits, outcomes: str) -> None:
    """The failure that reaches a limit opens the breaker; none before it does."""
    provider = Provider(limits)

    assert only_last_opens(provider.calls(outcomes))


@pytest.mark.parametrize(
    ("limits", "outcomes"),
    [
        (LIMITS, "----+" * 3),
        (LIMITS, "." * 100),
        (LIMITS, "----" + "." * 100),
        (BY_RATIO, "-" * 19),
        (BY_RATIO, "-" * 19 + "." * 100),
        (BY_RATIO, "++-" * 100),
        (replace(BY_RATIO, ratio=1.0), "+" + "-" * 100),
        (replace(BY_RATIO, minimum_calls=101), "-" * 100),
    ],
    ids=[
        "four-in-a-row",
        "releases",
        "releases-in-a-row",
        "nineteen-calls",
        "releases-are-no-calls",
        "a-third",
        "one-success",
        "no-row-counts-when-off",
    ],
)
def test_it_stays_closed_below_the_limits(limits: BreakerLimits, outcomes: str) -> None:
    """What is neither often enough nor in a row does not open it; what was released never does."""
    provider = Provider(limits)

    assert {CLOSED} == set(provider.calls(outcomes))


@pytest.mark.parametrize("gap_s", [0.0, 0.01, 10.0, 3600.0], ids=["burst", "busy", "quiet", "hourly"])
def test_five_in_a_row_count_at_any_pace(gap_s: float) -> None:
    """The row has no window: a quiet service needs it most."""
    provider = Provider()

    assert only_last_opens([provider.after(gap_s).calls("-")[0] for _ in range(5)])


@pytest.mark.parametrize(
    ("begin_s", "age_s", "state"),
    [
        (0.0, 9.75, OPEN),
        (0.0, 10.0, CLOSED),
        (0.75, 9.0, OPEN),
        (0.75, 9.25, CLOSED),
        (1.75, 9.0, OPEN),
        (1.75, 9.25, CLOSED),
    ],
    ids=["within", "at-the-end", "late-in-its-slice", "slice-gone", "next-slice", "next-slice-gone"],
)
def test_the_window_forgets(begin_s: float, age_s: float, state: BreakerState) -> None:
    """Outcomes count for nine tenths of the window at least and for one window at most, tenth by tenth."""
    provider = Provider(BY_RATIO).after(begin_s)
    provider.calls("-" * 19)

    assert [state] == provider.after(age_s).calls("-")


@pytest.mark.parametrize("at_s", [0.0, 4.25, 4.3, 8.1], ids=["start", "within", "rounded-edge", "later-edge"])
def test_calls_of_one_moment_count_together(at_s: float) -> None:
    """At the edge of a slice too, where a quotient of floats lies on either side of it."""
    provider = Provider(replace(BY_RATIO, window_s=1.0)).after(at_s)

    assert only_last_opens(provider.calls("-" * 20))


def test_the_window_forgets_successes_too() -> None:
    """Old successes do not excuse failures of today."""
    provider = Provider(BY_RATIO)
    provider.calls("+" * 1000)

    assert only_last_opens(provider.after(10.0).calls("-" * 20))


@pytest.mark.parametrize("elapsed_s", [0.0, 1.5, 4.75], ids=["at-once", "soon", "late"])
def test_a_refusal_says_when_the_breaker_lets_a_probe_pass(elapsed_s: float) -> None:
    """Open, it tells the rest of the open time; asking changes nothing."""
    breaker = tripped().after(elapsed_s).breaker

    assert [5.0 - elapsed_s] * 4 == [breaker.peek(), breaker.acquire(), breaker.acquire(), breaker.peek()]
    assert OPEN is breaker.state


def test_it_is_half_open_after_exactly_the_open_time() -> None:
    """Not a moment earlier, and without anybody asking."""
    provider = tripped().after(4.75)
    assert OPEN is provider.state

    assert HALF_OPEN is provider.after(0.25).state
    assert None is provider.breaker.peek()


def test_a_hundred_calls_that_fail_together_trip_it_once() -> None:
    """The failures behind the fifth neither prolong nor double the open time."""
    provider = Provider()
    for permit in provider.permits(100):
        provider.after(0.01).breaker.failure(permit)

    assert pytest.approx(5.0 - 0.95) == provider.breaker.peek()


def test_each_operation_has_a_breaker_of_its_own() -> None:
    """An operation that fails does not stop the others of the same provider."""
    breakers = Breakers(replace(LIMITS, consecutive=1), VirtualClock().monotonic)

    permit = breakers["generate"].acquire()
    assert isinstance(permit, Permit)

    breakers["transcribe"].failure(permit)  # not given out by this one
    breakers["generate"].failure(permit)

    assert {"generate": OPEN, "transcribe": CLOSED} == {name: breaker.state for name, breaker in breakers.items()}
