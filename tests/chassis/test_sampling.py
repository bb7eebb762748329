"""Of some requests only what went wrong is logged, and of a request that failed, everything."""

import asyncio
import io
import json
import logging
import sys
from pathlib import Path

import pytest

from chassis.auth.clock import StillClock
from chassis.resilience.providers import Scripted, down, guarded, without
from object_service.chassis.auth.key_file import RECHECK_S, KeyFile
from object_service.chassis.auth.keys import Key, digest, new_secret, write
from object_service.chassis.contracts.context import Context, entered
from object_service.chassis.logs import LogSection, configure_logging
from object_service.chassis.sampling import MAX_HELD, SampledHandler, holding

LOG = logging.getLogger("sampled")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what is written to stderr, by logs that are configured like those of a service."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(LogSection(level="debug", format="json"))
    return stream


def _events(stderr: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in stderr.getvalue().splitlines()]


def test_what_is_held_back_can_be_forgotten(stderr: io.StringIO) -> None:
    """Lines of all loggers up to information, and nothing from outside of the block."""
    LOG.info("before")
    with holding() as held:
        LOG.info("held")
        logging.getLogger("of.a.library").debug("held_too")
        held.forget()
    LOG.info("after")

    assert ["before", "after"] == _events(stderr)


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR, logging.CRITICAL])
def test_a_warning_brings_everything_before_and_after_it(stderr: io.StringIO, level: int) -> None:
    """In the order in which it was logged."""
    with holding() as held:
        LOG.info("first")
        LOG.log(level, "second")
        LOG.info("third")
        held.forget()

    assert ["first", "second", "third"] == _events(stderr)


def test_a_line_that_comes_late_is_the_line_that_was_held_back(stderr: io.StringIO) -> None:
    """With the context in which it was logged, and its time."""
    with holding() as held:
        with entered(Context("inner")):
            LOG.info("held")
        assert "" == stderr.getvalue()
        LOG.info("outside")
        held.release()

    first, second = (json.loads(line) for line in stderr.getvalue().splitlines())
    assert ("inner", False) == (first["correlation_id"], "correlation_id" in second)
    assert first["time"] <= second["time"]


def test_lines_after_the_end_wait_for_a_failure(stderr: io.StringIO) -> None:
    """Work that a request began goes on after it: its lines are left out, until one of them tells of a failure."""
    with holding() as held:
        LOG.info("of_the_request")
        held.forget()
        LOG.info("of_its_work")
        LOG.error("it_failed")

    assert ["of_its_work", "it_failed"] == _events(stderr)


def test_what_is_held_back_is_bounded(stderr: io.StringIO) -> None:
    """The newest lines are kept of a request that writes without end."""
    with holding() as held:
        for number in range(MAX_HELD + 5):
            LOG.info("line_%d", number)
        held.release()

    assert (MAX_HELD, "line_5") == (len(_events(stderr)), _events(stderr)[0])


class _Broken(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.broken = True

    def write(self, text: str) -> int:
        if self.broken:
            self.broken = False
            raise OSError("no space: hunter2")
        return super().write(text)


def test_a_line_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without what it was to tell; the standard library would print all of it, with the source around it."""
    stream = _Broken()
    logger = logging.Logger("a.child")  # noqa: LOG001 - a logger of its own, outside of the tree
    logger.addHandler(SampledHandler(stream))

    logger.warning("password=%s", "hunter2")

    assert {"event": "line_lost", "level": "error", "logger": "a.child", "error": "OSError"} == json.loads(
        stream.getvalue()
    )
    assert "hunter2" not in stream.getvalue() + "".join(capsys.readouterr())


async def test_news_of_the_process_is_not_held_back(stderr: io.StringIO, tmp_path: Path) -> None:
    """Whoever exchanges keys waits for the line; a circuit that closes ends what a warning began."""
    secret, path = new_secret(), tmp_path / "keys.toml"
    write(path, [Key("one", digest(new_secret()))])
    clock = StillClock()
    keys = KeyFile(path, clock)
    keys.load()
    write(path, [Key("two", digest(secret))])
    port = Scripted([down()] * 5)
    front, _ = guarded(port, without("retry", breaker={"open_s": 0.01}))
    await asyncio.gather(*(front.ask("x") for _ in range(5)), return_exceptions=True)
    await asyncio.sleep(0.02)
    clock.advance(RECHECK_S)
    port.script = ["fine"]
    with holding() as held:
        assert await keys(secret) is not None
        await front.ask("x")
        held.forget()

    assert ["keys_loaded", "breaker_closed"] == _events(stderr)[-2:]
    assert "provider_call_succeeded" not in _events(stderr)
