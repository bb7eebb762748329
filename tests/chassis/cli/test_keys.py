"""Commands around API keys."""

import fcntl
import json
import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from chassis.cli.service import run
from object_service.chassis.auth.keys import Key, digest, held, read, write
from object_service.chassis.identity import ENV_PREFIX

VARIABLE = f"{ENV_PREFIX}AUTH__KEYS_FILE"


@pytest.fixture
def path(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the settings name; it does not exist yet."""
    monkeypatch.setenv(VARIABLE, str(nowhere / "keys.toml"))
    return nowhere / "keys.toml"


def _ok(result: Result) -> dict[str, Any]:
    assert 0 == result.exit_code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_new_key_is_printed_once(path: Path) -> None:
    """It is alone on stdout; the file gets its digest, and is for its owner alone."""
    result = run("keys", "new", "reporting", "--scope", "genai", "--scope", "ops", "--scope", "genai")
    secret = result.stdout.strip()

    assert (0, True) == (result.exit_code, secret.startswith("osk_"))
    assert secret not in result.stderr
    assert (Key("reporting", digest(secret), ("genai", "ops")),) == read(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert secret.removeprefix("osk_") not in path.read_text(encoding="utf-8")
    assert secret not in run("keys", "check").output


def test_a_second_key_stands_beside_the_first(path: Path) -> None:
    """With its end, in days from now."""
    before = datetime.now(UTC)
    first = _ok(run("keys", "new", "reporting", "--json"))
    second = _ok(run("keys", "new", "reporting", "--days", "90", "--json"))

    assert [first["hash"], second["hash"]] == [key.hash for key in read(path)]
    ends = datetime.fromisoformat(second["not_after"])
    assert timedelta(0) <= ends - before - timedelta(days=90) + timedelta(seconds=1) < timedelta(minutes=5)
    assert digest(second["key"]) == second["hash"]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ((), ["other"]),
        (("--keep-newest",), ["new", "other"]),
        (("--hash", digest("old")[:20]), ["new", "other"]),
        (("--hash", digest("new").removeprefix("sha256:")), ["old", "other"]),
    ],
    ids=["all", "keep-newest", "hash", "whole-hash"],
)
def test_keys_are_removed(path: Path, words: tuple[str, ...], left: list[str]) -> None:
    """All of one caller, all but the newest, or the one whose digest begins so; nobody else's."""
    write(path, [Key("a", digest("old")), Key("a", digest("new")), Key("b", digest("other"))])

    removed = _ok(run("keys", "remove", "a", *words, "--json"))["removed"]

    assert sorted(map(digest, left)) == sorted(key.hash for key in read(path))
    assert {"a"} == {key["id"] for key in removed}


def test_the_last_key_can_go_and_an_empty_file_be_begun(path: Path) -> None:
    """A file without keys has its head; one that somebody made with nothing but a mode keeps it."""
    path.touch(mode=0o640)
    _ok(run("keys", "new", "a", "--json"))
    _ok(run("keys", "remove", "a", "--json"))

    assert () == read(path)
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)


def test_keys_made_at_once_are_all_kept(path: Path) -> None:
    """Two processes that change the file wait for each other, and leave nothing beside it."""
    with ExitStack() as ended:
        with held(path):
            made = [ended.enter_context(_making(name)) for name in ("a", "b")]
            for process in made:
                assert process.stdout is not None
                assert process.stdout.readline() == b"begins\n"
            with pytest.raises(subprocess.TimeoutExpired):
                made[0].wait(1)
            assert not path.exists()
        assert [0, 0] == [process.wait(60) for process in made]

    assert {"a", "b"} == {key.id for key in read(path)}
    assert ["keys.toml"] == [found.name for found in path.parent.iterdir()]


def _making(name: str) -> "subprocess.Popen[bytes]":
    program = (
        "import sys; from chassis.cli.service import run; print('begins', flush=True); "
        "sys.exit(run('keys', 'new', sys.argv[1]).exit_code)"
    )
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", program, name], env=variables, stdout=subprocess.PIPE)


@pytest.mark.parametrize("missing", ["fcntl", "folder"])
def test_a_file_is_written_where_nothing_can_be_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Windows has no such lock; a folder may be on a drive without any."""
    if missing == "fcntl":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", _refused)
    _ok(run("keys", "new", "a", "--json"))

    assert 1 == len(read(path))


def _refused(*_: int) -> None:
    raise OSError(9, "Bad file descriptor")


@pytest.mark.parametrize("words", [("b",), ("a", "--hash", "ffff"), ("a", "--hash", ""), ("a", "--keep-newest")])
def test_removing_nothing_is_a_failure(path: Path, words: tuple[str, ...]) -> None:
    """A typo does not look like a success."""
    write(path, [Key("a", digest("a"))])
    result = run("keys", "remove", *words)

    assert 1 == result.exit_code
    assert f"No such key of {words[0]}" in result.stderr
    assert 1 == len(read(path))


def test_keys_that_end_are_told(path: Path) -> None:
    """Which have ended and which end soon; the exit code is for schedules."""
    now = datetime.now(UTC)
    ends = {"ended": now - timedelta(seconds=1), "soon": now + timedelta(days=13), "later": now + timedelta(days=15)}
    write(path, [*(Key(id_, digest(id_), ("ops",), at) for id_, at in ends.items()), Key("ever", digest("ever"))])
    result = run("keys", "check", "--json")

    assert 1 == result.exit_code
    expected = {"ended": "expired", "soon": "soon", "later": "valid", "ever": "valid"}
    assert expected == {key["id"]: key["status"] for key in json.loads(result.stdout)["keys"]}
    assert "expired  ended sha256:" in run("keys", "check").stdout
    assert "soon     later" in run("keys", "check", "--within-days", "16").stdout
    write(path, [])
    assert (0, "no keys\n") == ((fine := run("keys", "check")).exit_code, fine.stdout)


def test_another_file_can_be_named(nowhere: Path) -> None:
    """Without any setting, on whatever machine keys are made."""
    key = _ok(run("keys", "new", "a", "--file", "mine.toml", "--json"))

    assert [key["hash"]] == [found.hash for found in read(nowhere / "mine.toml")]
    assert 0 == run("keys", "check", "--file", "mine.toml").exit_code
    refused = run("keys", "check")
    assert 78 == refused.exit_code
    assert VARIABLE in refused.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("new", "Not An Id", "--file", "new.toml"), "an id of 1 to 40 characters"),
        (("new", "a", "--scope", "not a scope", "--file", "new.toml"), "scopes are expected as names"),
        (("new", "a", "--file", "missing/keys.toml"), "No such file or directory"),
        (("new", "a", "--file", "broken.toml"), "it is not TOML in UTF-8"),
        (("remove", "a", "--file", "broken.toml"), "it is not TOML in UTF-8"),
        (("check", "--file", "missing.toml"), "No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_told(nowhere: Path, words: tuple[str, ...], reason: str) -> None:
    """In one line, with 1; no key is printed, and a broken file stays as it is."""
    (nowhere / "broken.toml").write_text("osk_hunter2", encoding="utf-8")
    result = run("keys", *words)

    assert (1, "") == (result.exit_code, result.stdout)
    assert reason in result.stderr
    assert "hunter2" not in result.stderr
    assert "osk_hunter2" == (nowhere / "broken.toml").read_text(encoding="utf-8")
