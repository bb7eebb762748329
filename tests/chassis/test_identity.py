"""All names of the service follow from the one name of its package."""

import pytest

from object_service.chassis import identity


def test_every_name_follows_from_the_package() -> None:
    """Distribution and command with dashes, prefix in capitals."""
    assert ("object_service", "object-service", "OBJECT_SERVICE_") == (
        identity.PACKAGE,
        identity.SERVICE,
        identity.ENV_PREFIX,
    )


def test_the_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's metadata tells the version; run from a checkout, it is 0.0.0."""
    assert "0.0.0" == identity.service_version()

    monkeypatch.setattr(identity, "version", lambda name: f"1.2.3 of {name}")
    uncached = getattr(identity.service_version, "__wrapped__", identity.service_version)
    assert "1.2.3 of object-service" == uncached()


def test_the_service_names_itself() -> None:
    """Name and version in every provenance."""
    assert ("object-service", "0.0.0") == (identity.origin().service, identity.origin().service_version)
