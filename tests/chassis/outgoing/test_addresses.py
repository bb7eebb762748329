"""Addresses of which a caller may have something fetched: those of the public internet."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from object_service.chassis.outgoing.addresses import may_be_reached

REFUSED = {
    "loopback": "127.0.0.1",
    "loopback of IPv6": "::1",
    "metadata": "169.254.169.254",
    "metadata by IPv6": "fd00:ec2::254",
    "metadata behind a shared address": "100.100.100.200",
    "metadata in protocol space": "192.0.0.192",
    "host of a virtual machine": "168.63.129.16",
    "private": "10.1.2.3",
    "private, middle": "172.31.255.255",
    "private, small": "192.168.0.1",
    "carrier": "100.127.255.255",
    "unspecified": "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "unspecified of IPv6": "::",
    "multicast": "224.0.0.1",
    "multicast of IPv6": "ff02::1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "documentation": "203.0.113.5",
    "benchmark": "198.18.0.1",
    "link-local": "fe80::1",
    "link-local with a zone": "fe80::1%eth0",
    "public with a zone": "2606:4700::1111%eth0",
    "unique local": "fc00::1",
    "site-local": "fec0::1",
    "mapped": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "compatible": "::127.0.0.1",
    "translated": "64:ff9b::a9fe:a9fe",
    "translated in the house": "64:ff9b:1::808:808",
    "6to4": "2002:a9fe:a9fe::1",
    "6to4 of a public address": "2002:808:808::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "not given out": "4000::1",
    "discarded": "100::1",
}
REACHED = {
    "IPv4": "93.184.216.34",
    "below private": "9.255.255.255",
    "above private": "11.0.0.0",
    "beside carrier": "100.63.255.255",
    "beside the last private": "172.32.0.0",
    "IPv6": "2606:4700:4700::1111",
    "mapped": "::ffff:8.8.8.8",
    "translated": "64:ff9b::808:808",
}
IPV4 = st.ip_addresses(v=4)
LOCAL = [ip_network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "fc00::/7")]


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    """Whatever way leads inside: private, local, metadata, an IPv4 address inside another one."""
    assert not may_be_reached(address)


@pytest.mark.parametrize("address", REACHED.values(), ids=REACHED)
def test_what_is_public_is_reached(address: str) -> None:
    """Neighbours of refused networks are not refused."""
    assert may_be_reached(address)


@given(st.ip_addresses())
def test_nothing_is_reached_that_the_registries_do_not_call_global(address: IPv4Address | IPv6Address) -> None:
    """The standard library, which follows the registries, may know more public addresses, and never fewer."""
    assert address.is_global or not may_be_reached(str(address))


@given(st.sampled_from(LOCAL).flatmap(lambda network: st.ip_addresses(network=network)))
def test_no_local_address_is_reached(address: IPv4Address | IPv6Address) -> None:
    """In none of their networks, at no place."""
    assert not may_be_reached(str(address))


@given(IPV4, st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
def test_an_address_inside_another_one_decides(inner: IPv4Address, prefix: str) -> None:
    """What an IPv6 address stands for may be reached if, and only if, the IPv4 address itself may."""
    outer = IPv6Address(int(IPv6Address(prefix)) + int(inner))

    assert may_be_reached(str(inner)) is may_be_reached(str(outer))


@given(IPV4)
def test_an_address_is_never_reached_through_tunnels(inner: IPv4Address) -> None:
    """Neither as 6to4 nor as an IPv4-compatible address, public or not."""
    assert not may_be_reached(str(IPv6Address((0x2002 << 112) + (int(inner) << 80) + 1)))
    assert not may_be_reached(str(IPv6Address(int(inner))))


def test_a_network_may_be_allowed() -> None:
    """An operator who names a network means these addresses, in whatever form, and no others."""
    allowed = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]

    reached = ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd00::1", "8.8.8.8"]
    assert [True] * 5 == [may_be_reached(address, allowed) for address in reached]
    assert [False] * 3 == [may_be_reached(address, allowed) for address in ("10.2.0.0", "fc00::1", "127.0.0.1")]
    assert not may_be_reached(str(ip_address("10.1.2.3")))
