"""Key file: recognises callers by their API keys, and notices when the file changes."""

import hmac
import logging
from collections.abc import Sequence
from contextvars import Context
from pathlib import Path

from ..clock import SystemClock
from ..contracts.clock import Clock
from ..contracts.context import Principal
from .keys import PREFIX, Key, KeysFileError, digest, read

RECHECK_S = 1.0
"""How often the file is looked at, at most; so long a removed key may still work."""

_SYSTEM = SystemClock()
_log = logging.getLogger(__name__)


class KeyFile:
    """An authenticator. A file that became unusable is told once, and the keys that were read last stay valid."""

    def __init__(self, path: Path, clock: Clock = _SYSTEM) -> None:
        """Begin without keys."""
        self._path = path
        self._clock = clock
        self._keys: Sequence[Key] = ()
        self._seen: tuple[int, ...] | None = ()
        self._next_look = -RECHECK_S

    def load(self) -> None:
        """Read the file now.

        Raises:
            KeysFileError: if it cannot be used.
        """
        self._seen = self._mark()
        self._keys = read(self._path)
        self._next_look = self._clock.monotonic() + RECHECK_S

    async def __call__(self, credential: str) -> Principal | None:
        """Return whose key it is; None for a key that is unknown or has expired."""
        if not credential.startswith(PREFIX):
            return None
        if self._clock.monotonic() >= self._next_look:
            self._look()
        shown = digest(credential).encode()
        found: Key | None = None
        for key in self._keys:
            # Every entry is compared, in constant time: how long it takes says nothing about what is near.
            if hmac.compare_digest(key.hash.encode(), shown):
                found = key
        if found is None:
            return None
        if found.expired(self._clock.now()):
            _log.warning("key_expired", extra={"principal": found.id})
            return None
        return Principal(found.id, frozenset(found.scopes))

    def _look(self) -> None:
        self._next_look = self._clock.monotonic() + RECHECK_S
        mark = self._mark()
        if mark == self._seen:
            return
        try:
            self.load()
        except KeysFileError as error:
            _log.error("keys_unusable", extra={"file": str(self._path), "reason": str(error), "kept": len(self._keys)})
        else:
            # News of the process: it is not held back with the lines of the request that brought it.
            Context().run(_log.info, "keys_loaded", extra={"file": str(self._path), "keys": len(self._keys)})

    def _mark(self) -> tuple[int, ...] | None:
        """Return what changes with the file, or None when there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
