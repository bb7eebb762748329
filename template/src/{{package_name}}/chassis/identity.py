"""Identity: the names of this service, all derived from the one name of its package."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from .contracts.envelope import Origin

PACKAGE = __name__.partition(".")[0]
"""Import name, such as `my_service`."""

SERVICE = PACKAGE.replace("_", "-")
"""Name of the distribution, the command and the service in logs and provenance."""

ENV_PREFIX = f"{PACKAGE.upper()}_"
"""What every environment variable of this service starts with."""

TEMPLATE_VERSION = "0.3.0"
"""Release of the template that the managed files come from; each release sets it."""


@cache
def service_version() -> str:
    """Return the installed version of the service, `0.0.0` when it runs without being installed."""
    try:
        return version(SERVICE)
    except PackageNotFoundError:
        return "0.0.0"


def origin() -> Origin:
    """Return how this service names itself in provenances."""
    return Origin(SERVICE, service_version())
