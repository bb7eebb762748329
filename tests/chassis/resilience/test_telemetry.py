"""Telemetry: every call is counted once, by how it ended; what guards hold is read when somebody asks."""

import asyncio
import gc
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from chassis.resilience.providers import Pauses, Scripted, down, guarded, hang, pausing, throttled, without, wrong
from object_service.chassis.contracts.errors import AdapterError, RequestError, ServiceError
from object_service.chassis.metrics import Metrics
from object_service.chassis.resilience.assembly import Guards, Surroundings
from object_service.chassis.resilience.settings import Resilience
from object_service.chassis.resilience.telemetry import MAX_OUTCOMES, Telemetry, outcome_of

FAMILIES: Mapping[str, tuple[str, set[str]]] = {
    "adapter_calls": ("counter", {"provider", "operation", "outcome"}),
    "adapter_call_seconds": ("histogram", {"provider", "operation"}),
    "adapter_attempts": ("counter", {"provider", "operation"}),
    "adapter_retries": ("counter", {"provider", "operation"}),
    "adapter_breaker_state": ("gauge", {"provider", "operation"}),
    "adapter_bulkhead_in_use": ("gauge", {"provider"}),
    "adapter_bulkhead_queued": ("gauge", {"provider"}),
    "adapter_rate_limit_wait_seconds": ("histogram", {"provider"}),
    "adapter_retry_budget_tokens": ("gauge", {"provider"}),
}


def _value(guards: Guards, name: str, **labels: str) -> float | None:
    """Return a sample as a scraper sees it, or None where there is none."""
    found = {
        sample.name: sample.value
        for family in guards._surroundings.metrics.collect()
        for sample in family.samples
        if {"provider": guards.provider, **labels} == sample.labels and sample.name == name
    }
    return found.get(name)


def _calls(guards: Guards, operation: str = "ask") -> dict[str, int]:
    figures = guards.telemetry.operations[operation]
    return {"succeeded": figures.succeeded, **figures.failed}


async def test_families_types_and_labels_are_those_of_the_contract() -> None:
    """Nine families; every sample has exactly the labels of its family."""
    settings = without(rate_limit={"rate_per_s": 1000})
    front, guards = guarded(Scripted(), settings)
    await front.ask("x")

    families = list(guards._surroundings.metrics.collect())

    assert {name: kind for name, (kind, _) in FAMILIES.items()} == {family.name: family.type for family in families}
    for family in families:
        assert family.samples, family.name
        assert {frozenset(FAMILIES[family.name][1])} == {frozenset(s.labels) - {"le"} for s in family.samples}


@pytest.mark.parametrize(
    ("expected", "script"),
    [
        ({"succeeded": 1}, ["fine"]),
        ({"succeeded": 0, "provider_unavailable": 1}, [down()]),
        ({"succeeded": 0, "invalid_request": 1}, [wrong()]),
        ({"succeeded": 0, "provider_rate_limited": 1}, [throttled()]),
        ({"succeeded": 0, "provider_error": 1}, [KeyError("a defect")]),
    ],
    ids=["answer", "unavailable", "caller", "throttled", "defect"],
)
async def test_a_call_is_counted_by_how_it_ended(expected: dict[str, int], script: list[Any]) -> None:
    """The outcome is `succeeded` or the code of the error; the call is timed either way."""
    front, guards = guarded(Scripted(script), without("retry"))

    await asyncio.gather(front.ask("x"), return_exceptions=True)

    assert expected == _calls(guards)
    assert 1 == _value(guards, "adapter_call_seconds_count", operation="ask")


