"""Callers: the address that a request comes from, as it is counted."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

_log = logging.getLogger(__name__)

type Network = IPv4Network | IPv6Network

_OWNED_BITS = 64
"""What one subscriber of IPv6 has at least: single addresses cost nothing. Source: RFC 6177, section 2."""


class Addresses:
    """Tells from where a request comes: the other end of the connection, or what a trusted proxy says."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        """Take the networks of the proxies whose `X-Forwarded-For` is believed."""
        self._proxies = proxies
        self._told = False

    def of(self, scope: Scope) -> str:
        """Return the caller's address, of IPv6 its network; what cannot be read counts as one caller."""
        peer = scope["client"][0] if scope.get("client") else ""
        address = _parsed(peer)
        if address is None:
            return str(peer)
        hops = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if hops and self._trusts(address):
            address = self._behind(address, ",".join(hops).split(","))
        elif hops and not self._told:
            self._told = True
            _log.warning("forwarded_address_ignored", extra={"peer": peer, "setting": "HTTP__TRUSTED_PROXIES"})
        return _counted(address)

    def _behind(self, proxy: IPv4Address | IPv6Address, hops: Sequence[str]) -> IPv4Address | IPv6Address:
        """Return the nearest address that is no trusted proxy: whatever stands before it, anybody may have written."""
        address = proxy
        for hop in reversed(hops):
            said = _parsed(hop)
            if said is None:
                break
            address = said
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._proxies)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, which proxies write with a port or in brackets as well."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _counted(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, _OWNED_BITS), strict=False))
