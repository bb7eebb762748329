"""Pipeline: measures what guarding a call costs, against the same by hand and by libraries, side by side in one run.

Usage: `uv run python benchmarks/pipeline.py [--json FILE]`. Times are CPU per call, the least of many rounds in turn,
because the machine may be busy. One call at a time is answered at once; of several at a time, each waits until all are
with the provider, and the time contains that of their tasks. `pipeline` is the default one without metrics, with its
log step at WARNING, and `tight` does the same by hand. The bars hold for one call at a time.
"""

import argparse
import asyncio
import gc
import json
import math
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))

from by_hand import ByHand, Port
from libraries import Popular, Stamina
from object_service.chassis.contracts.call import Operation, recording
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.resilience.assembly import Guards
from object_service.chassis.resilience.breaker import BreakerState
from object_service.chassis.resilience.pipeline import Pipeline, guard
from object_service.chassis.resilience.settings import Resilience

_OPERATIONS = {"ask": Operation("ask", idempotent=False)}
_BARS = {"pipeline_over_tight": 1.5, "pipeline_over_popular": 0.2}
_LEAST_ROUNDS = 3

type Figures = dict[str, float]


class Provider:
    """Answers at once, or when `expected` calls are waiting in it."""

    def __init__(self, expected: int = 0) -> None:
        """Begin without calls."""
        self.expected = expected
        self.waiting = 0
        self.all_here = asyncio.Event()
        self.gate = asyncio.Event()

    async def ask(self, text: str) -> str:
        """Return the text."""
        if self.expected:
            self.waiting += 1
            if self.waiting == self.expected:
                self.all_here.set()
            await self.gate.wait()
        return text

    @asynccontextmanager
    async def filled(self, port: Port) -> AsyncIterator[list[asyncio.Task[str]]]:
        """Have as many calls as are expected wait here at once; then let them go, and wait for their ends."""
        self.waiting = 0
        self.all_here.clear()
        self.gate.clear()
        tasks = [asyncio.create_task(port.ask("text")) for _ in range(self.expected)]
        await self.all_here.wait()
        try:
            yield tasks
        finally:
            self.gate.set()
            await asyncio.wait(tasks)

    async def serve(self, port: Port) -> float:
        """Return the seconds of CPU that each of the calls takes."""
        begun = process_time()
        async with self.filled(port) as tasks:
            pass
        spent = process_time() - begun
        if any(task.result() != "text" for task in tasks):
            sys.exit("a call did not succeed")
        return spent / self.expected

    async def give_up(self, port: Port) -> None:
        """Have all calls wait here and then be cancelled."""
        async with self.filled(port) as tasks:
            for task in tasks:
                task.cancel()


class Contenders:
    """All ways to guard one provider; every one has room for all calls."""

    def __init__(self, provider: Provider) -> None:
        """Build them; the pipeline has the default settings, apart from its places if there are too few."""
        self.provider = provider
        places = max(Resilience().bulkhead.max_concurrent, provider.expected)
        settings = Resilience.model_validate({"bulkhead": {"max_concurrent": places}})
        self.guards = Guards("provider", settings)
        self.all: dict[str, Port] = {
            "bare": provider,
            "tight_without_log": ByHand(provider, places=places, logs=False),
            "pipeline_without_log": self._pipeline("telemetry", "log"),
            "tight": ByHand(provider, places=places),
            "pipeline": self._pipeline("telemetry"),
            "pipeline_with_metrics": self._pipeline(),
            "popular": Popular(provider, places),
            "stamina": Stamina(provider),
        }

    def _pipeline(self, *without: str) -> Port:
        steps = [step for step in self.guards.pipeline.middlewares if step.name not in without]
        port: Port = self.provider
        return guard(port, Pipeline(steps), _OPERATIONS, provider="provider", kind="benchmark")

    def left(self) -> list[str]:
        """Return what calls have left behind, in words."""
        loop = asyncio.get_running_loop()
        timers = [timer for timer in vars(loop)["_scheduled"] if not timer.cancelled()]
        bulkhead, budget = self.guards.bulkhead, self.guards.budget
        breaker = self.guards.breaker("ask")
        found = {
            "tasks": len(asyncio.all_tasks()) - 1,
            "timers": len(timers),
            "places": 0 if bulkhead is None else bulkhead.in_use + bulkhead.queued,
            "spent tokens": 0 if budget is None else Resilience().budget.capacity - budget.tokens,
            "trips of the breaker": int(breaker.state is not BreakerState.CLOSED),
        }
        return [f"{count} {name}" for name, count in found.items() if count != 0]