async def test_a_cancelled_call_is_counted_as_such() -> None:
    """Who leaves is neither a success nor a failure of the provider."""
    front, guards = guarded(Scripted([hang]))
    task = asyncio.create_task(front.ask("x"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    assert {"succeeded": 0, "cancelled": 1} == _calls(guards)


async def test_what_is_refused_here_is_a_call_without_attempt() -> None:
    """An open circuit refuses calls that the provider never sees."""
    front, guards = guarded(Scripted([down()]), without("retry"))
    for _ in range(8):
        await asyncio.gather(front.ask("x"), return_exceptions=True)

    assert {"succeeded": 0, "provider_unavailable": 5, "circuit_open": 3} == _calls(guards)
    assert 5 == _value(guards, "adapter_attempts_total", operation="ask")
    assert 2 == _value(guards, "adapter_breaker_state", operation="ask")


async def test_attempts_and_retries_of_one_call_are_counted_apart() -> None:
    """A call that is repeated twice is one call, three attempts and two retries."""
    front, guards = guarded(Scripted([down(), down(), "fine"]), None, pausing(Pauses()))
    await front.ask("x")

    names = ("adapter_calls_total", "adapter_attempts_total", "adapter_retries_total")
    labels: list[dict[str, str]] = [{"outcome": "succeeded"}, {}, {}]
    assert [1, 3, 2] == [_value(guards, n, operation="ask", **more) for n, more in zip(names, labels, strict=True)]


async def test_one_answer_for_many_is_one_attempt() -> None:
    """Callers that share an answer of the cache are calls; the provider was asked once."""
    front, guards = guarded(Scripted(), without(cache={"type": "memory"}))
    await asyncio.gather(*(front.read("same") for _ in range(10)))
    await front.read("same")

    assert {"succeeded": 11} == _calls(guards, "read")
    assert 1 == _value(guards, "adapter_attempts_total", operation="read")


async def test_gauges_tell_the_state_of_the_moment() -> None:
    """Places in use, callers in the queue and tokens are those at the time of the question."""
    gate = asyncio.Event()
    front, guards = guarded(Scripted([gate.wait]), without(bulkhead={"max_concurrent": 2, "max_queue": 5}))
    names = ("adapter_bulkhead_in_use", "adapter_bulkhead_queued", "adapter_retry_budget_tokens")
    before = [_value(guards, name) for name in names]
    tasks = [asyncio.create_task(front.ask("x")) for _ in range(5)]
    await asyncio.sleep(0.01)
    during = [_value(guards, name) for name in names]
    gate.set()
    await asyncio.gather(*tasks)

    assert [[0, 0, 500], [2, 3, 500], [0, 0, 500]] == [before, during, [_value(guards, name) for name in names]]


async def test_a_retry_costs_tokens() -> None:
    """What an outage has taken from the budget shows."""
    front, guards = guarded(Scripted([down()]), without("breaker"), pausing(Pauses()))
    await asyncio.gather(front.ask("x"), return_exceptions=True)

    assert 500 - 2 * 14 == _value(guards, "adapter_retry_budget_tokens")


async def test_waits_for_a_turn_are_measured() -> None:
    """Attempts in the burst waited for nothing, the next one for its turn."""
    front, guards = guarded(Scripted(), without(rate_limit={"rate_per_s": 50, "burst": 2}))
    for _ in range(3):
        await front.ask("x")

    assert 3 == _value(guards, "adapter_rate_limit_wait_seconds_count")
    assert 2 == _value(guards, "adapter_rate_limit_wait_seconds_bucket", le="0.005")
    assert 0 < (_value(guards, "adapter_rate_limit_wait_seconds_sum") or 0) <= 0.02


def test_strategies_that_are_off_have_no_series() -> None:
    """A gauge of something that does not exist would look like something at rest."""
    _, guards = guarded(Scripted(), without("bulkhead", "budget", "breaker"))
    guards.expect(["ask"])

    samples = [s.name for family in guards._surroundings.metrics.collect() for s in family.samples]
    assert {"adapter_calls_total", "adapter_attempts_total", "adapter_retries_total"} == {
        name for name in samples if not name.startswith("adapter_call_seconds")
    }


def test_expected_operations_stand_at_zero() -> None:
    """A first failure is an increase that alerts can see, not the birth of a series."""
    _, guards = guarded(Scripted())
    guards.expect(["ask"])
    guards.expect(["ask"])

    names = ("adapter_attempts_total", "adapter_retries_total", "adapter_breaker_state", "adapter_call_seconds_count")
    assert [0, 0, 0, 0] == [_value(guards, name, operation="ask") for name in names]
    assert 0 == _value(guards, "adapter_calls_total", operation="ask", outcome="succeeded")


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        ("prompt_too_long", RequestError("x", code="prompt_too_long")),
        ("other", AdapterError("x", adapter="a", operation="b", code="Vendor says: NO")),
        ("other", ServiceError("x", code="a" * 65)),
        ("internal_error", KeyError("x")),
        ("cancelled", asyncio.CancelledError()),
        ("cancelled", GeneratorExit()),
    ],
    ids=["own-code", "vendor-text", "long", "defect", "cancelled", "closed"],
)
def test_an_outcome_is_one_plain_word(expected: str, error: BaseException) -> None:
    """Nothing that a vendor wrote becomes a label."""
    assert expected == outcome_of(error)


def test_invented_codes_share_one_outcome() -> None:
    """However many codes an adapter makes up, an operation has a bounded number of series."""
    figures = Telemetry().expect("ask")
    for number in range(1000):
        figures.fail(f"code_{number}")
        figures.fail("code_0")

    assert MAX_OUTCOMES + 1 == len(figures.failed)
    assert (1000 + 1, 2000 - 1001 - (MAX_OUTCOMES - 1)) == (figures.failed["code_0"], figures.failed["other"])


async def test_providers_of_one_service_are_shown_together() -> None:
    """One family has the series of all providers; two families of one name would not be read."""
    shared = Surroundings()
    front, _ = guarded(Scripted(), None, shared, name="one")
    other, _ = guarded(Scripted(), None, shared, name="two")
    await asyncio.gather(front.ask("x"), other.ask("x"))

    families = [family for family in shared.metrics.collect() if family.name == "adapter_calls"]
    assert [["one", "two"]] == [[sample.labels["provider"] for sample in family.samples] for family in families]


def test_services_do_not_share_their_metrics() -> None:
    """Two services in one process count apart, whatever their providers are called."""
    _, mine = guarded(Scripted())
    _, other = guarded(Scripted())
    mine.expect(["ask"])

    assert (0, None) == tuple(_value(each, "adapter_attempts_total", operation="ask") for each in (mine, other))


def test_a_service_that_is_gone_leaves_nothing_behind() -> None:
    """Neither the library nor this module keeps the parts of a stopped service alive."""
    metrics = Metrics()
    guards = Guards("mine", Resilience(), Surroundings())
    metrics.of(type(guards._surroundings.metrics)).add(guards)
    assert b"adapter_retry_budget_tokens" in metrics.exposition()[0]
    left = weakref.ref(guards)
    del guards, metrics
    gc.collect()

    assert left() is None
