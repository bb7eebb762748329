"""Identifiers: opaque, sortable by time, at most 64 characters of `[a-z0-9_]`."""

import secrets
import time


def new_id(prefix: str) -> str:
    """Return a new id such as `gen_0190f3a7c4d81f...`: 48 bits of milliseconds, 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
