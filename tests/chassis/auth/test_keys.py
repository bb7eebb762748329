"""Files of API keys: what they hold, and how they are read and written."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.chassis.auth.keys import Key, KeysFileError, digest, new_secret, read, write

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)
HASH = digest("osk_one")
ENTRY = f'[[keys]]\nid = "one"\nhash = "{HASH}"\n'


def _refused(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KeysFileError) as caught:
        read(path)
    return str(caught.value)


def test_a_key_is_long_and_never_the_same() -> None:
    """256 random bits behind a prefix that scanners can look for."""
    keys = {new_secret() for _ in range(100)}

    assert 100 == len(keys)
    assert all(key.startswith("osk_") and len(key) == len("osk_") + 43 for key in keys)


def test_only_a_digest_is_kept(tmp_path: Path) -> None:
    """The file does not contain what opens the door. Source of the vector: FIPS 180-2, appendix B.1."""
    assert "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" == digest("abc")
    key = new_secret()
    write(tmp_path / "keys.toml", [Key("one", digest(key))])

    assert key.removeprefix("osk_") not in (tmp_path / "keys.toml").read_text(encoding="utf-8")


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z0-9][a-z0-9_-]{0,39}", fullmatch=True),
            st.lists(st.from_regex(r"[a-z][a-z0-9_.:-]{0,63}|\*", fullmatch=True), max_size=3),
            st.none() | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, list[str], datetime | None]]
) -> None:
    """Ids, scopes and times come back as they were, in their order."""
    keys = tuple(Key(id_, digest(str(n)), tuple(scopes), at) for n, (id_, scopes, at) in enumerate(entries))
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    write(path, keys)

    assert keys == read(path)


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        write(tmp_path / "keys.toml", [])
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE((tmp_path / "keys.toml").stat().st_mode)
    assert () == read(tmp_path / "keys.toml")


def test_a_file_keeps_its_mode_and_its_place(tmp_path: Path) -> None:
    """Who may read it stays so; a link still leads to it, and nothing is left beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "keys.toml").write_text(ENTRY, encoding="utf-8")
    (folder / "keys.toml").chmod(0o640)
    (tmp_path / "link.toml").symlink_to(folder / "keys.toml")

    write(tmp_path / "link.toml", [Key("two", digest("two"))])

    assert (tmp_path / "link.toml").is_symlink()
    assert ["keys.toml"] == [path.name for path in folder.iterdir()]
    assert 0o640 == stat.S_IMODE((folder / "keys.toml").stat().st_mode)
    assert ["two"] == [key.id for key in read(folder / "keys.toml")]


def test_a_file_that_cannot_be_written_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the old keys, and nothing beside them."""
    path = tmp_path / "keys.toml"
    path.write_text(ENTRY, encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeysFileError, match="No space left on device"):
        write(path, [])

    assert ["keys.toml"] == [found.name for found in tmp_path.iterdir()]
    assert ENTRY == path.read_text(encoding="utf-8")
    with pytest.raises(KeysFileError, match="No such file"):
        write(tmp_path / "missing" / "keys.toml", [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("keys = 1", "only [[keys]] entries are expected"),
        ("[keys]", "only [[keys]] entries are expected"),
        (f"{ENTRY}[other]\n", "only [[keys]] entries are expected"),
        ("hunter2", "it is not TOML in UTF-8"),
        ("keys = [7]", "entry 1: id and hash are expected, scopes and not_after are possible, and nothing else is"),
        (
            f'{ENTRY}key = "hunter2"',
            "entry 1: id and hash are expected, scopes and not_after are possible, and nothing else is",
        ),
        (
            f'{ENTRY}[[keys]]\nid = "b"',
            "entry 2: id and hash are expected, scopes and not_after are possible, and nothing else is",
        ),
        (f'[[keys]]\nid = 1\nhash = "{HASH}"', "entry 1: id and hash are expected as text"),
        (
            f'[[keys]]\nid = "A b"\nhash = "{HASH}"',
            "entry 1: an id of 1 to 40 characters a-z, 0-9, - and _ is expected",
        ),
        (
            '[[keys]]\nid = "a"\nhash = "hunter2"',
            "entry 1: a hash is expected as sha256: and 64 hexadecimal digits in lower case",
        ),
        (f"{ENTRY}scopes = 'ops'", "entry 1: scopes are expected as a list of texts"),
        (f"{ENTRY}scopes = [1]", "entry 1: scopes are expected as a list of texts"),
        (f"{ENTRY}scopes = ['a b']", "entry 1: scopes are expected as names such as ops, or * for all"),
        (f"{ENTRY}not_after = '2027-01-31'", "entry 1: not_after is expected as a date with a time, without quotes"),
        (f"{ENTRY}not_after = 2027-01-31", "entry 1: not_after is expected as a date with a time, without quotes"),
        (
            f"{ENTRY}not_after = 2027-01-31T00:00:00",
            "entry 1: not_after is expected with its offset, such as 2027-01-31T00:00:00Z",
        ),
        (ENTRY + ENTRY, "two entries have the same hash"),
    ],
)
def test_a_wrong_file_is_refused_in_plain_words(tmp_path: Path, text: str, reason: str) -> None:
    """The entry and what was expected; never what stands there, which may be a key in the wrong place."""
    assert reason == _refused(tmp_path / "keys.toml", text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """And so is a folder, or bytes that are no text."""
    with pytest.raises(KeysFileError, match="No such file"):
        read(tmp_path / "keys.toml")
    with pytest.raises(KeysFileError, match="Is a directory"):
        read(tmp_path)
    (tmp_path / "keys.toml").write_bytes(b"\xff")
    with pytest.raises(KeysFileError, match="UTF-8"):
        read(tmp_path / "keys.toml")


def test_a_key_ends_at_its_time() -> None:
    """From that second on; without a time it never ends."""
    key = Key("one", HASH, not_after=NOON)

    assert [False, True, True] == [key.expired(NOON + timedelta(seconds=s)) for s in (-1, 0, 1)]
    assert not Key("one", HASH).expired(datetime.max.replace(tzinfo=UTC))
