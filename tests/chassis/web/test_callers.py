"""Callers are told apart by the address they really come from, which nobody can choose freely."""

import logging
from ipaddress import ip_network

import pytest
from starlette.types import Scope

from chassis.web.app import FEATURES
from object_service.chassis.config.loading import load
from object_service.chassis.config.section import ConfigurationError
from object_service.chassis.web.callers import Addresses

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def _scope(peer: str | None, *forwarded: str) -> Scope:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"type": "http", "client": None if peer is None else (peer, 5), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.2.3.4"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("fd00::1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("10.0.0.1", ["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.7, unknown, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.1", ["\xff"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("2001:db8::1:2:3:4", [], "2001:db8::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("testclient", ["198.51.100.7"], "testclient"),
        (None, [], ""),
    ],
    ids=str,
)
def test_the_nearest_address_that_is_no_proxy_counts(peer: str | None, forwarded: list[str], expected: str) -> None:
    """Only a trusted proxy's word is taken, and of a list only what trusted proxies wrote."""
    assert expected == Addresses(PROXIES).of(_scope(peer, *forwarded))


def test_neighbours_in_one_network_are_one_caller() -> None:
    """Whoever has a network of IPv6 has more addresses than anybody can remember."""
    addresses = Addresses([])

    assert 1 == len({addresses.of(_scope(f"2001:db8:0:7::{number:x}")) for number in range(1, 50)})
    assert 49 == len({addresses.of(_scope(f"192.0.2.{number}")) for number in range(1, 50)})


def test_a_proxy_that_nobody_trusts_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The operator learns which setting is missing before all callers share one limit."""
    addresses = Addresses([])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            addresses.of(_scope("10.0.0.1", "198.51.100.7"))

    (line,) = caplog.records
    assert ("forwarded_address_ignored", "HTTP__TRUSTED_PROXIES") == (line.message, vars(line)["setting"])


@pytest.mark.parametrize("value", ['["0.0.0.0/0"]', '["::/0"]', '["10.0.0.1/8"]', '["proxy"]', "10.0.0.0/8"])
def test_networks_that_cannot_be_meant_stop_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """To trust everybody is to let everybody choose the address."""
    monkeypatch.setenv("OBJECT_SERVICE_HTTP__TRUSTED_PROXIES", value)
    with pytest.raises(ConfigurationError, match="HTTP__TRUSTED_PROXIES"):
        load(FEATURES)
