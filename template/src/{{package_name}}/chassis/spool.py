"""Spool: uploads on local disk, from arrival until the work on them has ended."""

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A stored upload: where it lies, its size and the hex digest of its content."""

    path: Path
    bytes: int
    sha256: str


class Spool:
    """A private folder for uploads; deleted with everything in it when the service ends."""

    def __init__(self) -> None:
        """Create the folder where the machine keeps temporary files."""
        self._folder = tempfile.TemporaryDirectory(prefix="spool-", ignore_cleanup_errors=True)

    async def store(self, source: BinaryIO) -> SpooledFile:
        """Copy a stream to a new file, piece by piece."""
        return await asyncio.to_thread(self._copy, source)

    def _copy(self, source: BinaryIO) -> SpooledFile:
        digest, size = hashlib.sha256(), 0
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as target:
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
                target.write(piece)
        return SpooledFile(Path(target.name), size, digest.hexdigest())

    async def discard(self, path: Path) -> None:
        """Delete a stored file; one that is gone already is fine."""
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def aclose(self) -> None:
        """Delete the folder."""
        await asyncio.to_thread(self._folder.cleanup)


def describe_file(path: Path) -> SpooledFile:
    """Return size and digest of a file where it lies (blocking).

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256")
        return SpooledFile(path, source.tell(), digest.hexdigest())
