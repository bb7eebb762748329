"""Settings of what is fetched for callers."""

import pytest

from object_service.chassis.config.section import Environment
from object_service.chassis.outgoing.settings import OutgoingSection


def test_nothing_inside_is_allowed_unless_somebody_says_so() -> None:
    """The defaults lead to the public internet, with TLS."""
    section = OutgoingSection()

    assert ((), False) == (section.allowed_networks, section.allow_http)


def test_networks_are_read_as_text() -> None:
    """One variable holds them all, as JSON."""
    section = OutgoingSection.model_validate({"allowed_networks": '["10.0.0.0/8", "fd00::/8"]'})

    assert ["10.0.0.0/8", "fd00::/8"] == [str(network) for network in section.allowed_networks]


def test_a_network_that_is_none_is_refused() -> None:
    """An address beside the prefix is a mistake: it may have been meant alone."""
    with pytest.raises(ValueError, match="not a valid IPv4 or IPv6 network"):
        OutgoingSection.model_validate({"allowed_networks": ["10.0.0.1/8"]})


@pytest.mark.parametrize("environment", Environment)
def test_http_is_for_dev_only(environment: Environment) -> None:
    """Elsewhere the settings are refused."""
    found = [one.field for one in OutgoingSection(allow_http=True).contradictions(environment)]

    assert ([] if environment is Environment.DEV else [("allow_http",)]) == found
    assert [] == list(OutgoingSection().contradictions(environment))
