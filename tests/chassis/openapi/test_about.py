"""About: the document says of the service what its distribution says."""

from email.message import Message

import pytest

from object_service.chassis.openapi import about

TOLD = {"Summary": "Texts for all.", "Author": "Ada", "License-Expression": "MIT"}


def test_the_metadata_of_the_distribution_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Description, contact and license come from pyproject.toml."""
    metadata = Message()
    for name, value in TOLD.items():
        metadata[name] = value
    monkeypatch.setattr(about, "metadata", lambda _: metadata)

    assert {
        "description": "Texts for all.",
        "contact": {"name": "Ada"},
        "license": {"name": "MIT", "identifier": "MIT"},
    } == about.about()


def test_without_a_license_it_belongs_to_its_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that says nothing still gives a valid document."""
    monkeypatch.setattr(about, "metadata", lambda _: Message())

    assert {"name": "Proprietary", "identifier": "LicenseRef-Proprietary"} == about.about()["license"]
