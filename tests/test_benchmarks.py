"""The benchmark of the pipeline: it runs, and what it holds the pipeline against does the same."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from by_hand import ByHand, Port
from chassis.resilience.providers import Pauses, Scripted, down, hang, pausing, refused, throttled, unclear, wrong
from object_service.chassis.contracts.call import Operation, recording
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.contracts.errors import ServiceError
from object_service.chassis.resilience.assembly import Guards
from object_service.chassis.resilience.pipeline import guard
from object_service.chassis.resilience.settings import Resilience
from redis_server import RedisServer

_SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "pipeline.py"
_CALLERS = _SCRIPT.with_name("callers.py")
_CONTENDERS = ("bare", "tight", "pipeline", "popular", "stamina")
_SETTINGS = Resilience.model_validate({"bulkhead": {"max_concurrent": 2, "max_queue": 1}})


def test_one_run_measures_every_contender(tmp_path: Path) -> None:
    """Times and memory of all contenders are written, with the two ratios that have a bar."""
    file = tmp_path / "figures.json"
    few = ["--rounds", "1", "--calls", "5", "--concurrent", "20", "--json", str(file)]
    done = subprocess.run([sys.executable, str(_SCRIPT), *few], capture_output=True, text=True, check=True)

    figures = json.loads(file.read_text(encoding="utf-8"))
    measured = ("us_at_1", "us_at_20", "bytes_at_20")
    expected = {f"{contender}_{kind}" for contender in _CONTENDERS for kind in measured}
    assert expected | {"pipeline_over_tight", "pipeline_over_popular"} <= figures.keys()
    assert all(0 < figure for figure in figures.values())
    assert figures["pipeline_over_tight"] == pytest.approx(figures["pipeline_us_at_1"] / figures["tight_us_at_1"])
    assert "left behind: no task, no timer, no place, no token" in done.stdout


def test_what_callers_cost_is_measured_beside_the_library(tmp_path: Path) -> None:
    """Keys, the limit of this template and those of the library are measured in one run, in process and on Redis."""
    file, server = tmp_path / "figures.json", RedisServer(tmp_path)
    server.start()
    try:
        few = ["--rounds", "2", "--calls", "5", "--redis", server.url, "--json", str(file)]
        subprocess.run([sys.executable, str(_CALLERS), *few], capture_output=True, text=True, check=True)
    finally:
        server.kill()
    figures = json.loads(file.read_text(encoding="utf-8"))
    limits = {f"{place}{name}" for place in ("", "redis_") for name in ("here", "fixed_window", "moving_window")}
    assert limits | {"key_of_1", "key_of_1000"} <= figures.keys()
    assert figures["here_over_library"] == figures["here"] / min(
        figures[name] for name in ("fixed_window", "sliding_window", "moving_window")
    )


async def _outcome(port: Any, deadline: float | None) -> tuple[object, int]:
    """Return what a call came to, and how many attempts it made."""
    with entered(Context("c", deadline=deadline)), recording() as record:
        try:
            answer: object = await port.ask("x")
        except ServiceError as error:
            answer = (type(error), error.code, type(error.__cause__))
        return answer, record.attempts


async def _story(port: Any, provider: Scripted, calls: int, together: int, deadline: float | None) -> object:
    """Return everything that can be seen of some rounds of calls."""
    rounds = [await asyncio.gather(*(_outcome(port, deadline) for _ in range(together))) for _ in range(calls)]
    return rounds, len(provider.calls), provider.most


@pytest.mark.parametrize(
    ("script", "calls", "together", "deadline"),
    [
        (["fine"], 3, 1, None),
        ([down(retry_after_s=0.0), "fine"], 1, 1, None),
        ([refused(), "fine"], 1, 1, None),
        ([down(retry_after_s=0.0)] * 2 + ["fine"] + [down(retry_after_s=0.0)], 5, 1, None),
        ([down(retry_after_s=31.0)], 1, 1, None),
        ([unclear()], 7, 1, None),
        ([wrong()], 7, 1, None),
        ([ValueError("vendor")], 7, 1, None),
        ([TimeoutError()], 7, 1, None),
        ([throttled(retry_after_s=0.0)], 60, 1, None),
        (["fine"], 2, 4, None),
        (["fine"], 1, 1, 0.0),
    ],
    ids=[
        "success",
        "repeated",
        "not-sent",
        "breaker-opens-between-retries",
        "too-long-a-pause",
        "unclear-opens-the-breaker",
        "wrong-request",
        "untranslated",
        "timeout-of-the-vendor",
        "throttled-until-the-budget-is-spent",
        "overload",
        "too-late",
    ],
)
async def test_by_hand_does_what_the_pipeline_does(
    script: Sequence[object], calls: int, together: int, deadline: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is fair: answers, errors, attempts and limits are those of the pipeline, call by call."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    ours, theirs = Scripted(script), Scripted(script)
    guards = Guards("provider", _SETTINGS, pausing(Pauses()))
    by_hand = ByHand(theirs, places=2, queue=1)

    story = await _story(_guarded(ours, guards), ours, calls, together, deadline)

    assert story == await _story(by_hand, theirs, calls, together, deadline)
    assert guards.bulkhead is not None
    assert guards.budget is not None
    assert (guards.budget.tokens, 0, 0) == (by_hand.tokens, guards.bulkhead.in_use, by_hand.in_use)


async def test_by_hand_gives_up_what_the_pipeline_gives_up() -> None:
    """A caller that leaves frees its place in both, and neither counts it as a failure."""
    guards = Guards("provider", _SETTINGS)
    by_hand = ByHand(Scripted([hang] * 6 + ["fine"]), places=2, queue=1)
    ports: list[Any] = [_guarded(Scripted([hang] * 6 + ["fine"]), guards), by_hand]

    for port in ports:
        for _ in range(3):
            tasks = [asyncio.create_task(port.ask("x")) for _ in range(3)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            assert [True] * 3 == [isinstance(end, asyncio.CancelledError) for end in await _ends(tasks)]

    assert ["fine", "fine"] == [await port.ask("x") for port in ports]
    assert guards.bulkhead is not None
    assert (0, 0) == (guards.bulkhead.in_use, by_hand.in_use)


async def _ends(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def _guarded(port: Scripted, guards: Guards) -> Port:
    operations = {"ask": Operation("ask", idempotent=False)}
    return guard(port, guards.pipeline, operations, provider="provider", kind="scripted")
