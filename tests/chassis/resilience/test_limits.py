"""The rate limiter and the retry budget: what they promise in numbers, on a virtual clock and seeded chance."""

from collections.abc import Sequence
from math import inf, nextafter
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chassis.doubles import VirtualClock
from object_service.chassis.resilience.limits import RateLimiter, RetryBudget

SLACK = 1e-6  # of a call, for sums of floats
RATES = st.floats(0.1, 1000.0)
BURSTS = st.integers(1, 20)
WAITS = st.floats(0.0, 5.0)
UPTIMES = st.sampled_from([0.0, 1.0, 1e6])
GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 3.0)), min_size=1, max_size=60)
"""How long after the one before each caller comes, in mean distances of calls."""


def _begun(limiter: RateLimiter, clock: VirtualClock, gaps_s: Sequence[float], max_wait_s: float) -> list[float | None]:
    """Let callers come one after the other; return when each begins, None for those that were refused."""
    begins: list[float | None] = []
    for gap_s in gaps_s:
        clock.seconds += gap_s
        taken, wait_s = limiter.reserve(max_wait_s)
        assert not taken or 0 <= wait_s <= max_wait_s
        begins.append(clock.seconds + wait_s if taken else None)
    return begins


def _limiter(rate_per_s: float, burst: int, begin_s: float = 0.0) -> tuple[RateLimiter, VirtualClock]:
    clock = VirtualClock()
    clock.seconds = begin_s
    return RateLimiter(rate_per_s, burst, clock.monotonic), clock


async def test_twenty_five_calls_at_twenty_per_second_end_after_one_second() -> None:
    """A burst of 5 begins at once, the other 20 in distances of 0.05 s."""
    limiter, clock = _limiter(20, 5)
    for _ in range(25):
        taken, wait_s = limiter.reserve(2.0)
        assert taken
        await clock.sleep(wait_s)

    assert pytest.approx([0.0] * 5 + [0.05] * 20) == clock.pauses
    assert pytest.approx(1.0, abs=1e-12) == clock.seconds


def test_callers_that_come_together_begin_one_after_the_other() -> None:
    """Those that wait get moments in equal distances; those that would wait too long are refused."""
    limiter, clock = _limiter(20, 5)

    begins = _begun(limiter, clock, [0.0] * 30, 0.5)

    assert pytest.approx([0.0] * 5 + [0.05 * place for place in range(1, 11)]) == begins[:15]
    assert [None] * 15 == begins[15:]


@given(rate_per_s=RATES, burst=BURSTS, max_wait_s=WAITS, gaps=GAPS, begin_s=UPTIMES)
def test_no_window_holds_more_than_burst_and_rate_allow(
    rate_per_s: float, burst: int, max_wait_s: float, gaps: list[float], begin_s: float
) -> None:
    """In every window of w seconds at most `burst + rate x w` calls begin, in the order in which they were asked."""
    limiter, clock = _limiter(rate_per_s, burst, begin_s)

    begins = _begun(limiter, clock, [gap / rate_per_s for gap in gaps], max_wait_s)

    begun = [at for at in begins if at is not None]
    assert sorted(begun) == begun
    for first, begin in enumerate(begun):
        for last, end in enumerate(begun[first:], start=first):
            assert last - first + 1 <= burst + rate_per_s * (end - begin) + SLACK


@given(rate_per_s=RATES, burst=BURSTS, max_wait_s=WAITS, gaps=GAPS)
def test_a_refused_call_takes_no_place(rate_per_s: float, burst: int, max_wait_s: float, gaps: list[float]) -> None:
    """All others begin at the same moments as if those that are refused had never asked."""
    gaps_s = [gap / rate_per_s for gap in gaps]
    limiter, clock = _limiter(rate_per_s, burst)
    begins = _begun(limiter, clock, gaps_s, max_wait_s)

    unasked, clock = _limiter(rate_per_s, burst)
    again: list[float | None] = []
    for gap_s, begin in zip(gaps_s, begins, strict=True):
        clock.seconds += gap_s
        again.append(None if begin is None else clock.seconds + unasked.reserve(inf)[1])

    assert begins == again


@given(rate_per_s=RATES, burst=BURSTS, gaps=GAPS, begin_s=UPTIMES)
def test_a_call_is_delayed_no_longer_than_needed(
    rate_per_s: float, burst: int, gaps: list[float], begin_s: float
) -> None:
    """A call that waits begins when some window is exactly full; any earlier would break the promise."""
    limiter, clock = _limiter(rate_per_s, burst, begin_s)
    begun: list[float] = []
    for gap in gaps:
        (begin,) = _begun(limiter, clock, [gap / rate_per_s], inf)
        assert begin is not None
        begun.append(begin)
        counts = [len(begun) - first - rate_per_s * (begin - earlier) for first, earlier in enumerate(begun)]
        assert begin == clock.seconds or max(counts) >= burst - SLACK * max(1.0, rate_per_s)


