"""Bad code is rejected: what a rule forbids is written into an untouched project, and its own tools say so."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from rendering import DEFAULT, MINIMAL, Workshop, tool

pytestmark = pytest.mark.gate

DOCSTRING = '"""Bad on purpose."""\n\n'

# What is imported from where, and the name of the contract that forbids it.
LAYERS: dict[str, tuple[str, str, str]] = {
    "domain imports settings": ("domain/genai.py", "from ..chassis.config import section", "Domain and service know"),
    "domain imports service": ("domain/genai.py", "from ..service import genai as upper", "Layers: higher ones"),
    "domain imports another object": ("domain/genai.py", "from . import diarization", "know each other: domain"),
    "service imports the HTTP client": ("service/genai.py", "import httpx2", "Domain and service know"),
    "service imports resilience": ("service/genai.py", "from ..chassis.resilience import steps", "Domain and service"),
    "service imports settings": ("service/genai.py", "from ..chassis.config import loading", "Domain and service know"),
    "service imports the web": ("service/genai.py", "import fastapi", "Domain and service know"),
    "domain imports a service for types": (
        "domain/genai.py",
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from ..service import genai as upper",
        "Layers: higher ones",
    ),
    "service imports the web for types": (
        "service/genai.py",
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import fastapi",
        "Domain and service know",
    ),
    "service imports pydantic": ("service/genai.py", "import pydantic", "Domain and service know"),
    "service imports adapters": ("service/genai.py", "from ..adapters.genai import echo", "Layers: higher ones"),
    "service imports another object": ("service/genai.py", "from . import diarization", "know each other: service"),
    "adapters import a service": ("adapters/genai/echo.py", "from ...service import genai", "Adapters know the domain"),
    "adapters import transport": ("adapters/genai/echo.py", "from ...transport import cli", "Layers: higher ones"),
    "transport imports adapters": ("transport/http/genai.py", "from ...adapters.genai import echo", "Layers: higher"),
    "transport imports wiring": ("transport/http/genai.py", "from ...wiring import genai as up", "Layers: higher"),
    "transport imports another object": ("transport/http/genai.py", "from . import diarization", "each other: HTTP"),
    "commands import another object": ("transport/cli/genai.py", "from . import diarization", "each other: commands"),
    "a kind imports another kind": ("adapters/genai/echo.py", "from . import openai_compatible", "Kinds of provider"),
    "adapters import another object's": ("adapters/genai/echo.py", "from .. import diarization", "different objects"),
    "wiring imports another object's": ("wiring/genai.py", "from . import diarization", "know each other: wiring"),
    "chassis imports wiring": ("chassis/runtime.py", "from .. import wiring", "Layers: higher ones"),
    "chassis imports a domain": ("chassis/work.py", "from ..domain import genai", "Layers: higher ones"),
    "chassis imports a capability": ("chassis/runtime.py", "from .. import capabilities", "Layers: higher ones"),
    "service imports a capability": ("service/genai.py", "from .. import capabilities", "Layers: higher ones"),
    "domain imports a capability": ("domain/genai.py", "from .. import capabilities", "Layers: higher ones"),
    "settings import the web": ("chassis/config/loading.py", "from .. import web", "Layers inside the chassis"),
    "contracts import pydantic": ("chassis/contracts/json.py", "import pydantic", "The contracts of the chassis"),
    "contracts import the chassis": (
        "chassis/contracts/json.py",
        "from .. import identity",
        "Layers inside the chassis",
    ),
    "new module beside the layers": ("helpers.py", "", "Layers: higher ones"),
    "new module in the chassis": ("chassis/helpers.py", "", "Layers inside the chassis"),
}
INDIRECT = {
    "chassis/contracts/detour.py": "import httpx2\n\n__all__ = ['httpx2']\n",
    "service/genai.py": "from ..chassis.contracts import detour\n",
}

# Libraries that come with others, so that no list of forbidden ones names them all.
IMPURE = {
    "domain": ("domain/genai.py", "import anyio"),
    "service": ("service/diarization/work.py", "import yaml"),
    "contracts": ("chassis/contracts/json.py", "import h11"),
    "tool": ("domain/diarization.py", "from hypothesis import given"),
}

# A body of a module, the code of the rule, and a part of its message.
LINT: dict[str, tuple[str, str, str]] = {
    "sleeping": ("import time\n\n\nasync def work() -> None:\n    time.sleep(1)", "ASYNC251", "time.sleep"),
    "opening": ("async def work() -> str:\n    with open('a') as f:\n        return f.read()", "ASYNC230", "open"),
    "calling a program": (
        "import subprocess\n\n\nasync def work() -> None:\n    subprocess.run('a')",
        "ASYNC221",
        "",
    ),
    "requests": (
        "import requests\n\n\ndef work() -> None:\n    requests.get('a')",
        "TID251",
        "blocks the event loop",
    ),
    "httpx": ("import httpx\n\n\nasync def work() -> None:\n    httpx.AsyncClient()", "TID251", "Use httpx2"),
    "blocking client": ("import httpx2\n\n\nasync def work() -> None:\n    httpx2.get('a')", "TID251", "AsyncClient"),
    "blocking request": ("import httpx2\n\n\nasync def work() -> None:\n    httpx2.put('a')", "TID251", "AsyncClient"),
    "buffering middleware": (
        "from starlette.middleware.base import BaseHTTPMiddleware\n\n\nclass A(BaseHTTPMiddleware):\n    pass",
        "TID251",
        "write pure ASGI middleware",
    ),
    "buffering middleware by module": (
        "from starlette.middleware import base\n\n\nclass A(base.BaseHTTPMiddleware):\n    pass",
        "TID251",
        "write pure ASGI middleware",
    ),
    "unused exemption": ("VALUE = 1  # noqa: S101", "RUF100", "Unused"),
    "exemption of everything": ("import os  # noqa", "PGH004", "specific rule codes"),
    "no docstring": ("def work() -> None:\n    return None", "D103", "Missing docstring"),
    "swallowed failure": ("try:\n    VALUE = 1\nexcept Exception:\n    pass", "S110", "log"),
    "text in a log": ("import logging\n\nlogging.getLogger().info(f'{__name__}')", "G004", "f-string"),
    "printing": ("print(1)", "T201", "print"),
    "later": ("VALUE = 1  # TODO: later", "FIX002", "TODO"),
    "dead code": ("# VALUE = int('1')", "ERA001", "commented-out"),
    "secret": ("PASSWORD = 'abcdef123'", "S105", "hardcoded password"),
    "time without a zone": ("import datetime\n\nNOW = datetime.datetime.now()", "DTZ005", "tz"),
}

TYPES = {
    "untyped": ("def work(a):\n    return a", "no-untyped-def"),
    "member that is not handled": (
        """
        from typing import assert_never
        from ..chassis.contracts.envelope import Failed, Pending, Running, Succeeded

        def work(envelope: Pending | Running | Succeeded[int] | Failed) -> str:
            match envelope:
                case Pending() | Running():
                    return "open"
                case Succeeded():
                    return "done"
                case _:
                    assert_never(envelope)
        """,
        "arg-type",
    ),
    "value that is not handled": (
        """
        from ..domain.genai import FinishReason

        def work(reason: FinishReason) -> str:
            match reason:
                case FinishReason.STOP:
                    return "stop"
                case FinishReason.LENGTH:
                    return "length"
            return ""
        """,
        "exhaustive-match",
    ),
    "forgotten await": ("async def a() -> int:\n    return 1\n\nasync def b() -> None:\n    a()", "unused-coroutine"),
    "unused ignore": ("VALUE = 1  # type: ignore[arg-type]", "unused-ignore"),
    "ignore without a code": ("VALUE: int = 'a'  # type: ignore", "ignore-without-code"),
    "bare container": ("def work(a: dict) -> None:\n    del a", "type-arg"),
    "wrong port": (
        """
        from ..domain.genai import Answer, GenerationParams, TextGenerator

        class Wrong:
            async def generate(self, prompt: str) -> Answer: ...
            async def aclose(self) -> None: ...

        PORT: TextGenerator = Wrong()
        """,
        "assignment",
    ),
    "unknown setting": ("from ..wiring.genai import GenAISection\n\nSECTION = GenAISection(providr='a')", "call-arg"),
}


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return an installed project that nobody else uses, not even another worker."""
    return workshop.install(DEFAULT, f"rejections {os.environ.get('PYTEST_XDIST_WORKER')}", typed=True)


