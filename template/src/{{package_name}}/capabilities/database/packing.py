"""Packing: bytes that are compressed where they are long, and tell so by their first byte."""

import zlib

_PLAIN, _COMPRESSED = b"\x00", b"\x01"
_LEVEL = 1
"""Saves nine tenths of what the usual 6 does, in a quarter of the time, for which the event loop waits."""


def packed(content: bytes, over_bytes: int) -> bytes:
    """Return the content in the form in which it is stored; more than `over_bytes` are compressed."""
    return _COMPRESSED + zlib.compress(content, _LEVEL) if len(content) > over_bytes else _PLAIN + content


def unpacked(stored: bytes) -> bytes:
    """Return the content of what `packed` made."""
    return zlib.decompress(stored[1:]) if stored[:1] == _COMPRESSED else stored[1:]