@given(rate_per_s=RATES, burst=BURSTS, max_wait_s=WAITS, gaps=GAPS, begin_s=UPTIMES)
def test_the_hinted_time_is_enough_and_not_too_long(
    rate_per_s: float, burst: int, max_wait_s: float, gaps: list[float], begin_s: float
) -> None:
    """Who was refused and asks again after the named seconds gets a place, a little earlier does not."""
    limiter, clock = _limiter(rate_per_s, burst, begin_s)
    _begun(limiter, clock, [gap / rate_per_s for gap in gaps], inf)
    taken, hint_s = limiter.reserve(max_wait_s)
    assume(not taken and hint_s > 1e-6)

    assert 0 < hint_s
    clock.seconds += hint_s - 1e-7
    assert not limiter.reserve(max_wait_s)[0]
    clock.seconds += 2e-7
    assert limiter.reserve(max_wait_s)[0]


def test_the_longest_wait_is_inclusive() -> None:
    """A wait of exactly `max_wait_s` is taken, the next longer one refused with its excess."""
    limiter, _ = _limiter(4, 1)

    assert [(True, 0.0), (True, 0.25), (True, 0.5), (False, 0.25)] == [limiter.reserve(0.5) for _ in range(4)]
    assert (True, 0.75) == limiter.reserve(0.75)
    assert (False, 1.0 - nextafter(1.0, 0.0)) == limiter.reserve(nextafter(1.0, 0.0))


def test_idle_time_restores_the_burst_and_no_more() -> None:
    """After a pause of any length `burst` calls begin at once, not those of the whole pause."""
    limiter, clock = _limiter(2, 3)
    _begun(limiter, clock, [0.0] * 3, 0.0)
    clock.seconds += 3600.0

    assert [3600.0] * 3 + [None] * 2 == _begun(limiter, clock, [0.0] * 5, 0.0)


def _call(budget: RetryBudget, fails: Sequence[bool], *, throttled: bool = False) -> tuple[bool, int]:
    """Make one call whose attempts fail as given; return whether it succeeded and how many retries it made."""
    costs: list[int] = []
    for failed in fails:
        if not failed:
            if costs:
                budget.refund(sum(costs))
            else:
                budget.first_success()
            return True, len(costs)
        if len(costs) == len(fails) - 1:
            break
        cost = budget.acquire(throttled=throttled)
        if cost is None:
            break
        costs.append(cost)
    return False, len(costs)


@pytest.mark.parametrize(("throttled", "extra"), [(False, 35), (True, 100)], ids=["failing", "throttled"])
def test_an_outage_costs_a_bounded_number_of_retries(*, throttled: bool, extra: int) -> None:
    """Of 600 calls with 3 attempts each at most 36 + 1 % extra attempts reach a dead provider."""
    budget = RetryBudget(500, 14, 5)

    outcomes = [_call(budget, [True] * 3, throttled=throttled) for _ in range(600)]

    assert extra == sum(retries for _, retries in outcomes)
    assert throttled or extra <= 36 + 0.01 * 600
    assert [0] * 500 == [retries for _, retries in outcomes[100:]]


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_failures_stays_hidden(seed: int) -> None:
    """At 10 % random failures and 3 attempts at least 99.8 % of the calls succeed, in the long run too."""
    budget, calls = RetryBudget(500, 14, 5), 100_000
    chance = Random(seed)  # noqa: S311 - a simulation that is the same in every run

    succeeded = sum(_call(budget, [chance.random() < 0.1 for _ in range(3)])[0] for _ in range(calls))

    assert succeeded / calls >= 0.998


@given(
    capacity=st.integers(1, 100),
    cost=st.integers(1, 30),
    throttle_cost=st.integers(1, 30),
    calls=st.lists(st.tuples(st.lists(st.booleans(), min_size=3, max_size=3), st.booleans()), max_size=60),
)
def test_the_tokens_stay_within_their_bounds(
    capacity: int, cost: int, throttle_cost: int, calls: list[tuple[list[bool], bool]]
) -> None:
    """Never below none and never above the capacity; whole calls that end well never cost anything."""
    budget = RetryBudget(capacity, cost, throttle_cost)
    for fails, throttled in calls:
        before = budget.tokens
        succeeded, retries = _call(budget, fails, throttled=throttled)
        spent = retries * (throttle_cost if throttled else cost)
        earned = min(capacity - before, 0 if retries else 1)
        assert (earned if succeeded else -spent) == budget.tokens - before
        assert 0 <= budget.tokens <= capacity


def test_a_retry_is_paid_for_or_refused() -> None:
    """The price depends on the failure; the last tokens buy what they suffice for, and a refusal takes none."""
    budget = RetryBudget(20, 14, 5)

    assert [14, None, 5, None] == [budget.acquire(throttled=throttled) for throttled in (False, False, True, True)]
    assert 1 == budget.tokens


def test_a_refund_never_exceeds_the_capacity() -> None:
    """What others have earned meanwhile is not paid twice."""
    budget = RetryBudget(20, 14, 5)
    cost = budget.acquire(throttled=False)
    assert cost == 14
    for _ in range(100):
        budget.first_success()
    assert 20 == budget.tokens

    budget.refund(cost)
    assert 20 == budget.tokens
