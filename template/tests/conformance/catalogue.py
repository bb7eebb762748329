"""Catalogue: every rule, in the order of the checklist."""

# Importing a module of rules adds them; the order of the imports is that of the checklist.
from tests.conformance import works  # noqa: F401, I001 - see above
from tests.conformance import failures  # noqa: F401
from tests.conformance import behaviour  # noqa: F401
from tests.conformance import secrecy  # noqa: F401
from tests.conformance import abilities  # noqa: F401
from tests.conformance import documents  # noqa: F401
from tests.conformance.rules import RULES

__all__ = ["RULES"]
