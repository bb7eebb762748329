"""The two commands of the template set themselves up, wherever and however they are started."""

import shlex
import shutil
import sys
from pathlib import Path

import pytest

import demo
import tools
from rendering import run

FOREIGN = [
    *("PYENV_VERSION", "PYENV_DIR", "VIRTUAL_ENV", "UV_PYTHON", "PYTHONPATH", "PYTHONHOME"),
    "PYTHONDONTWRITEBYTECODE",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_belongs_to_the_caller_does_not_lead_the_tools_astray(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """No variable of whoever starts a command decides which interpreter the tools find, and how slowly it begins."""
    monkeypatch.setenv(name, "/elsewhere")

    assert name not in tools.environment()


def test_a_shim_of_pyenv_finds_the_interpreter_of_the_folder(tmp_path: Path) -> None:
    """Started from elsewhere, pyenv would say that its global version is meant everywhere below."""
    if shutil.which("pyenv") is None:
        pytest.skip("pyenv is not on the path")
    (tmp_path / ".python-version").write_text("3.12\n", encoding="utf-8")
    variables = {"PYENV_VERSION": "0.0.0", "PYENV_DIR": "/"}
    script = "import tools, subprocess as s; s.run(['pyenv', 'version-name'], env=tools.environment(), check=True)"

    done = run(tmp_path, sys.executable, "-c", script, env={**variables, "PYTHONPATH": str(tools.ROOT / "dev")})

    assert done.stdout.startswith("3.12"), done.stderr


def test_next_steps_can_be_pasted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A path with a blank is quoted in every command that the demo prints."""
    root = Path("/a folder/it's here")
    monkeypatch.setattr(demo, "ROOT", root)
    monkeypatch.setattr(demo, "_TARGET", root / "scratch" / "my-service")
    monkeypatch.chdir("/")

    demo._next_steps()

    printed = capsys.readouterr().out
    commands = [shlex.split(line) for line in printed.splitlines() if line.startswith("  ")]
    assert ["cd", "a folder/it's here/scratch/my-service"] == commands[0]
    assert ["a folder/it's here/.venv/bin/copier", "copy", str(root), "/path/to/your-service"] == commands[2]
