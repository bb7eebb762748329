"""Identity: ids for what happens, fingerprints for what was asked."""

import hashlib
import json
import math
import secrets
import time
from collections.abc import Mapping
from typing import Any


def new_id(prefix: str) -> str:
    """Return a new id such as `gen_0190f3a7c4d81f...`: 48 bits of milliseconds, 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


VERSION = 1
"""Part of every fingerprint; raised when the canonical form changes."""


def fingerprint(operation: str, input_: Mapping[str, object], params: Mapping[str, object]) -> str:
    """Return `sha256:<hex>` over the canonical JSON of operation, input and params.

    Canonical: UTF-8, keys sorted, no spaces, non-ASCII unescaped. Provider, policy and times are not part of it.

    Raises:
        TypeError: for a value that is not plain JSON, or a key that is not text.
        ValueError: for a number that is not finite.

    >>> fingerprint("generate", {"prompt": "hello"}, {})
    'sha256:7c761df0fabaadc4650fd3cbdd504ddc7e8122116a15c2ebbb47f89ba350ad5e'
    """
    document = {"input": input_, "operation": operation, "params": params, "v": VERSION}
    text = json.dumps(_checked(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _checked(value: object) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        if not math.isfinite(value):
            message = f"a fingerprint takes finite numbers, not {value}"
            raise ValueError(message)
        return value
    if isinstance(value, list | tuple):
        return [_checked(item) for item in value]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: _checked(item) for key, item in value.items()}
    message = f"a fingerprint takes plain JSON values, not {type(value).__name__}"
    raise TypeError(message)
