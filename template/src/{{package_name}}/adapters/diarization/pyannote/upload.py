"""Upload: whether a recording may be sent to where the vendor says."""

import ipaddress
import socket
from urllib.parse import urlsplit

from ....chassis.outgoing.addresses import may_be_reached


def is_safe(url: str, api_scheme: str) -> bool:
    """Tell whether a URL leads to a host, without credentials, and hides the recording as well as the API does.

    Where the API has https, an address that is not public is refused too: the vendor is not there.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    # `urlsplit` passes over some characters that the client would not.
    if not url.isprintable() or not host or parts.scheme not in {"https", api_scheme} or "@" in parts.netloc:
        return False
    return api_scheme != "https" or not _is_inside(host.rstrip("."))


def _is_inside(host: str) -> bool:
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return not may_be_reached(str(address))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is written as, in short forms such as 127.1 too; None for a name."""
    try:
        return ipaddress.IPv6Address(host) if ":" in host else ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
