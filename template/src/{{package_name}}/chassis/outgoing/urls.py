"""URLs: what a caller's URL has to look like, before anything is asked about its host."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from .failures import RefusedError

if TYPE_CHECKING:
    import httpx2

_MAX_CHARS = 8192
_NAME = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMERIC = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?", re.ASCII)
"""The last part of a host that systems read as an address: 127.1, 2130706433 and 0x7f.1 are all 127.0.0.1.

Source: WHATWG URL, host parsing, "ends in a number".
"""


def checked(url: str, *, base: "httpx2.URL | None" = None, allow_http: bool = False) -> "httpx2.URL":
    """Return a URL, or where a redirect leads from `base`; the one who connects reads the same parts of it.

    Raises:
        RefusedError: saying what was expected.
    """
    import httpx2  # noqa: PLC0415 - see http_client

    if len(url) > _MAX_CHARS:
        raise RefusedError(f"Expected a URL of at most {_MAX_CHARS} characters.")
    try:
        found = httpx2.URL(url) if base is None else base.join(url)
    except (httpx2.InvalidURL, ValueError):
        raise RefusedError("The URL cannot be read.") from None
    if found.scheme != "https" and not (allow_http and found.scheme == "http"):
        raise RefusedError("Expected a URL with https.")
    if found.userinfo:
        raise RefusedError("Expected a URL without user and password.")
    if not _is_usual(found.raw_host.decode("ascii")) or (found.port is not None and not 0 < found.port < 2**16):
        raise RefusedError("Expected a URL with the name of a host, or its address in the usual form.")
    return found


def _is_usual(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).version == 4 or "%" not in host  # noqa: PLR2004 - the version without zones
    return _NAME.fullmatch(host) is not None and _NUMERIC.fullmatch(host) is None
