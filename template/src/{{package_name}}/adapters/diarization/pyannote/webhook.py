"""Webhook: whether a request was signed by pyannoteAI, lately.

Source: https://docs.pyannote.ai/webhooks/verifying-webhooks, HMAC-SHA256 over `v0:{timestamp}:{raw body}`. Its text
says base64, its example compares hex: both are accepted.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

from ....chassis.contracts.errors import RequestError

_SECONDS = re.compile("[0-9]{1,12}")
_HEX_CHARS = 2 * hashlib.sha256().digest_size


def check_signature(headers: Mapping[str, str], body: bytes, secret: str, *, now_s: float, tolerance_s: float) -> None:
    """Return if the body is signed with the secret and its time, in seconds since 1970, is near `now_s`.

    Raises:
        RequestError: `unauthenticated`; it never says why.
    """
    timestamp = headers.get("x-request-timestamp", "")
    signed = b"v0:" + timestamp.encode() + b":" + body
    expected = hmac.digest(secret.encode(), signed, "sha256")
    genuine = hmac.compare_digest(expected, _decoded(headers.get("x-signature", "")))
    recent = _SECONDS.fullmatch(timestamp) is not None and abs(now_s - int(timestamp)) <= tolerance_s
    if not (genuine and recent):
        raise RequestError("The request is not authenticated.", code="unauthenticated", location="header")


def _decoded(signature: str) -> bytes:
    try:
        if len(signature) == _HEX_CHARS:
            return bytes.fromhex(signature)
        return base64.b64decode(signature, validate=True)
    except ValueError:
        return b""
