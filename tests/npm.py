"""Programs of npm that tests run, each in a fixed release, installed once below `.tools`."""

import fcntl
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rendering import clean_environment
from tools import ROOT

INSTALL_S = 300
_SILENT = {"SCARF_ANALYTICS": "false", "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
"""Nothing that these programs could tell anybody leaves the machine."""


def installed(package: str, version: str) -> Path:
    """Return the folder of the modules of a package, which the first run on a machine installs."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("these tests need node and npm: apt-get install npm")
    name = f"{package.rpartition('/')[2]}-{version}"
    target = ROOT / ".tools" / "npm" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            unfinished = target.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(unfinished)]
            command = [npm, "install", *options, f"{package}@{version}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            assert 0 == done.returncode, done.stderr
            unfinished.rename(target)
    return target / "node_modules"


def node(script: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of a package."""
    return subprocess.run(
        ["node", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=clean_environment({**_SILENT, **(env or {})}),
    )
