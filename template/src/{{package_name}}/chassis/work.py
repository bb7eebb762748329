"""Long work inside this process: it ends with the process, which `/info` says; uploads wait for it on disk."""

import asyncio
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from .contracts.context import current, entered
from .contracts.envelope import Envelope, Failed, Pending, Succeeded
from .contracts.json import Json
from .contracts.work import EnvelopeStore, Keep, LongWork, Work, unkept
from .identity import SERVICE

if TYPE_CHECKING:
    from .container import Container

_log = logging.getLogger(__name__)


class MemoryStore:
    """Keeps envelopes in memory; of the finished ones only the newest `max_finished`."""

    def __init__(self, max_finished: int = 1000) -> None:
        """Begin empty."""
        self._max_finished = max_finished
        self._open: dict[str, Envelope[Any]] = {}
        self._finished: OrderedDict[str, Envelope[Any]] = OrderedDict()

    async def save(self, envelope: Envelope[Any]) -> None:
        """Keep the envelope, replacing an older one of the same id."""
        if isinstance(envelope, Succeeded | Failed):
            self._open.pop(envelope.id, None)
            self._finished[envelope.id] = envelope
            while len(self._finished) > self._max_finished:
                self._finished.popitem(last=False)
        else:
            self._open[envelope.id] = envelope

    async def load[T](self, id_: str, result: type[T], *, of: str) -> Envelope[T] | None:
        """Return the newest envelope `of` an object, with results of a type; None for an id not known (any more)."""
        del result  # it is what was saved
        found = self._open.get(id_) or self._finished.get(id_)
        return found if found is not None and found.provenance.object == of else None


