"""Upcasting: brings stored envelopes of older schema versions to today's form, one version at a time."""

from collections.abc import Callable, Mapping

from ...chassis.contracts.envelope import SCHEMA_VERSION
from ...chassis.contracts.json import Json

type Document = dict[str, Json]
type Upcaster = Callable[[Document], Document]

UPCASTERS: Mapping[str, Upcaster] = {}
"""What turns a document of one version into one of the next; a new schema version comes with one for the last."""


class UnknownVersionError(Exception):
    """A stored envelope has a version that this code does not know: it was written by newer code, or by another."""


def upcast(document: Document, upcasters: Mapping[str, Upcaster] = UPCASTERS, to: str = SCHEMA_VERSION) -> Document:
    """Return a stored document in the form of version `to`; the argument is left as it is.

    Raises:
        UnknownVersionError: if no line of upcasters leads there.
    """
    passed = set[str]()
    while (version := str(document.get("schema_version"))) != to:
        if version in passed or version not in upcasters:
            message = f"a stored envelope has schema version {version!r}; expected {to!r} or one with an upcaster"
            raise UnknownVersionError(message)
        passed.add(version)
        document = upcasters[version](dict(document))
    return document
