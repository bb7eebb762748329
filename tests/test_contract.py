"""The contract of the fullest service: its OpenAPI document is complete, valid, and what the service really does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import contract_checks
from npm import installed, node
from rendering import DEFAULT, FULLEST, MINIMAL, Workshop, clean_environment, tool
from serving import Service, command, running

SPECTRAL = ("@stoplight/spectral-cli", "6.16.3")
REDOCLY = ("@redocly/cli", "2.77.0")
ANSWERS = {"fullest": FULLEST, "default": DEFAULT, "minimal": MINIMAL}


@pytest.fixture(params=ANSWERS)
def document(request: pytest.FixtureRequest, workshop: Workshop, tmp_path: Path) -> Path:
    """Return the file of the document of a rendered service."""
    done = tool(workshop.install(ANSWERS[request.param]), "my-service", "openapi")
    assert 0 == done.returncode, done.stderr
    path = tmp_path / "openapi.json"
    path.write_text(done.stdout, encoding="utf-8")
    return path


def spectral(document: Path) -> list[str]:
    """Return what the recommended rules of spectral have against a document."""
    rules = document.with_name("rules.yaml")
    rules.write_text('extends: ["spectral:oas"]\n', encoding="utf-8")
    program = installed(*SPECTRAL) / SPECTRAL[0] / "dist" / "index.js"
    done = node(program, "lint", str(document), "--ruleset", str(rules), "--format", "json", "--fail-severity", "hint")
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout[: done.stdout.rindex("]") + 1])
    return [f"{one['code']} {'/'.join(map(str, one['path']))}" for one in found]


def redocly(document: Path) -> list[str]:
    """Return what the recommended rules of redocly have against a document."""
    program = installed(*REDOCLY) / REDOCLY[0] / "bin" / "cli.js"
    done = node(program, "lint", str(document), "--extends", "recommended", "--format", "json")
    assert done.returncode in (0, 1), done.stderr
    return [f"{one['ruleId']} {one['location'][0].get('pointer')}" for one in json.loads(done.stdout)["problems"]]


@pytest.mark.gate
def test_the_document_is_clean_under_two_linters(document: Path) -> None:
    """Every recommended rule of spectral and redocly holds: with everything, by default and with nothing."""
    assert ([], []) == (spectral(document), redocly(document))


@pytest.mark.gate
@pytest.mark.parametrize("document", ["minimal"], indirect=True)
def test_both_linters_see_what_is_wrong(document: Path) -> None:
    """A document with a planted fault is refused by each: the test above can fail."""
    planted = json.loads(document.read_text(encoding="utf-8"))
    planted["paths"]["/livez"]["get"]["responses"]["200"].pop("description")
    document.write_text(json.dumps(planted), encoding="utf-8")
    assert any("/livez" in one or "paths/" in one for one in spectral(document))
    assert any("livez" in one for one in redocly(document))


CASES = 6
"""Requests that are made up for each operation, beside those that follow from the document."""
SEED = "7"
PHASES = "examples,coverage,fuzzing,stateful"


def _operations(document: Path) -> list[dict[str, Any]]:
    paths = json.loads(document.read_text(encoding="utf-8"))["paths"]
    return [operation for item in paths.values() for operation in item.values()]


def examined(service: Service, document: Path, key: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Have schemathesis ask a service everything that its document says, with all checks."""
    settings = document.with_name("schemathesis.toml")
    settings.write_text(contract_checks.settings(), encoding="utf-8")
    own = {"SCHEMATHESIS_HOOKS": contract_checks.__name__, "PYTHONPATH": str(Path(contract_checks.__file__).parent)}
    words = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(settings), "run", str(document)]
    words += ["--url", service.url, "--seed", SEED, "--max-examples", str(CASES), "--phases", PHASES, "--checks", "all"]
    words += ["--header", f"Authorization: Bearer {key}", "--continue-on-failure", "--no-shrink", "--warnings", "off"]
    return subprocess.run(
        [*words, *options],
        cwd=document.parent,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
        env=clean_environment(own),
    )


@pytest.mark.gate
@pytest.mark.parametrize("document", ["fullest"], indirect=True)
def test_the_service_does_what_its_document_says(document: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Schemathesis finds no request, of thousands, that any route answers otherwise; a planted fault it does find."""
    project = workshop.install(FULLEST)
    environment = {
        "MY_SERVICE_DATABASE__URL": f"sqlite+aiosqlite:///{tmp_path / 'service.sqlite'}",
        "MY_SERVICE_AUTH__OPEN": "false",
        "MY_SERVICE_LIMITS__FAILURES__RATE_PER_S": "0",  # schemathesis shows wrong credentials all the time
        "MY_SERVICE_AUTH__KEYS_FILE": str(tmp_path / "keys.toml"),
    }
    assert 0 == command(project, tmp_path, "migrate", env=environment).returncode
    scopes = {found["x-required-scope"] for found in _operations(document) if "x-required-scope" in found}
    options = [word for scope in sorted(scopes) for word in ("--scope", scope)]
    key = command(project, tmp_path, "keys", "new", "schemathesis", *options, env=environment).stdout.strip()
    with running(project, tmp_path / "run", environment) as service:
        planted = json.loads(document.read_text(encoding="utf-8"))
        planted["paths"]["/livez"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = {"const": 1}
        wrong = tmp_path / "planted.json"
        wrong.write_text(json.dumps(planted), encoding="utf-8")
        found = examined(service, wrong, key, "--include-path", "/livez")
        assert (1, True) == (found.returncode, "Response violates schema" in found.stdout), found.stdout

        done = examined(service, document, key)
        assert 0 == done.returncode, done.stdout + done.stderr
        lines = service.log()
        assert [] == [line for line in lines if line["event"] == "request_crashed"]
        served = {line["route"] for line in lines if line["event"] == "request_served" and line["status"] < 300}
        assert {"/info", "/v1/generations/batch", "/v1/jobs", "/v1/recordings/{id}", "/v1/audit"} <= served


def test_every_adjusted_status_has_a_reason() -> None:
    """What schemathesis would not accept by itself is named with the words why it is right."""
    for adjusted in contract_checks.ADJUSTED:
        assert adjusted.check in contract_checks.EXPECTED
        assert adjusted.codes
        assert len(adjusted.reason) > 20
    assert "'504'" in contract_checks.settings()