class InProcessRunner:
    """Runs work as tasks of this process."""

    def __init__(self, store: EnvelopeStore) -> None:
        """Begin with nothing registered; envelopes are kept in `store`."""
        self._store = store
        self._works: dict[str, Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def register(self, name: str, work: Work) -> None:
        """Tell what to call for submissions under `name`."""
        self._works[name] = work

    async def submit(self, name: str, envelope: Pending, payload: Mapping[str, Json]) -> None:
        """Begin the work as a task of its own, without the deadline of the request that asked for it."""
        await self._store.save(envelope)
        id_ = envelope.id
        task = asyncio.create_task(self._run(name, id_, payload), name=id_)
        self._tasks[id_] = task
        task.add_done_callback(lambda _: self._tasks.pop(id_, None))
        # A task that is cancelled before its first step never runs, and would end without a word.
        await asyncio.sleep(0)

    async def _run(self, name: str, id_: str, payload: Mapping[str, Json]) -> None:
        try:
            with entered(current()._replace(deadline=None)):
                await self._works[name](id_, payload)
        except Exception:  # noqa: BLE001 - the last place that can tell
            _log.exception("work_crashed", extra={"work": name, "work_id": id_})

    async def wait(self, id_: str) -> None:
        """Return when the work has ended."""
        task = self._tasks.get(id_)
        if task is not None:
            await asyncio.wait([task])

    async def cancel(self, id_: str) -> None:
        """Stop the work and wait until it has stopped."""
        task = self._tasks.get(id_)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def aclose(self) -> None:
        """Stop all work at once and wait until it has stopped."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a capability keeps envelopes: those of long work, and those of answered calls."""

    store: EnvelopeStore
    keep: Keep


def long_work(container: "Container") -> LongWork:
    """Return what a capability provides for long work, otherwise run it inside this process.

    Call it after everything that the work needs was built: the work ends before that is closed.
    """
    if LongWork not in container:
        store = container[Storage].store if Storage in container else MemoryStore()
        container.provide(LongWork, LongWork(InProcessRunner(store), store, "in_process"))
    work = container[LongWork]
    container.on_close(work.runner.aclose)
    return work


def keeping(container: "Container") -> Keep:
    """Return what keeps the envelopes of answered calls; without such a capability nothing does."""
    return container[Storage].keep if Storage in container else unkept


_PIECE_BYTES = 1024 * 1024
_FORGOTTEN_S = 7 * 24 * 3600
_PREFIX, _UPLOADS, _UPLOAD = f"{SERVICE}-spool-", "uploads", f"{SERVICE}-upload-"


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A stored upload: where it lies, its size and the hex digest of its content."""

    path: Path
    bytes: int
    sha256: str


class Spool:
    """A private folder for uploads; deleted with everything in it when the service ends.

    What a killed process left behind is deleted by the next one. The folder is locked while its process lives: a
    process id would say little, since containers use the same few again.

    With a `shared` folder, uploads lie there instead until somebody discards them: the work that needs them may go on
    in another process. What nobody discarded for a week is deleted by the next upload.
    """

    def __init__(self, shared: Path | None = None) -> None:
        """Create the folder where the machine keeps temporary files; a shared one comes with the first upload."""
        self._lock, self._folder = ExitStack(), None
        if shared is not None:
            self._files = shared
            return
        _remove_abandoned()
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        self._files = Path(self._folder.name)
        try:
            _lock(self._files, self._lock)
            # Made last, since other processes pass over a folder without it: none can be faster than the lock.
            (self._files / _UPLOADS).mkdir(0o700)
            self._files /= _UPLOADS
        except OSError as error:
            _log.warning("spool_lock_failed", extra={"folder": self._folder.name, "error": str(error)})

    async def store(self, source: BinaryIO) -> SpooledFile:
        """Copy a stream to a new file, piece by piece."""
        return await self.store_pieces(_pieces_of(source))

    async def store_pieces(self, pieces: AsyncIterable[bytes]) -> SpooledFile:
        """Write what arrives to a new file; of what breaks off, nothing stays."""
        digest, size = hashlib.sha256(), 0
        target = await asyncio.to_thread(self._begin)
        with ExitStack() as undo:
            undo.callback(Path(target.name).unlink, missing_ok=True)
            with target:
                async for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    await asyncio.to_thread(target.write, piece)
            undo.pop_all()
        return SpooledFile(Path(target.name), size, digest.hexdigest())

    def _begin(self) -> IO[bytes]:
        if self._folder is None:
            self._files.mkdir(0o700, parents=True, exist_ok=True)
            _remove_older(self._files, time.time() - _FORGOTTEN_S)
        return tempfile.NamedTemporaryFile(dir=self._files, prefix=_UPLOAD, delete=False)

    async def discard(self, path: Path) -> None:
        """Delete a stored file; one that is gone already is fine."""
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def aclose(self) -> None:
        """Delete the folder, unless it is shared."""
        if self._folder is not None:
            await asyncio.to_thread(self._folder.cleanup)
        self._lock.close()


async def _pieces_of(source: BinaryIO) -> AsyncGenerator[bytes]:
    while piece := await asyncio.to_thread(source.read, _PIECE_BYTES):
        yield piece


def _lock(folder: Path, until: ExitStack) -> None:
    """Lock a folder; the kernel frees the lock when the process dies, however it dies."""
    opened = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    until.callback(os.close, opened)
    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_older(folder: Path, limit: float) -> None:
    for upload in folder.glob(f"{_UPLOAD}*"):  # whoever names a folder may keep other things there
        with suppress(OSError):
            if upload.stat().st_mtime < limit:
                upload.unlink()


def _remove_abandoned() -> None:
    for uploads in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_UPLOADS}"):
        # A folder that cannot be locked belongs to a process that lives, or to somebody else.
        with suppress(OSError), ExitStack() as lock:
            _lock(uploads.parent, lock)
            if uploads.parent.stat().st_uid == os.geteuid():
                shutil.rmtree(uploads.parent, onexc=_tell)


def _tell(_: object, path: str, error: BaseException) -> None:
    _log.warning("spool_not_removed", extra={"path": path, "error": str(error)})


def describe_file(path: Path) -> SpooledFile:
    """Return size and digest of a file where it lies (blocking).

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
        return SpooledFile(path, source.tell(), digest.hexdigest())
