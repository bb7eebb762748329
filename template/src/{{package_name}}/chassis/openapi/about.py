"""About: what the document says of the service as a whole; it stands in the metadata of its distribution."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from ..identity import SERVICE

_OPERATIONS = "What operators and their tools ask: health, metrics, what runs here."


def about() -> dict[str, Any]:
    """Return description, contact and license."""
    try:
        told = metadata(SERVICE)
    except PackageNotFoundError:
        return {"description": SERVICE, "contact": {"name": SERVICE}, "license": _license("")}
    contact = {"name": told.get("Author") or SERVICE}
    return {
        "description": told.get("Summary") or SERVICE,
        "contact": contact,
        "license": _license(told.get("License-Expression", "")),
    }


def tags(names: Sequence[str], told: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the tags with what features say of them."""
    known = {"operations": _OPERATIONS, **told}
    return [{"name": name, "description": known.get(name, f"Everything about {name}.")} for name in names]


def _license(expression: str) -> dict[str, str]:
    """Return a license by its SPDX expression; without one, the service belongs to those who made it."""
    name = expression or "Proprietary"
    return {"name": name, "identifier": expression or "LicenseRef-Proprietary"}
