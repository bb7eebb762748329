"""Alert rules and the dashboard: what they name is emitted, what they promise happens, and each has a page."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from promtool import promtool
from rendering import DEFAULT, FULLEST, Answers, Workshop
from serving import command, running

pytestmark = pytest.mark.gate

SELECTIONS: dict[str, Answers] = {"default": DEFAULT, "fullest": FULLEST}
OF_PROMETHEUS = {"up"}
"""What Prometheus itself says of everything that it scrapes."""

_STRING = re.compile(r'"[^"]*"')
_METRIC = re.compile(r"\b([a-z_]+)(?=[\[{])")


@pytest.fixture(params=SELECTIONS)
def project(request: pytest.FixtureRequest, workshop: Workshop) -> Path:
    """Return a project with the default answers, and one with everything."""
    return workshop.render(SELECTIONS[request.param])


def rules(project: Path) -> list[dict[str, Any]]:
    """Return every alert."""
    text = (project / "observability" / "alerts.yml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def expressions(project: Path) -> list[str]:
    """Return what the panels of the dashboard ask."""
    board = json.loads((project / "observability" / "dashboard.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def checked(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([str(promtool()), *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_every_alert_does_what_it_says(project: Path, tmp_path: Path) -> None:
    """Each one is raised by what it is about, by nothing of a healthy service, and no alert is left untried."""
    folder = project / "observability"
    done = checked("test", "rules", str(folder / "alerts.test.yml"))
    assert 0 == done.returncode, done.stdout + done.stderr
    cases = yaml.safe_load((folder / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    tried = [one for case in cases for one in case["alert_rule_test"]]
    names = {rule["alert"] for rule in rules(project)}
    assert names == {one["alertname"] for one in tried if one["exp_alerts"]}
    assert names == {one["alertname"] for one in tried if not one["exp_alerts"]}

    weaker = re.sub(r"> ([\d.]+)$", r"> 1\1", (folder / "alerts.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / "alerts.yml").write_text(weaker, encoding="utf-8")
    (tmp_path / "alerts.test.yml").write_bytes((folder / "alerts.test.yml").read_bytes())
    assert 0 != checked("test", "rules", str(tmp_path / "alerts.test.yml")).returncode


def test_every_alert_has_its_place_in_the_runbook(project: Path) -> None:
    """The address in an alert leads to a section that explains the threshold; no section is about anything else."""
    page = (project / "docs" / "alerts.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert {rule["alert"] for rule in rules(project)} == set(sections)
    anchors = {f"docs/alerts.md#{name.lower()}" for name in sections}
    assert anchors == {rule["annotations"]["runbook_url"] for rule in rules(project)}
    assert {f"#{anchor.partition('#')[2]}" for anchor in anchors} >= set(re.findall(r"\]\((#[^)]+)\)", page))
    for rule in rules(project):
        text = sections[rule["alert"]]
        assert f"*{rule['labels']['severity']}*" in text
        minutes = rule.get("for", "").removesuffix("m")
        assert (f"after {minutes} minutes" if minutes else "at once") in text
        assert ["- Why this threshold: ", "- Look at: ", "- Do: "] == re.findall(r"^- [^:]+: ", text, re.MULTILINE)


def test_every_expression_of_the_dashboard_can_be_read(project: Path, tmp_path: Path) -> None:
    """Prometheus understands each, so no panel shows an error."""
    recorded = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions(project))]
    rules_of_panels = tmp_path / "panels.yml"
    rules_of_panels.write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}), encoding="utf-8")
    done = checked("check", "rules", str(rules_of_panels))
    assert 0 == done.returncode, done.stdout + done.stderr
    rules_of_panels.write_text(
        rules_of_panels.read_text(encoding="utf-8").replace("sum by", "sum bx"), encoding="utf-8"
    )
    assert 0 != checked("check", "rules", str(rules_of_panels)).returncode


@pytest.fixture(scope="module")
def emitted(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of all samples of a running service with everything."""
    project, folder = workshop.install(FULLEST), tmp_path_factory.mktemp("emitted")
    environment = {"MY_SERVICE_PROVIDERS__ECHO__RESILIENCE__RATE_LIMIT__RATE_PER_S": "1000"}
    assert 0 == command(project, folder, "migrate").returncode
    with running(project, folder, environment) as service:
        assert 200 == service.post("/v1/generations", {"prompt": "hello"}).status
        text, limit = "", time.monotonic() + 30
        while "jobs_oldest" not in text and time.monotonic() < limit:  # the first look at the queues takes a moment
            text = service.call("GET", "/metrics").body.decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_every_metric_that_is_named_is_emitted(workshop: Workshop, emitted: set[str]) -> None:
    """By alerts and dashboard of every choice; a rule about a metric that nobody emits would never fire."""
    for answers in SELECTIONS.values():
        project = workshop.render(answers)
        asked = [*expressions(project), *(rule["expr"] for rule in rules(project))]
        named = {name for text in asked for name in _METRIC.findall(_STRING.sub('""', text))}
        assert len(named) > 10
        assert set() == named - emitted - OF_PROMETHEUS
