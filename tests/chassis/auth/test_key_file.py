"""Keys while a service runs: who is recognised, and what a change of the file does."""

import hmac
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from chassis.auth.clock import StillClock
from object_service.chassis.auth.key_file import RECHECK_S, KeyFile
from object_service.chassis.auth.keys import Key, KeysFileError, digest, write
from object_service.chassis.contracts.context import Principal

ONE, TWO = "osk_one", "osk_two"


def _keys(path: Path, *keys: Key) -> None:
    write(path, keys)


@pytest.fixture
def clock() -> StillClock:
    """Return a clock that stands still until it is moved."""
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the keys are."""
    return tmp_path / "keys.toml"


async def test_a_caller_is_recognised_by_the_key(path: Path, clock: StillClock) -> None:
    """With its id and its scopes; nobody else is."""
    _keys(path, Key("one", digest(ONE), ("genai",)), Key("two", digest(TWO), ("*",)))
    keys = KeyFile(path, clock)

    assert Principal("one", frozenset({"genai"})) == await keys(ONE)
    assert Principal("two", frozenset({"*"})) == await keys(TWO)
    for other in ("", "osk_", "osk_on", "osk_onee", "OSK_one", "one", digest(ONE), "osk_é"):
        assert await keys(other) is None


async def test_two_keys_of_one_caller_are_valid_at_once(path: Path, clock: StillClock) -> None:
    """Which is what a rotation needs: the id is the same with both."""
    _keys(path, Key("one", digest(ONE), ("genai",)), Key("one", digest(TWO), ("genai",)))
    keys = KeyFile(path, clock)

    assert await keys(ONE) == await keys(TWO) == Principal("one", frozenset({"genai"}))


async def test_every_key_is_compared_in_constant_time(
    path: Path, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hit does not end the search, and `hmac.compare_digest` makes each comparison."""
    _keys(path, Key("one", digest(ONE)), Key("two", digest(TWO)), Key("three", digest("osk_three")))
    keys = KeyFile(path, clock)
    compared: list[tuple[bytes, bytes]] = []

    def noted(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr(hmac, "compare_digest", noted)
    for key in (ONE, "osk_wrong"):
        compared.clear()
        await keys(key)
        expected = [(digest(stored).encode(), digest(key).encode()) for stored in (ONE, TWO, "osk_three")]
        assert expected == compared


async def test_an_expired_key_is_refused_and_told(
    path: Path, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says whose it is, so that the owner can be reached; the key is not in it."""
    _keys(path, Key("one", digest(ONE), not_after=clock.now() + timedelta(seconds=10)))
    keys = KeyFile(path, clock)
    assert await keys(ONE) is not None

    clock.advance(10)

    assert await keys(ONE) is None
    assert [("key_expired", "one")] == [
        (record.message, record.__dict__["principal"]) for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert ONE not in caplog.text


async def test_a_change_is_taken_up_without_a_restart(path: Path, clock: StillClock) -> None:
    """A new key is valid and a removed one is not, as soon as the file has been looked at again."""
    _keys(path, Key("one", digest(ONE)))
    keys = KeyFile(path, clock)
    keys.load()
    _keys(path, Key("two", digest(TWO)))
    assert (True, False) == (await keys(ONE) is not None, await keys(TWO) is not None)

    clock.advance(RECHECK_S)

    assert (False, True) == (await keys(ONE) is not None, await keys(TWO) is not None)


async def test_the_file_is_looked_at_once_a_second_and_read_when_it_changed(
    path: Path, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request costs a comparison, not a read of the disk."""
    _keys(path, Key("one", digest(ONE)))
    keys = KeyFile(path, clock)
    keys.load()
    looked: list[Path] = []
    stat = Path.stat

    def noted(self: Path) -> os.stat_result:
        looked.append(self)
        return stat(self)

    monkeypatch.setattr(Path, "stat", noted)
    monkeypatch.setattr(Path, "read_text", None)

    for _ in range(5):
        assert await keys(ONE) is not None
    clock.advance(RECHECK_S)
    for _ in range(5):
        assert await keys(ONE) is not None

    assert [path] == looked


async def test_a_broken_file_keeps_the_last_keys_and_is_told_once(
    path: Path, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when it is empty for a moment, or vanishes; once it can be used again, it is."""
    caplog.set_level(logging.INFO)
    _keys(path, Key("one", digest(ONE)))
    keys = KeyFile(path, clock)
    keys.load()
    breaks: list[Callable[[], object]] = [partial(path.write_text, text) for text in ("broken", "", "\n")]
    for break_it in (*breaks, path.unlink):
        break_it()
        for _ in range(3):
            clock.advance(RECHECK_S)
            assert await keys(ONE) is not None
    _keys(path, Key("two", digest(TWO)))
    clock.advance(RECHECK_S)

    assert await keys(ONE) is None
    assert await keys(TWO) is not None
    assert [*["keys_unusable"] * 4, "keys_loaded"] == [record.message for record in caplog.records]


async def test_a_swapped_link_is_a_change(tmp_path: Path, clock: StillClock) -> None:
    """An orchestrator replaces a mounted secret by leading a link elsewhere; time and size may be the same."""
    for name, key in (("old", ONE), ("new", TWO)):
        _keys(tmp_path / name, Key("one", digest(key)))
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "keys.toml"
    link.symlink_to("old")
    keys = KeyFile(link, clock)
    assert await keys(ONE) is not None

    link.unlink()
    link.symlink_to("new")
    clock.advance(RECHECK_S)

    assert (False, True) == (await keys(ONE) is not None, await keys(TWO) is not None)


def test_a_file_that_is_needed_now_says_what_is_wrong(path: Path) -> None:
    """A service does not start with keys that it cannot read."""
    with pytest.raises(KeysFileError, match="No such file"):
        KeyFile(path).load()


async def test_the_clock_of_the_machine_is_the_default(path: Path) -> None:
    """Keys end by the wall clock."""
    _keys(path, Key("one", digest(ONE), not_after=datetime(2020, 1, 1, tzinfo=UTC)))

    assert await KeyFile(path)(ONE) is None
