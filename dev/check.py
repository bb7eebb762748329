"""Check: sets everything up and runs all checks and tests of the template; with arguments, only pytest with them."""

import sys

from tools import ROOT, run, sync

_COMMANDS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "dev").glob("*.py"))
_LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", *_COMMANDS, "hooks", "tests", "benchmarks"),
)


_PYTEST = ("pytest", "-n", "2", "--dist", "worksteal")
_IN_PLACE = ("tests/chassis", "tests/capabilities")
_COVERED = (
    "--cov=object_service.chassis",
    "--cov=object_service.capabilities",
    "--cov-branch",
    "--cov-report=term:skip-covered",
    "--cov-fail-under=95",
)
_CHASSIS = (*_PYTEST, *_IN_PLACE, *_COVERED)
_PRODUCT = (*_PYTEST, "--durations=30", "tests", *(f"--ignore={folder}" for folder in _IN_PLACE))


def main() -> int:
    """Return 0 when everything passed."""
    sync()
    if len(sys.argv) > 1:
        return run(*_PYTEST, *sys.argv[1:])
    return next((code for command in (*_LINT, _CHASSIS, _PRODUCT) if (code := run(*command)) != 0), 0)


if __name__ == "__main__":
    sys.exit(main())
