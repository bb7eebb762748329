"""Bootstrap: finds the features of this service and hands them to the chassis."""

from . import capabilities, wiring
from .chassis.features import discover
from .chassis.runtime import Runtime


def runtime() -> Runtime:
    """Return this service: every feature of `capabilities` and `wiring`."""
    return Runtime(discover(capabilities, wiring))


def main() -> None:
    """Run the command line and exit with its code."""
    from .chassis.cli.main import run  # noqa: PLC0415 - only the command line pays for the command line

    run(runtime())
