"""Signatures of webhooks, as receivers check them.

Source: Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers".
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


def keys_of(secrets: str) -> tuple[bytes, ...]:
    """Return the keys that secrets separated by spaces stand for.

    Raises:
        ValueError: if one of them is not `whsec_` and the base64 of 24 to 64 bytes.
    """
    keys = tuple(_key_of(secret) for secret in secrets.split())
    if not keys:
        raise ValueError(_EXPECTED)
    return keys


_EXPECTED = "whsec_ and the base64 of 24 to 64 random bytes; several of them are separated by spaces"


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError(_EXPECTED)
    return key


def headers_of(id_: str, seconds: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """Return the headers of one attempt at `seconds` since 1970, signed with each of the keys.

    >>> key = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b".".join((id_.encode(), str(seconds).encode(), body))
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    signatures = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {"webhook-id": id_, "webhook-timestamp": str(seconds), "webhook-signature": signatures}
