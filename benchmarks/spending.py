"""Spending: the CPU seconds of a command and of everything that it starts."""

import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path


def cpu_of(*command: str, cwd: Path, env: Mapping[str, str]) -> float:
    """Run a command without showing what it prints, and return its CPU seconds and those of its children.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
