"""The circuit breaker on its way back: probes, leases, late reports, and how long it stays open."""

from dataclasses import replace

import pytest

from chassis.resilience.breakers import (
    BY_RATIO,
    CLOSED,
    HALF_OPEN,
    LIMITS,
    OPEN,
    Provider,
    half_open,
    only_last_opens,
    tripped,
)
from object_service.chassis.resilience.breaker import BreakerState


@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_admits_exactly_the_probes(probes: int) -> None:
    """Of 1,000 callers in one moment just the configured number reach the provider, however often it is tried."""
    provider = half_open(replace(LIMITS, probes=probes))
    breaker = provider.breaker

    permits = provider.permits(1000)
    assert probes == len(permits)

    for done, permit in enumerate(permits, start=1):
        assert HALF_OPEN is breaker.state
        breaker.success(permit)
        assert (1000 if done == probes else 0) == len(provider.permits(1000))
    assert CLOSED is breaker.state


@pytest.mark.parametrize("probes", [1, 3])
def test_a_failed_probe_opens_it_again_at_once(probes: int) -> None:
    """One failure is enough, and what the other probes report no longer counts."""
    provider = half_open(replace(LIMITS, probes=probes))
    first, *others = provider.permits(1000)

    provider.breaker.failure(first)
    assert 10.0 == provider.breaker.peek()
    for permit in others:
        provider.breaker.failure(permit)
        provider.breaker.success(permit)
    assert (OPEN, 10.0) == (provider.state, provider.breaker.peek())


def test_one_success_after_a_failed_round_is_not_two() -> None:
    """Successes of an earlier half-open round are forgotten."""
    provider = half_open(replace(LIMITS, probes=2))
    assert [HALF_OPEN, OPEN] == provider.calls("+-")

    assert [HALF_OPEN, CLOSED] == provider.after(10.0).calls("++")


@pytest.mark.parametrize(
    ("open_s", "max_open_s", "expected"),
    [(5.0, 60.0, [5, 10, 20, 40, 60, 60]), (5.0, 5.0, [5, 5, 5]), (5.0, 7.0, [5, 7, 7]), (90.0, 60.0, [90, 90, 90])],
    ids=["default", "constant", "capped", "cap-below-the-first"],
)
def test_the_open_time_doubles_up_to_the_cap(open_s: float, max_open_s: float, expected: list[float]) -> None:
    """Each failed probe doubles it; it never shrinks below the first."""
    provider = tripped(replace(LIMITS, open_s=open_s, max_open_s=max_open_s))
    times = []
    for _ in expected:
        refusal_s = provider.breaker.peek()
        assert refusal_s is not None
        times.append(refusal_s)
        provider.after(refusal_s).calls("-")

    assert expected == times


def test_closing_begins_everything_anew() -> None:
    """After a successful probe the open time is the first again, and neither window nor row remember anything."""
    provider = half_open()
    provider.calls("-")
    assert [CLOSED] == provider.after(10.0).calls("+")

    assert only_last_opens(provider.calls("-----"))
    assert 5.0 == provider.breaker.peek()


def test_closing_empties_the_window() -> None:
    """What failed before the trip is not held against a provider that has recovered."""
    provider = Provider(BY_RATIO)
    provider.calls("-" * 20)
    assert [CLOSED] == provider.after(5.0).calls("+")

    assert only_last_opens(provider.calls("-" * 20))


def test_a_released_probe_frees_its_place() -> None:
    """A cancelled probe says nothing about the provider and lets the next caller probe."""
    provider = half_open()

    for _ in range(10):
        (permit,) = provider.permits(1000)
        provider.breaker.release(permit)
        assert HALF_OPEN is provider.state
    assert [CLOSED] == provider.calls("+")


def test_a_lost_probe_frees_its_place_when_its_lease_ends() -> None:
    """Nobody has to report for the breaker to go on."""
    provider = half_open()
    provider.permit()

    assert 0.25 == provider.after(2.75).breaker.acquire()
    assert 1 == len(provider.after(0.25).permits(1000))


@pytest.mark.parametrize("asked", [False, True], ids=["first-to-come", "place-given-on"])
@pytest.mark.parametrize("late_s", [3.0, 100.0], ids=["just-late", "very-late"])
@pytest.mark.parametrize("verdict", ["success", "failure", "release"])
def test_a_lost_probe_that_reports_late_does_not_count(verdict: str, late_s: float, *, asked: bool) -> None:
    """From the end of its lease on a probe has no say, whether or not somebody took its place meanwhile."""
    provider = half_open()
    lost = provider.permit()
    provider.after(late_s)
    taken = provider.permits(1 if asked else 0)

    getattr(provider.breaker, verdict)(lost)

    assert HALF_OPEN is provider.state
    assert 1 - len(taken) == len(provider.permits(1000))


def test_a_probe_that_reports_before_its_lease_ends_counts() -> None:
    """The last moment is early enough."""
    provider = half_open()
    permit = provider.permit()
    provider.after(2.75).breaker.success(permit)

    assert CLOSED is provider.state


@pytest.mark.parametrize(
    ("lease_s", "expected"), [(3.0, [2.0, 1.0]), (30.0, [5.0, 5.0])], ids=["lease-first", "open-time-first"]
)
def test_a_refusal_in_half_open_names_the_next_free_place(lease_s: float, expected: list[float]) -> None:
    """It is the end of the oldest lease, but never more than the open time: most probes report sooner."""
    provider = half_open(replace(LIMITS, probes=2, lease_s=lease_s))
    provider.permit()
    provider.after(1.0).permit()

    refusals = [provider.breaker.acquire(), provider.after(1.0).breaker.peek()]
    assert expected == refusals


@pytest.mark.parametrize("verdict", ["success", "failure", "release"])
@pytest.mark.parametrize("state", list(BreakerState), ids=lambda state: state.name.lower())
def test_reports_from_before_the_last_transition_are_dropped(state: BreakerState, verdict: str) -> None:
    """A slow success does not close an open breaker, a slow failure neither opens nor prolongs it."""
    provider = Provider()
    stale = provider.permits(100)
    provider.calls("-----")
    if state is not OPEN:
        provider.after(5.0)
    if state is CLOSED:
        provider.calls("+")
        provider.calls("----")

    for permit in stale:
        getattr(provider.breaker, verdict)(permit)

    assert state is provider.state
    assert (5.0 if state is OPEN else None) == provider.breaker.peek()
    assert [OPEN] == provider.after(5.0).calls("-")


def test_a_permit_tells_whether_its_call_is_a_probe() -> None:
    """Only what a half-open breaker lets through is a probe."""
    assert (False, True) == (Provider().permit().probes, half_open().permit().probes)
