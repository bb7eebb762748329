"""Tools: what a fresh machine needs to work on the template, installed below this folder and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_HOME = ROOT / ".tools"
_UV = "uv>=0.13.8,<1"
_FOREIGN = (
    *("VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"),
    # pyenv sets them for the folder in which a command begins: `.python-version` of this one would not count
    *("PYENV_VERSION", "PYENV_DIR"),
    # container images set it; each of the many processes of a test run would compile all that it imports
    "PYTHONDONTWRITEBYTECODE",
)
"""What belongs to whoever calls, and would lead the tools astray."""


def uv() -> Path:
    """Return the path of uv, installing it with pip the first time."""
    executable = _HOME / "bin" / "uv"
    if not executable.exists():
        print("Installing uv into .tools", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--root-user-action", "ignore"]
        subprocess.run([*command, "--target", str(_HOME), _UV], check=True)
    return executable


def environment() -> dict[str, str]:
    """Return the environment for every tool: uv first on the path, no interpreter is ever downloaded."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    path = os.pathsep.join([str(uv().parent), os.environ.get("PATH", "")])
    return {**kept, "PATH": path, "UV_PYTHON_DOWNLOADS": "never"}


def sync() -> None:
    """Install what the template's own tools need into `.venv`."""
    command = [str(uv()), "sync", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), check=False)
    if done.returncode != 0:
        sys.exit("The tools could not be installed; a Python 3.12 interpreter and a package index are needed.")


def run(*command: str) -> int:
    """Run a command of the template's environment and return its exit code."""
    return subprocess.run([str(uv()), "run", *command], cwd=ROOT, env=environment(), check=False).returncode