@contextmanager
def written(project: Path, sources: Mapping[str, str]) -> Iterator[None]:
    """Put bad code behind what stands in files of a project, or into new ones, for a block."""
    before: dict[Path, str | None] = {}
    for name, text in sources.items():
        path = project / name
        before[path] = path.read_text(encoding="utf-8") if path.exists() else None
        path.write_text((before[path] or DOCSTRING) + text + "\n", encoding="utf-8")
    try:
        yield
    finally:
        for path, old in before.items():
            if old is None:
                path.unlink()
            else:
                path.write_text(old, encoding="utf-8")


def broken(project: Path, sources: Mapping[str, str]) -> str:
    """Return the names of the contracts that these additions to the package break."""
    with written(project, {f"src/my_service/{name}": text for name, text in sources.items()}):
        done = tool(project, "lint-imports", "--no-cache")
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert 1 == done.returncode
    return "\n".join(re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("case", LAYERS)
def test_layer_break_is_rejected(project: Path, case: str) -> None:
    """An import against the layers breaks the contract that says so."""
    module, line, contract = LAYERS[case]
    assert contract in broken(project, {module: line})


def test_indirect_import_is_rejected(project: Path) -> None:
    """A forbidden library does not come in by a detour over the contracts either."""
    assert "Domain and service know" in broken(project, INDIRECT)


def test_import_inside_a_function_is_rejected(project: Path) -> None:
    """A layer break does not hide in a function."""
    hidden = "def late() -> None:\n    from ..service import genai as upper\n    del upper"
    assert "Layers: higher ones" in broken(project, {"domain/genai.py": hidden})


@pytest.mark.parametrize("case", IMPURE)
def test_any_library_in_the_middle_is_rejected(project: Path, case: str) -> None:
    """What domain, service and contracts import from outside fails a proof, whatever it is called."""
    module, line = IMPURE[case]
    with written(project, {f"src/my_service/{module}": line}):
        done = tool(project, "pytest", "-q", "--no-header", "tests/proofs", "-k", "stay_pure")
    assert 1 == done.returncode, done.stdout
    assert f"'{line.split()[1]}'" in done.stdout


def test_lint_rejects(project: Path) -> None:
    """Blocking calls, buffering middleware, other HTTP clients and bad habits are named by their rules."""
    sources = {f"src/my_service/service/bad_{index}.py": LINT[case][0] for index, case in enumerate(LINT)}
    with written(project, sources):
        done = tool(project, "ruff", "check", "--no-cache", "--output-format=json", "src")
    found: dict[str, list[tuple[str, str]]] = {}
    for report in json.loads(done.stdout):
        found.setdefault(Path(report["filename"]).stem, []).append((report["code"], report["message"]))
    missed = [
        (case, found.get(f"bad_{index}"))
        for index, (case, (_, code, message)) in enumerate(LINT.items())
        if not any(code == seen and message in text for seen, text in found.get(f"bad_{index}", []))
    ]
    assert [] == missed
    assert 1 == done.returncode


def test_types_reject(project: Path) -> None:
    """Untyped functions, unhandled members and wrong implementations of a port are named by the type checker."""
    sources = {f"src/my_service/service/bad_{index}.py": dedent(TYPES[case][0]) for index, case in enumerate(TYPES)}
    with written(project, {**sources, "tests/test_bad.py": "def test_nothing():\n    return None"}):
        done = tool(project, "mypy", "--no-color-output")
    reports = re.findall(r"^(\S+?)\.py:\d+: error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    found: dict[str, set[str]] = {}
    for name, code in reports:
        found.setdefault(Path(name).stem, set()).add(code)
    missed = [
        (case, found.get(f"bad_{index}"))
        for index, (case, (_, code)) in enumerate(TYPES.items())
        if code not in found.get(f"bad_{index}", set())
    ]
    assert [] == missed
    assert {"no-untyped-def"} == found["test_bad"]
    assert {"test_bad", *(f"bad_{index}" for index in range(len(TYPES)))} == set(found)


def test_warning_fails_the_tests(project: Path) -> None:
    """A warning is a failure."""
    source = "import warnings\n\n\ndef test_old() -> None:\n    warnings.warn('old', DeprecationWarning, stacklevel=1)"
    with written(project, {"tests/test_bad.py": source}):
        done = tool(project, "pytest", "-q", "tests/test_bad.py")
    assert 1 == done.returncode
    assert "DeprecationWarning: old" in done.stdout


def test_untested_code_fails_the_gate(workshop: Workshop) -> None:
    """Code of the owner that no test runs brings the coverage below its limit."""
    project = workshop.install(MINIMAL, "untested")
    lines = "\n".join(f"    value += {number}" for number in range(200))
    source = f"def work() -> int:\n    value = 0\n{lines}\n    return value"
    with written(project, {"src/my_service/untested.py": source}):
        done = tool(project, "just", "test", env=path_of(project))
    assert 0 != done.returncode
    assert re.search(r"Required test coverage of 95(\.0)?% not reached", done.stdout)
    assert re.search(r"my_service/untested\.py +\d+ +\d+ .* \d\.?\d*%", done.stdout)


def path_of(project: Path) -> dict[str, str]:
    """Return an environment in which the project's tools are found first."""
    return {"PATH": f"{project / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
