"""Plug-ins: kinds of provider that installed packages bring to a rendered service."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rendering import ONLY_GENAI, Workshop, run, tool
from serving import running
from tools import uv

pytestmark = pytest.mark.gate

CODE = '''"""Acme: answers in capitals."""

from my_service.chassis.providers import ProviderConfig, ProviderKind
from my_service.domain.genai import Answer, FinishReason, Generation


class Acme:
    """Answers in capitals."""

    async def generate(self, prompt, params):
        """Return the prompt in capitals."""
        return Answer(Generation(prompt.upper(), FinishReason.STOP))

    async def aclose(self):
        """Hold nothing."""


class AcmeConfig(ProviderConfig):
    """Settings of the plug-in."""


KIND = ProviderKind(AcmeConfig, lambda config, resources: Acme(), offline=True)
'''
SELECTED = {"MY_SERVICE_GENAI__PROVIDER": "acme"}

type Install = Callable[..., None]


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return a project that only this worker installs packages into."""
    return workshop.install(ONLY_GENAI, variant=f"plug-ins {os.environ.get('PYTEST_XDIST_WORKER', '')}")


@pytest.fixture
def plug_in(project: Path, tmp_path: Path) -> Iterator[Install]:
    """Return a function that builds and installs a package without the network; it is uninstalled in the end."""
    python = ["--offline", "--python", str(project / ".venv" / "bin" / "python")]
    installed = []

    def install(package: str, *, kind: str = "acme", code: str = CODE) -> None:
        module, folder = package.replace("-", "_"), tmp_path / package
        source = folder / "src" / module / "__init__.py"
        source.parent.mkdir(parents=True)
        source.write_text(code, encoding="utf-8")
        build = '[build-system]\nrequires = ["uv_build>=0.11"]\nbuild-backend = "uv_build"\n'
        entry = f'[project.entry-points."my_service.genai"]\n{kind} = "{module}"\n'
        text = f'[project]\nname = "{package}"\nversion = "1.0"\nrequires-python = ">=3.12"\n{entry}{build}'
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
        run(project, str(uv()), "pip", "install", "--quiet", *python, str(folder), check=True)
        installed.append(package)

    yield install
    run(project, str(uv()), "pip", "uninstall", "--quiet", *python, *installed, check=True)


def test_an_installed_package_brings_a_provider(project: Path, plug_in: Install, tmp_path: Path) -> None:
    """It is selected by a setting, serves over HTTP and on the command line, and is listed like any other."""
    plug_in("acme-texts")
    listed = tool(project, "my-service", "providers", "--json", env=SELECTED)
    (row,) = [row for row in json.loads(listed.stdout)["providers"] if row["name"] == "acme"]
    assert {"name": "acme", "kind": "acme", "object": "genai", "selected": True, "offline": True} == row
    assert "HELLO\n" == tool(project, "my-service", "generate", "hello", env=SELECTED).stdout
    with running(project, tmp_path / "service", SELECTED) as service:
        envelope = service.post("/v1/generations", {"prompt": "hello"}).document
    assert ("HELLO", "acme") == (envelope["result"]["text"], envelope["provenance"]["kind"])


def test_a_package_leaves_the_gate_green(project: Path, plug_in: Install) -> None:
    """The pages need no edit, and no provider of the project can take its name."""
    plug_in("acme-texts")
    done = tool(project, "pytest", "-q", "tests/test_documents.py")
    assert 0 == done.returncode, done.stdout
    refused = tool(project, "python", "scaffolds/new.py", "provider", "genai", "acme")
    assert (2, "error: 'acme' is a kind of provider already; choose another name\n") == (
        refused.returncode,
        refused.stderr,
    )


def test_a_broken_package_stops_only_who_selects_it(project: Path, plug_in: Install) -> None:
    """Without it everything works, and the page of the settings leaves it out with a warning."""
    plug_in("acme-texts", code="import nothing_of_this_name\n")
    assert "hello\n" == tool(project, "my-service", "generate", "hello").stdout
    printed = tool(project, "my-service", "config", "reference")
    assert (0, (project / "docs" / "settings.md").read_text(encoding="utf-8")) == (printed.returncode, printed.stdout)
    reason = "acme_texts of the package acme-texts cannot be imported (ModuleNotFoundError: No module named"
    assert f"warning: a plug-in is left out: acme: {reason}" in printed.stderr
    refused = tool(project, "my-service", "generate", "hello", env=SELECTED)
    assert (78, "") == (refused.returncode, refused.stdout)
    assert (
        f"MY_SERVICE_PROVIDERS__ACME__KIND (default): expected a kind that can be imported; {reason}" in refused.stderr
    )
    assert "Traceback" not in refused.stderr


def test_a_removed_package_is_an_unknown_kind(project: Path) -> None:
    """Whoever still selects it is told what there is."""
    refused = tool(project, "my-service", "generate", "hello", env=SELECTED)
    assert 78 == refused.returncode
    assert "MY_SERVICE_GENAI__PROVIDER (environment): expected one of " in refused.stderr


@pytest.mark.parametrize("other", [None, "acme-again"], ids=["the-service", "another-package"])
def test_a_name_that_is_taken_is_refused(project: Path, plug_in: Install, other: str | None) -> None:
    """Nobody is chosen by chance: the start is refused, and the report names both places."""
    kind = "echo" if other is None else "acme"
    plug_in("acme-texts", kind=kind)
    if other is not None:
        plug_in(other, kind=kind)
    refused = tool(project, "my-service", "config", "check")
    assert 78 == refused.returncode
    (line,) = refused.stderr.splitlines()[1:]
    assert line.startswith(f"entry point '{kind}' of my_service.genai (acme_")
    places = ["my_service.adapters.genai.echo"] if other is None else ["acme_texts of the", "acme_again of the"]
    assert [] == [place for place in ["package acme-", *places] if place not in line]
