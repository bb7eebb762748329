"""Uploads lie in a private folder, which goes with its process, however that ends."""

import fcntl
import hashlib
import io
import logging
import os
import tempfile
import time
from pathlib import Path

import pytest

from object_service.chassis import work as module
from object_service.chassis.work import Spool, SpooledFile, describe_file


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty folder, which is where the machine keeps temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def abandoned(folder: Path) -> Path:
    """Make what a killed process leaves behind, and return it."""
    (folder / "uploads").mkdir(parents=True)
    (folder / "uploads" / "recording").write_bytes(b"private")
    return folder


def entries(folder: Path) -> list[Path]:
    """Return everything below a folder."""
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("size", [0, 5, 1000], ids=["empty", "one-piece", "many-pieces"])
async def test_an_upload_is_stored_piece_by_piece(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Size and digest are those of the content, whatever its length is."""
    monkeypatch.setattr(module, "_PIECE_BYTES", 64)
    spool, content = Spool(), bytes(range(256)) * 4
    reads: list[int] = []

    class _Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(size or -1)
            return super().read(size)

    stored = await spool.store(_Source(content[:size]))

    assert content[:size] == stored.path.read_bytes()
    assert (size, hashlib.sha256(content[:size]).hexdigest()) == (stored.bytes, stored.sha256)
    assert {64} == set(reads)
    await spool.aclose()


async def test_uploads_are_private_and_go_with_the_service() -> None:
    """Nobody else can read the folder; a discarded file is gone, and at the end everything is."""
    spool = Spool()
    first, second = await spool.store(io.BytesIO(b"a")), await spool.store(io.BytesIO(b"a"))
    folder = first.path.parent

    assert first.path != second.path
    assert 0 == (folder.stat().st_mode | first.path.stat().st_mode) & 0o077
    await spool.discard(first.path)
    await spool.discard(first.path)
    assert (False, True) == (first.path.exists(), second.path.exists())
    await spool.aclose()
    assert not folder.exists()
    await spool.aclose()


async def test_a_start_removes_what_a_killed_process_left(temporary: Path) -> None:
    """The folder has no owner any more, so nobody holds its lock."""
    left = abandoned(temporary / "object-service-spool-a1b2c3d4")

    spool = Spool()

    assert not left.exists()
    await spool.aclose()
    assert [] == entries(temporary)


async def test_a_start_leaves_the_uploads_of_a_living_process_alone(temporary: Path) -> None:
    """Their folder is locked, before its first upload and until the end."""
    first = Spool()
    folder = entries(temporary)[0]
    second = Spool()
    stored = await first.store(io.BytesIO(b"a"))
    third = Spool()

    assert folder in stored.path.parents
    assert b"a" == stored.path.read_bytes()
    for spool in (first, second, third):
        await spool.aclose()
    assert [] == entries(temporary)


@pytest.mark.usefixtures("temporary")
async def test_the_end_frees_the_lock() -> None:
    """A process that builds services one after another keeps no file open."""
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - paths are of no use here

    for _ in range(3):
        await Spool().aclose()

    assert before == len(os.listdir("/dev/fd"))  # noqa: PTH208 - as above


@pytest.mark.usefixtures("temporary")
async def test_a_start_is_never_faster_than_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another process is about to lock stays, and that process gets its lock."""
    lock, rivals = getattr(module, "_lock"), list[Spool]()  # noqa: B009 - it is private

    def slowly(*of: object) -> None:
        monkeypatch.setattr(module, "_lock", lock)
        rivals.append(Spool())
        lock(*of)

    monkeypatch.setattr(module, "_lock", slowly)
    spools = [Spool(), *rivals]

    for spool in [*spools, Spool()]:
        assert (await spool.store(io.BytesIO(b"a"))).path.exists()
        await spool.aclose()
    assert 2 == len(spools)


@pytest.mark.parametrize(
    "name",
    ["other-service-spool-a1b2c3d4", "spool-a1b2c3d4", "object-service-a1b2c3d4"],
    ids=["other-service", "no-service", "no-spool"],
)
async def test_a_start_touches_only_folders_of_its_service(temporary: Path, name: str) -> None:
    """Two services share a machine."""
    left = abandoned(temporary / name)

    await Spool().aclose()

    assert (left / "uploads" / "recording").exists()


async def test_a_start_touches_nothing_that_only_looks_like_a_spool(
    temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file, a folder without uploads and a link to somewhere else stay, without a word."""
    elsewhere = abandoned(temporary / "elsewhere")
    (temporary / "object-service-spool-file").touch()
    (temporary / "object-service-spool-notes").mkdir()
    (temporary / "object-service-spool-link").symlink_to(elsewhere)
    before = entries(temporary)

    await Spool().aclose()

    assert before == entries(temporary)
    assert [] == caplog.messages


async def test_a_start_leaves_the_folders_of_other_users_alone(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it has the right to delete them."""
    left = abandoned(temporary / "object-service-spool-a1b2c3d4")
    monkeypatch.setattr(os, "geteuid", lambda: left.stat().st_uid + 1)

    await Spool().aclose()

    assert (left / "uploads" / "recording").exists()


async def test_a_start_says_what_it_could_not_remove(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on with the other folders, and the service starts."""
    stuck, left = (abandoned(temporary / f"object-service-spool-{name}") for name in ("1", "2"))
    remove = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if os.fstat(dir_fd or 0).st_ino == inode:
            raise PermissionError(path)
        remove(path, dir_fd=dir_fd)

    inode = (stuck / "uploads").stat().st_ino
    monkeypatch.setattr(os, "unlink", refuse)
    await Spool().aclose()

    assert (True, False) == ((stuck / "uploads" / "recording").exists(), left.exists())
    assert {"spool_not_removed"} == set(caplog.messages)
    assert str(stuck / "uploads" / "recording") in [vars(line)["path"] for line in caplog.records]


async def test_a_disk_that_knows_no_locks_is_used_all_the_same(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Uploads work, a warning tells, and nobody takes the unlocked folder for an abandoned one."""

    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    spool = Spool()
    stored = await spool.store(io.BytesIO(b"a"))
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    await Spool().aclose()

    assert b"a" == stored.path.read_bytes()
    (line,) = caplog.records
    assert ("spool_lock_failed", logging.WARNING) == (line.message, line.levelno)
    await spool.aclose()


async def test_a_shared_folder_loses_forgotten_uploads_only(tmp_path: Path) -> None:
    """What nobody discarded for a week goes with the next upload; whatever else lies there stays, at the end too."""
    spool, other = Spool(tmp_path / "shared"), tmp_path / "shared" / "app.db"
    forgotten, waiting = [(await spool.store(io.BytesIO(b"a"))).path for _ in range(2)]
    other.write_bytes(b"not ours")
    for file, days in ((forgotten, 8), (waiting, 6), (other, 80)):
        os.utime(file, (time.time() - days * 86400,) * 2)
    last = (await spool.store(io.BytesIO(b"b"))).path
    await spool.aclose()

    assert sorted((waiting, other, last)) == entries(tmp_path / "shared")
    assert 0 == other.parent.stat().st_mode & 0o077


def test_a_file_is_described_where_it_lies(tmp_path: Path) -> None:
    """Size and digest without a copy; a missing file is an OSError."""
    file = tmp_path / "a.wav"
    file.write_bytes(b"abc")

    assert SpooledFile(file, 3, hashlib.sha256(b"abc").hexdigest()) == describe_file(file)
    with pytest.raises(OSError, match="missing"):
        describe_file(tmp_path / "missing")
