"""Addresses: which of them belong to the public internet; whatever is not known to is refused."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # the host of a virtual machine of Azure
            "169.254.0.0/16",  # with the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
"""Source: IANA IPv4 Special-Purpose Address Registry, and what virtual machines see."""

_PUBLIC_IPV6 = IPv6Network("2000::/3")
"""Everything else is private, local, or not given out. Source: IANA IPv6 Global Unicast Address Assignments."""

_NOT_PUBLIC_IPV6 = tuple(
    # Protocols (Teredo among them), documentation (twice), 6to4, which hides an IPv4 address.
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16"))
)
"""Source: IANA IPv6 Special-Purpose Address Registry."""

_EMBEDDING = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))
"""IPv4-mapped, and what DNS64 answers where a network has IPv6 only. Source: RFC 4291, 2.5.5.2; RFC 6052, 2.1."""


def may_be_reached(text: str, allowed: Iterable[Network] = ()) -> bool:
    """Tell whether an address is public, or in a network that is allowed although it is not."""
    address = _meant(ip_address(text))
    return any(address in network for network in allowed) or _is_public(address)


def _meant(address: Address) -> Address:
    """Return the IPv4 address that packets to an IPv6 address go to, where that is so."""
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    # A zone says through which interface: no public address needs it.
    if address.scope_id is not None or address not in _PUBLIC_IPV6:
        return False
    return not any(address in network for network in _NOT_PUBLIC_IPV6)
