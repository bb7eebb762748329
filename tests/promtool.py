"""Prometheus: the server and promtool, which tries alert rules, from the PATH or from the distribution's package."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import ROOT

_HOME = ROOT / ".tools" / "prometheus"


def promtool() -> Path:
    """Return the program; the first time, it is unpacked below `.tools`, and nothing is installed.

    A machine that has neither it nor Debian packages skips the test.
    """
    return _program("promtool")


def prometheus() -> Path:
    """Return the server, as above."""
    return _program("prometheus")


def _program(name: str) -> Path:
    found = shutil.which(name) or shutil.which(f"usr/bin/{name}", path=str(_HOME))
    if found is None:
        unpacked = _HOME / "usr" / "bin" / name
        if not unpacked.exists():
            _unpack()
        found = str(unpacked)
    return Path(found)


def _unpack() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("needs prometheus and promtool on the PATH, or apt-get and dpkg to fetch it")
    _HOME.mkdir(parents=True, exist_ok=True)
    if _ran("apt-get", "download", "prometheus") != 0:
        _ran("apt-get", "update", "--quiet")
        if _ran("apt-get", "download", "prometheus") != 0:
            pytest.skip("needs prometheus and promtool on the PATH; apt-get has no package prometheus")
    (package,) = _HOME.glob("prometheus_*.deb")
    assert 0 == _ran("dpkg", "-x", str(package), str(_HOME))
    package.unlink()


def _ran(*command: str) -> int:
    return subprocess.run(command, cwd=_HOME, capture_output=True, timeout=300, check=False).returncode
