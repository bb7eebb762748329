"""What providers share over replicas: rate, probes and answers, with a double of the shared state in its place."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chassis.resilience.providers import Scripted, down, guarded, hang, without
from object_service.chassis.contracts.call import Operation
from object_service.chassis.contracts.errors import AdapterCircuitOpenError, AdapterError, AdapterOverloadedError
from object_service.chassis.resilience.assembly import Guards, Surroundings
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience


@dataclass
class SharedStateDouble:
    """Shared state that answers as told; None stands for a Redis that is away."""

    turn: tuple[bool, float] | None = (True, 0.0)
    admitted: bool | None = True
    kept: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    away: bool = False
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def reserve(self, key: str, **limits: float) -> tuple[bool, float] | None:
        """Return the turn."""
        self.asked.append(("reserve", key, limits))
        return None if self.away else self.turn

    async def admit_probe(self, key: str, token: str, **limits: float) -> bool | None:
        """Return the admission."""
        self.asked.append(("admit", key, limits))
        assert token.startswith("probe_")
        return None if self.away else self.admitted

    def end_probe(self, key: str, token: str) -> None:
        """Note it."""
        self.asked.append(("end", key, token[:6]))

    async def load(self, key: str) -> bytes | None:
        """Return what was stored."""
        return None if self.away or key not in self.kept else self.kept[key][0]

    async def store(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep it."""
        if not self.away:
            self.kept[key] = (value, ttl_s)


def _shared(port: Any, shared: SharedStateDouble, settings: Resilience) -> tuple[Any, Guards]:
    return guarded(port, settings, Surroundings(shared=shared))  # type: ignore[arg-type] # a double


RATE = {"rate_per_s": 10, "burst": 4, "max_wait_s": 1, "scope": "redis", "replicas": 2}


async def test_the_rate_is_asked_of_all_replicas_together() -> None:
    """The whole rate, not a share of it; the refusal says when to come back."""
    shared = SharedStateDouble(turn=(False, 3.0))
    front, _ = _shared(Scripted(), shared, without(rate_limit=RATE))
    with pytest.raises(AdapterOverloadedError) as caught:
        await front.ask("x")

    assert 3.0 == caught.value.retry_after_s
    assert [("reserve", "rate:mine", {"rate_per_s": 10, "burst": 4, "max_wait_s": 1})] == shared.asked


async def test_without_redis_each_replica_keeps_its_share() -> None:
    """Half of the burst, then half of the rate."""
    front, _ = _shared(Scripted(), SharedStateDouble(away=True), without(rate_limit={**RATE, "max_wait_s": 0}))
    codes = []
    for _ in range(4):
        try:
            codes.append(await front.ask("x"))
        except AdapterError as error:
            codes.append(error.code)

    assert ["fine", "fine", "overloaded", "overloaded"] == codes


BREAKER = {"scope": "redis", "open_s": 0.01, "probes": 2}


async def _open(front: Any) -> None:
    for _ in range(5):
        with pytest.raises(AdapterError):
            await front.ask("x")
    await asyncio.sleep(0.02)


@pytest.mark.parametrize("away", [False, True], ids=["admitted", "away"])
async def test_a_probe_asks_for_leave(away: bool) -> None:  # noqa: FBT001 - a case
    """One place over all replicas, given back at the end; without Redis each probes for itself."""
    shared = SharedStateDouble(away=away)
    front, _ = _shared(Scripted([*[down()] * 5, "fine"]), shared, without("retry", breaker=BREAKER))
    await _open(front)

    assert "fine" == await front.ask("x")
    assert [("admit", "probe:mine:ask", {"probes": 2, "lease_s": 61}), ("end", "probe:mine:ask", "probe_")] == (
        shared.asked
    )


class Teller:
    """A port that fails five times, and then begins a stream that does not end."""

    def __init__(self) -> None:
        """Begin without a call."""
        self.calls = 0

    async def tell(self) -> AsyncIterator[str]:
        """Fail, or send a piece and fall silent."""
        self.calls += 1
        if self.calls <= 5:
            raise down()
        yield "a"
        await hang()


async def test_the_place_of_a_probing_stream_is_free_from_its_first_piece() -> None:
    """Other replicas need not wait for its end."""
    shared, settings = SharedStateDouble(), without("retry", breaker=BREAKER)
    guards = Guards("mine", settings, Surroundings(shared=shared))  # type: ignore[arg-type] # a double
    operations = {"tell": Operation("tell", idempotent=False, returns="stream")}
    front = guard(Teller(), guards.pipeline, operations, provider="mine", kind="any")
    for _ in range(5):
        with pytest.raises(AdapterError):
            await anext(aiter(front.tell()))
    await asyncio.sleep(0.02)
    stream = front.tell()

    assert "a" == await anext(aiter(stream))
    assert ["admit", "end"] == [name for name, *_ in shared.asked]


async def test_a_probe_without_leave_is_refused() -> None:
    """Another replica is finding out already; the place here is free for the next."""
    port = Scripted([*[down()] * 5, "fine"])
    shared = SharedStateDouble(admitted=False)
    front, _ = _shared(port, shared, without("retry", breaker={**BREAKER, "probes": 1}))
    await _open(front)
    for _ in range(2):
        with pytest.raises(AdapterCircuitOpenError):
            await front.ask("x")
    shared.admitted = True

    assert "fine" == await front.ask("x")
    assert 6 == len(port.calls)


class Typed:
    """A port whose answers have a type."""

    def __init__(self) -> None:
        """Begin without a call."""
        self.calls = 0

    async def ask(self, text: str) -> tuple[str, int]:
        """Return the text and the number of the call."""
        self.calls += 1
        return text, self.calls


def _typed(shared: SharedStateDouble, configuration: str = "") -> tuple[Any, Typed]:
    port, operations = Typed(), {"ask": Operation("ask", idempotent=False)}
    surroundings = Surroundings(shared=shared)  # type: ignore[arg-type] # a double
    settings = without(cache={"type": "redis", "ttl_s": 5, "stale_if_error_s": 2})
    guards = Guards("mine", settings, surroundings, configuration=configuration)
    return guard(port, guards.pipeline, operations, provider="mine", kind="typed"), port


async def test_answers_are_shared() -> None:
    """What one replica was told the other has as the same type, for as long as it may be used."""
    shared = SharedStateDouble()
    (first, _), (second, port) = _typed(shared), _typed(shared)

    assert ("x", 1) == await first.ask("x") == await second.ask("x")
    assert (0, [7]) == (port.calls, [ttl_s for _, ttl_s in shared.kept.values()])


async def test_answers_of_another_configuration_are_not_used() -> None:
    """After a change of the model, the old model's answers are not the new one's."""
    shared = SharedStateDouble()
    (first, _), (second, port) = _typed(shared, "small"), _typed(shared, "large")
    await first.ask("x")
    await second.ask("x")

    assert 1 == port.calls


@pytest.mark.parametrize(
    "content",
    [b"{]", b"[]", b'{"answer": 5, "came_at": 1}', b'{"answer": ["x", 1]}'],
    ids=["no-json", "other", "type", "part"],
)
async def test_what_another_release_has_stored_is_not_used(content: bytes) -> None:
    """An answer that cannot be read is asked for again."""
    shared = SharedStateDouble()
    front, port = _typed(shared)
    await front.ask("x")
    shared.kept = dict.fromkeys(shared.kept, (content, 7.0))

    assert ("x", 2) == await front.ask("x")
    assert 2 == port.calls
