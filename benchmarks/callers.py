"""Callers: measures what knowing and limiting them costs a request, beside the library `limits`, in one run.

Usage: `uv run python benchmarks/callers.py [--redis URL] [--json FILE]`. Times are CPU of this process, the least of
many rounds in turn, because the machine may be busy. A limit decides and says what headers tell; the library needs two
questions for that. With a Redis the time of waiting counts too, because it is what a request waits.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dev"))

from limits import RateLimitItemPerSecond
from limits.aio import storage, strategies

from object_service.chassis.auth import keys
from object_service.chassis.auth.key_file import KeyFile
from object_service.chassis.redis import RedisSection, open_redis
from object_service.chassis.resilience.shared import SharedState
from object_service.chassis.web.rates import CallerLimit
from object_service.chassis.web.settings import LimitsSection

_PER_S = 1_000_000
"""Never reached: what is measured is the decision, not the refusal."""
_STRATEGIES: dict[str, Callable[[storage.Storage], strategies.RateLimiter]] = {
    "fixed_window": strategies.FixedWindowRateLimiter,
    "sliding_window": strategies.SlidingWindowCounterRateLimiter,
    "moving_window": strategies.MovingWindowRateLimiter,
}
_STORED = (1, 1_000)
_MICRO = 1e6

type Step = Callable[[], Awaitable[object]]


def own(shared: SharedState | None) -> Step:
    """Return one decision of this template, with its headers."""
    section = LimitsSection.model_validate({"address": {"rate_per_s": _PER_S, "burst": _PER_S}})
    limit = CallerLimit("address", section.address, section, shared, time.monotonic)

    async def decide() -> object:
        return limit.headers(await limit.take("192.0.2.1"))

    return decide


def library(name: str, kept: storage.Storage) -> Step:
    """Return one decision of the library, and what it tells for headers."""
    limiter, item = _STRATEGIES[name](kept), RateLimitItemPerSecond(_PER_S)

    async def decide() -> object:
        return await limiter.hit(item, name, "192.0.2.1"), await limiter.get_window_stats(item, name, "192.0.2.1")

    return decide


def identifying(folder: Path, count: int) -> Step:
    """Return the check of a key that is the last one of a file."""
    secrets = [keys.new_secret() for _ in range(count)]
    path = folder / f"{count}.toml"
    keys.write(path, [keys.Key(f"caller-{at}", keys.digest(key), ("genai",)) for at, key in enumerate(secrets)])
    file = KeyFile(path)
    file.load()

    async def identify() -> object:
        return await file(secrets[-1])

    return identify


async def contenders(stack: AsyncExitStack, redis: str | None) -> dict[str, Step]:
    """Return everything that is measured, by name."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    steps = {f"key_of_{count}": identifying(folder, count) for count in _STORED}
    steps["here"] = own(None)
    steps |= {name: library(name, storage.MemoryStorage()) for name in _STRATEGIES}
    if redis is not None:
        client = open_redis(RedisSection.model_validate({"url": redis}))
        shared = SharedState(client, "benchmark", timeout_s=5)
        stack.push_async_callback(shared.aclose)
        steps["redis_here"] = own(shared)
        kept = storage.RedisStorage(f"async+{redis}", implementation="redispy")
        steps |= {f"redis_{name}": library(name, kept) for name in _STRATEGIES}
    return steps


async def measure(redis: str | None, rounds: int, calls: int) -> dict[str, float]:
    """Return microseconds per request by name, and how much of the library's cheapest strategy a limit costs."""
    figures: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        steps = await contenders(stack, redis)
        for _ in range(rounds):
            for name, step in steps.items():
                clock = time.perf_counter if name.startswith("redis_") else time.process_time
                if not await step():
                    sys.exit(f"{name} did not decide")
                begun = clock()
                for _ in range(calls):
                    await step()
                spent = (clock() - begun) / calls * _MICRO
                figures[name] = min(spent, figures.get(name, spent))
    for place in ("", "redis_") if redis else ("",):
        cheapest = min(figures[place + name] for name in _STRATEGIES)
        figures[f"{place}here_over_library"] = figures[f"{place}here"] / cheapest
    return figures


def main() -> None:
    """Measure and print, a line for each figure."""
    parser = argparse.ArgumentParser(description="Measures what knowing and limiting callers costs.")
    parser.add_argument(
        "--redis", metavar="URL", help="a Redis to measure shared limits with; its keys are not cleared"
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--json", type=Path, metavar="FILE")
    words = parser.parse_args()
    figures = asyncio.run(measure(words.redis, words.rounds, words.calls))
    for name, figure in figures.items():
        print(f"{name:26} {figure:10.2f}{'' if name.endswith('library') else ' us'}")
    if words.json:
        words.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
