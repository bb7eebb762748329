"""The conformance kit: it passes a good provider, finds every planted defect, and says how to mend it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bad_providers
from bad_providers import DEFECTS
from good_provider import GOOD, VENDOR
from rendering import ONLY_GENAI, Workshop, run

pytestmark = pytest.mark.gate


EXAMINE = """
import json
from tests.conformance.catalogue import RULES
from tests.conformance.examination import examine, vendor_server
from tests.conformance.subjects import subjects

found = {}
with vendor_server() as server:
    for subject in subjects():
        if subject.kind in WANTED:
            found[subject.kind] = examine(subject, RULES[WANTED[subject.kind]], server)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def project(workshop: Workshop) -> Path:
    """Return an installed project with a good provider and one per defect, all on the settings page.

    Each worker has its own, since tests change it.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    installed = workshop.install(ONLY_GENAI, variant=f"conformance-{worker}")
    adapters, tests = next((installed / "src").iterdir()) / "adapters" / "genai", installed / "tests/adapters/genai"
    for name in ("", *DEFECTS):
        (adapters / f"{name or 'good'}.py").write_text(bad_providers.source(name), encoding="utf-8")
        (tests / f"test_{name or 'good'}.py").write_text(VENDOR, encoding="utf-8")
    just(installed, "fmt")
    return installed


@pytest.fixture(scope="module")
def found(project: Path) -> dict[str, str | None]:
    """Return what the rule about each defect says of the provider that has it."""
    wanted = {defect: rule for defect, (rule, _, _) in DEFECTS.items()}
    script = f"WANTED = {wanted!r}\n{EXAMINE}"
    done = run(project, str(project / ".venv/bin/python"), "-c", script, check=True)
    shortfalls: dict[str, str | None] = json.loads(done.stdout)
    return shortfalls


def just(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a recipe of the project."""
    path = f"{project / '.venv/bin'}:/usr/bin:/bin"
    return run(project, str(project / ".venv/bin/just"), *words, env={"PATH": path})


def checklist(project: Path, name: str) -> tuple[int, str]:
    """Return exit code and output of the checklist of a provider."""
    done = just(project, "checklist", name)
    return done.returncode, done.stdout + done.stderr


@contextmanager
def declared(project: Path, name: str, more: str) -> Iterator[None]:
    """Have the declaration of a provider say something more, for a block."""
    module = project / "tests" / "adapters" / "genai" / f"test_{name}.py"
    module.write_text(VENDOR.replace("tier=", f"{more},\n    tier="), encoding="utf-8")
    try:
        yield
    finally:
        module.write_text(VENDOR, encoding="utf-8")


def test_a_good_provider_keeps_every_rule(project: Path) -> None:
    """Nothing fails and nothing is open."""
    code, said = checklist(project, "good")
    assert (0, []) == (code, re.findall(r"^(?:failing|open) .*", said, re.MULTILINE)), said


@pytest.mark.parametrize("defect", [pytest.param(name, id=name) for name in DEFECTS])
def test_every_defect_is_found(found: dict[str, str | None], defect: str) -> None:
    """The rule about a defect fails, with what happened instead."""
    assert found[defect], f"{DEFECTS[defect][0]} holds for a provider that {defect}"


def test_a_failing_rule_names_its_fix(project: Path) -> None:
    """Below each line that fails stands what happened and what to do; neither traces nor keys are printed."""
    code, said = checklist(project, "leaks_its_key")
    failing = re.findall(r"^failing +\w+ +(\w+) .*\n +(.+)\n +Fix: (.+)", said, re.MULTILINE)
    assert (1, ["K01"]) == (code, [rule for rule, _, _ in failing]), said
    assert "Keep the key in a SecretStr" in failing[0][2]
    assert "Traceback" not in said
    assert "key-that-nobody-may-see" not in said


@pytest.mark.parametrize(
    ("declaration", "told"),
    [
        pytest.param('exempt={"B08": ""}', "needs a reason in words", id="no-reason"),
        pytest.param('exempt={"B08": "n/a"}', "needs a reason in words", id="no-words"),
        pytest.param('exempt={"B99": "the vendor is too old"}', "there is no rule 'B99'", id="unknown-rule"),
        pytest.param('own={"B08": Own(check, " ")}', "needs a reason in words", id="own-without-reason"),
    ],
)
def test_a_rule_is_set_aside_with_a_reason_only(project: Path, declaration: str, told: str) -> None:
    """Without a written reason, the module that sets a rule aside cannot be imported."""
    script = f"""
from tests.conformance.vendor import Own, Vendor

async def check(bench): ...

Vendor({declaration})
"""
    done = run(project, str(project / ".venv/bin/python"), "-c", script)
    assert (1, True) == (done.returncode, told in done.stderr), done.stderr


def test_an_exemption_shows_its_reason(project: Path) -> None:
    """What is set aside stands in the table with the reason, and a check of one's own is run instead."""
    with declared(project, "follows_redirects", 'exempt={"B07": "the vendor moves its host"}'):
        code, said = checklist(project, "follows_redirects")
    assert 0 == code, said
    assert re.search(r"^exempt +robust +B07 .*\n +the vendor moves its host$", said, re.MULTILINE), said


def test_an_unknown_provider_is_told_what_there_is(project: Path) -> None:
    """A name that is nearly right is repeated with the right one."""
    code, said = checklist(project, "goood")
    assert (2, True) == (code, "Did you mean 'good'?" in said), said


def test_a_provider_without_a_vendor_to_play_says_so(project: Path) -> None:
    """One file is not enough for a provider behind HTTP: the checklist names the second."""
    adapters = next((project / "src").iterdir()) / "adapters" / "genai"
    (adapters / "lonely.py").write_text(GOOD, encoding="utf-8")
    try:
        code, said = checklist(project, "lonely")
    finally:
        (adapters / "lonely.py").unlink()
    assert 1 == code
    assert re.search(r"^failing +works +W01 .*\n.*\n +Fix: Define VENDOR", said, re.MULTILINE), said


def test_the_gate_finds_a_defect_too(project: Path) -> None:
    """The same rules run as tests, with the reason and the fix in the message."""
    command = ["-m", "pytest", "-q", "tests/conformance", "-k", "calls_a_500_permanent and E500"]
    done = run(project, str(project / ".venv/bin/python"), *command)
    assert 1 == done.returncode, done.stdout
    assert "Fix: Raise AdapterTransientError with request_state rejected" in done.stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("from ...chassis.http_client import post_jsn\n", "ImportError", id="import"),
        pytest.param("def build(:\n", "SyntaxError", id="syntax"),
    ],
)
def test_a_provider_that_cannot_be_imported_is_named(project: Path, line: str, told: str) -> None:
    """Whichever provider is asked for, the line that keeps all of them from being read is shown, without a trace."""
    broken = next((project / "src").iterdir()) / "adapters" / "genai" / "broken.py"
    broken.write_text(line, encoding="utf-8")
    try:
        code, said = checklist(project, "good")
    finally:
        broken.unlink()
    assert (1, True) == (code, told in said), said
    assert f"{broken}:1" in said
    assert "Traceback" not in said


def test_settings_that_do_not_fit_are_told_once(project: Path) -> None:
    """A mistake in the declaration is one failing rule with the name of the setting, not fifty."""
    with declared(project, "good", 'settings={"modl": "m-1"}'):
        code, said = checklist(project, "good")
    assert (1, ["W01"]) == (code, re.findall(r"^failing +\w+ +(\w+)", said, re.MULTILINE)), said
    assert "modl" in said
    assert "rules are examined when these hold" in said