def main() -> None:
    """Print every figure, and the ratios with their bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=40, help="rounds of calls one at a time")
    parser.add_argument("--calls", type=int, default=1000, help="calls of one round")
    parser.add_argument("--concurrent", type=int, nargs="*", default=[1000, 10_000], help="calls at a time")
    arguments = parser.parse_args()
    figures = asyncio.run(_measure(arguments.rounds, arguments.calls, arguments.concurrent))
    for line in _table(figures, [1, *arguments.concurrent]):
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _table(figures: Figures, concurrent: list[int]) -> Iterator[str]:
    """Yield a line for each contender, then the ratios."""
    kinds = [("us", "µs of CPU"), ("bytes", "bytes")]
    columns = [(f"{kind}_at_{count}", f"{unit} at {count}") for kind, unit in kinds for count in concurrent]
    columns = [(key, title) for key, title in columns if f"bare_{key}" in figures]
    yield " " * 24 + "".join(f"{title:>20}" for _, title in columns)
    for name in [key.removesuffix("_us_at_1") for key in figures if key.endswith("_us_at_1")]:
        yield f"{name:<24}" + "".join(f"{figures[f'{name}_{key}']:>20.2f}" for key, _ in columns)
    for name, figure in figures.items():
        if "_over_" in name:
            bar = f"   bar {_BARS[name]}" if name in _BARS else ""
            yield f"{name:<44}{figure:>8.3f}{bar}"
    yield "left behind: no task, no timer, no place, no token"


async def _measure(rounds: int, calls: int, concurrent: list[int]) -> Figures:
    figures: Figures = {}
    with entered(Context("benchmark")), recording():
        alone = Contenders(Provider())
        times = await _least(alone, rounds, lambda port: _one_by_one(port, calls))
        figures |= _ratios(times, "") | {f"{name}_us_at_1": us for name, us in times.items()}
        _refuse_leftovers(alone)
        for count in concurrent:
            many = Contenders(Provider(count))
            turns = max(_LEAST_ROUNDS, rounds * calls // count // 2)
            times = await _least(many, turns, many.provider.serve)
            figures |= _ratios(times, f"_at_{count}") | {f"{name}_us_at_{count}": us for name, us in times.items()}
            figures |= {f"{name}_bytes_at_{count}": await _memory(many, name) for name in many.all}
            for port in many.all.values():
                await many.provider.give_up(port)
            _refuse_leftovers(many)
    return figures


async def _least(contenders: Contenders, rounds: int, once: Callable[[Port], Awaitable[float]]) -> Figures:
    """Return the least time of each contender, in microseconds."""
    times = dict.fromkeys(contenders.all, math.inf)
    for _ in range(rounds):
        for name, port in contenders.all.items():
            gc.collect()
            times[name] = min(times[name], await once(port) * 1e6)
    return times


def _ratios(times: Figures, at: str) -> Figures:
    pairs = [("pipeline", rival) for rival in ("tight", "popular", "stamina")]
    pairs.append(("pipeline_without_log", "tight_without_log"))
    return {f"{upper}_over_{lower}{at}": times[upper] / times[lower] for upper, lower in pairs}


async def _one_by_one(port: Port, calls: int) -> float:
    begun = process_time()
    for _ in range(calls):
        await port.ask("text")
    return (process_time() - begun) / calls


async def _memory(contenders: Contenders, name: str) -> float:
    """Return the bytes that one of many calls occupies while all of them wait, its task included."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        async with contenders.provider.filled(contenders.all[name]):
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / contenders.provider.expected


def _refuse_leftovers(contenders: Contenders) -> None:
    left = contenders.left()
    if left:
        sys.exit(f"calls have left behind: {', '.join(left)}")


if __name__ == "__main__":
    main()
