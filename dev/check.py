"""Check: sets everything up and runs all tests of the template. Arguments go to pytest."""

import sys

from tools import run, sync

_LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "dev/tools.py", "dev/check.py", "dev/demo.py", "tests", "benchmarks"),
)


def main() -> int:
    """Return 0 when everything passed."""
    sync()
    if len(sys.argv) == 1:
        for command in _LINT:
            if run(*command) != 0:
                return 1
    return run("pytest", "-n", "2", "--dist", "worksteal", *sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
