"""Keys: what a file of API keys holds, and how it is read and written. It has digests only, never a key.

A key has 256 random bits, so that one round of SHA-256 is enough to keep it: there is nothing to guess.
"""

import hashlib
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..contracts.context import EVERY_SCOPE
from ..identity import SERVICE

PREFIX = "osk_"
"""What every API key begins with, so that it is recognised wherever it leaked to."""

_RANDOM_BYTES = 32
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SCOPE = re.compile(rf"[a-z][a-z0-9_.:-]{{0,63}}|{re.escape(EVERY_SCOPE)}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_FIELDS = {"id", "hash", "scopes", "not_after"}
_HEAD = f"# API keys, as digests. Written by `{SERVICE} keys`, which keeps no comments.\n"


class KeysFileError(Exception):
    """A file of keys cannot be used; the text says why, and never repeats what stands in it."""


@dataclass(frozen=True, slots=True)
class Key:
    """One API key: whose it is, its digest, what it may do, and until when; None is for ever."""

    id: str
    hash: str
    scopes: tuple[str, ...] = ()
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be written and read again.

        Raises:
            KeysFileError: with what was expected.
        """
        if not _ID.fullmatch(self.id):
            raise KeysFileError("an id of 1 to 40 characters a-z, 0-9, - and _ is expected")
        if not _HASH.fullmatch(self.hash):
            raise KeysFileError("a hash is expected as sha256: and 64 hexadecimal digits in lower case")
        if not all(_SCOPE.fullmatch(scope) for scope in self.scopes):
            raise KeysFileError(f"scopes are expected as names such as ops, or {EVERY_SCOPE} for all")
        if self.not_after is not None and self.not_after.tzinfo is None:
            raise KeysFileError("not_after is expected with its offset, such as 2027-01-31T00:00:00Z")

    def expired(self, now: datetime) -> bool:
        """Tell whether the key is not valid any more."""
        return self.not_after is not None and now >= self.not_after


def new_secret() -> str:
    """Return a new API key."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest(key: str) -> str:
    """Return what is kept of a key."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def read(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, in its order.

    Raises:
        KeysFileError: if it cannot be read, or an entry is not one.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise KeysFileError(error.strerror or "it cannot be read") from error
    except ValueError as error:  # what stands in the file is not repeated
        raise KeysFileError("it is not TOML in UTF-8") from error
    if not text.strip():  # somebody is about to write it, or never did: that is not to take every key away
        raise KeysFileError("it is empty")
    entries = document.pop("keys", [])
    if document or not isinstance(entries, list):
        raise KeysFileError("only [[keys]] entries are expected")
    keys = tuple(_key(number, entry) for number, entry in enumerate(entries, 1))
    if len({key.hash for key in keys}) < len(keys):
        raise KeysFileError("two entries have the same hash")
    return keys


def _key(number: int, entry: object) -> Key:
    try:
        return _checked(entry)
    except KeysFileError as error:
        message = f"entry {number}: {error}"
        raise KeysFileError(message) from None


def _checked(entry: object) -> Key:
    if not isinstance(entry, Mapping) or not {"id", "hash"} <= set(entry) <= _FIELDS:
        raise KeysFileError("id and hash are expected, scopes and not_after are possible, and nothing else is")
    fields: Mapping[str, Any] = entry
    scopes, not_after = fields.get("scopes", []), fields.get("not_after")
    if not all(isinstance(fields[name], str) for name in ("id", "hash")):
        raise KeysFileError("id and hash are expected as text")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise KeysFileError("scopes are expected as a list of texts")
    if not (not_after is None or isinstance(not_after, datetime)):
        raise KeysFileError("not_after is expected as a date with a time, without quotes")
    return Key(fields["id"], fields["hash"], tuple(scopes), not_after)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait until nobody else changes a file who holds it as well, and keep them waiting.

    Its folder is locked, so that nothing is left beside it. Where that cannot be (Windows, some network drives, a
    folder without rights), nobody waits.
    """
    with ExitStack() as until:
        with suppress(ImportError, OSError):
            import fcntl  # noqa: PLC0415 - Windows has none

            folder = os.open(path.resolve().parent, os.O_RDONLY)
            until.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield


def write(path: Path, keys: Sequence[Key]) -> None:
    """Replace a file as a whole; a new one is for its owner alone, an old one keeps its mode and, if possible, owner.

    Raises:
        KeysFileError: if it cannot be written; then it is what it was.
    """
    target = path.resolve()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise KeysFileError(error.strerror or "it cannot be written") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join([_HEAD, *(_entry(key) for key in keys)]))
            file.flush()
            os.fsync(file.fileno())
        _keep_access(target, name)
        Path(name).replace(target)
    except OSError as error:
        raise KeysFileError(error.strerror or "it cannot be written") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _keep_access(target: Path, name: str) -> None:
    try:
        found = target.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError, AttributeError):  # only root gives files away; on Windows nobody does
        os.chown(name, found.st_uid, found.st_gid)
    Path(name).chmod(found.st_mode & 0o777)


def _entry(key: Key) -> str:
    lines = ["[[keys]]", f'id = "{key.id}"', f'hash = "{key.hash}"']
    lines.append(f"scopes = [{', '.join(f'"{scope}"' for scope in key.scopes)}]")
    if key.not_after is not None:
        lines.append(
            f"not_after = {key.not_after.astimezone(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}"
        )
    return "\n".join([*lines, ""])
