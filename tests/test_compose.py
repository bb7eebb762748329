"""The compose file of a rendered service: it follows the specification, and names what the service has."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pages import free_port
from promtool import prometheus
from rendering import DEFAULT, FULLEST, MINIMAL, WITH_DATABASE, Answers, Workshop
from serving import command, running

COMMON = {"redis": {"redis"}, "metrics": {"prometheus", "grafana"}, "traces": {"collector"}}
PROFILES: dict[str, tuple[Answers, dict[str, set[str]]]] = {
    "default": (DEFAULT, COMMON),
    "minimal": (MINIMAL, COMMON),
    "database": (WITH_DATABASE, {**COMMON, "postgresql": {"postgres"}}),
    "fullest": (FULLEST, {**COMMON, "postgresql": {"postgres", "my-service-worker"}}),
}
"""What each profile adds, for four kinds of services."""
CASES = [pytest.param(answers, profiles, id=name) for name, (answers, profiles) in PROFILES.items()]
PROMETHEUS = "/etc/prometheus"


def compose(project: Path) -> dict[str, Any]:
    """Return the file as data."""
    found: dict[str, Any] = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", PROFILES)
def test_the_file_follows_the_specification(workshop: Workshop, name: str) -> None:
    """Its published schema has nothing against it."""
    answers, _ = PROFILES[name]
    check = Path(sys.executable).parent / "check-jsonschema"
    words = [str(check), "--builtin-schema", "vendor.compose-spec", str(workshop.render(answers) / "compose.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("answers", "profiles"), CASES)
def test_profiles_add_to_a_service_that_stands_alone(
    workshop: Workshop, answers: Answers, profiles: dict[str, set[str]]
) -> None:
    """Without a profile there is the service, and its migration; ports are open to this machine only."""
    project = workshop.render(answers)
    document = compose(project)
    services = document["services"]
    alone = {name for name, service in services.items() if "profiles" not in service}
    assert {"my-service"} <= alone <= {"my-service", "my-service-migrate"}
    found = {profile for service in services.values() for profile in service.get("profiles", ())}
    assert profiles == {
        profile: {name for name, service in services.items() if profile in service.get("profiles", ())}
        for profile in found
    }
    page = (project / "docs" / "deployment.md").read_text(encoding="utf-8")
    rows = [line for line in page.partition("| `--profile` |")[2].partition("\n\n")[0].splitlines() if "| `" in line]
    assert found == {row.split("`")[1] for row in rows}
    told = page.partition("## Compose")[2].partition("\n## ")[0]
    shown = {port for service in services.values() for port in service.get("ports", ())}
    assert {port.rpartition(":")[0] for port in shown} == {
        f"127.0.0.1:{port}" for port in re.findall(r"(?:port |127\.0\.0\.1:)(\d+)", told)
    }
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]
    for service in services.values():
        assert ["ALL"] == service["cap_drop"]
        named = {config["source"] for config in service.get("configs", ())}
        assert named <= set(document["configs"])
        sources = [volume.partition(":")[0] for volume in service.get("volumes", ())]
        assert [] == [s for s in sources if s not in document["volumes"] and not (project / s).exists()]


def test_configurations_name_what_is_there(workshop: Workshop) -> None:
    """Prometheus asks the service at its port, Grafana asks Prometheus."""
    document = compose(workshop.render(DEFAULT))
    asking, grafana, collector = (
        yaml.safe_load(document["configs"][name]["content"]) for name in ("prometheus", "grafana", "collector")
    )
    assert ["my-service:8000"] == asking["scrape_configs"][0]["static_configs"][0]["targets"]
    assert "127.0.0.1:8000:8000" in document["services"]["my-service"]["ports"]
    assert ["http://prometheus:9090"] == [source["url"] for source in grafana["datasources"]]
    assert "0.0.0.0:4318" == collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]


def test_grafana_has_the_dashboard(workshop: Workshop) -> None:
    """It is looked for where the file is mounted, and asks whatever source of metrics there is."""
    project = workshop.render(DEFAULT)
    document = compose(project)
    grafana = document["services"]["grafana"]
    source, target, _ = grafana["volumes"][0].split(":")
    (provider,) = yaml.safe_load(document["configs"]["dashboards"]["content"])["providers"]
    assert ("file", str(Path(target).parent)) == (provider["type"], provider["options"]["path"])
    targets = {config["source"]: str(Path(config["target"]).parent) for config in grafana["configs"]}
    assert {"grafana": "datasources", "dashboards": "dashboards"} == {
        name: folder.removeprefix("/etc/grafana/provisioning/") for name, folder in targets.items()
    }
    board = json.loads((project / source).read_text(encoding="utf-8"))
    (kind,) = [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "datasource"]
    (asked,) = yaml.safe_load(document["configs"]["grafana"]["content"])["datasources"]
    assert (kind, True) == (asked["type"], asked["isDefault"])


def _eventually[T](look: Callable[[], T | None]) -> T:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        try:
            found = look()
        except (urllib.error.URLError, ConnectionError):
            found = None
        if found is not None:
            return found
        time.sleep(0.2)
    raise AssertionError("it never came")


@pytest.mark.gate
def test_prometheus_asks_with_a_key_and_has_all_rules(workshop: Workshop, tmp_path: Path) -> None:
    """A real one with this configuration: with a key it is served in staging, without one in dev; own rules count."""
    project = workshop.install(DEFAULT)
    document = compose(project)
    source, target, _ = document["services"]["prometheus"]["volumes"][0].split(":")
    rules = tmp_path / Path(target).relative_to(PROMETHEUS)
    shutil.copytree(project / source, rules)
    made = command(project, tmp_path, "keys", "new", "prometheus", "--scope", "ops", "--file", "keys.toml")
    assert 0 == made.returncode, made.stderr
    closed = {"MY_SERVICE_ENVIRONMENT": "staging", "MY_SERVICE_AUTH__KEYS_FILE": str(tmp_path / "keys.toml")}
    configuration = yaml.safe_load(document["configs"]["prometheus"]["content"])
    (job,) = configuration["scrape_configs"]
    assert "${METRICS_KEY:-}" == job["authorization"].pop("credentials")
    with running(project, tmp_path / "closed", closed) as staging, running(project, tmp_path / "open") as dev:
        configuration["scrape_configs"] = jobs = [
            {
                **job,
                "job_name": name,
                "scrape_interval": "1s",
                "authorization": {**job["authorization"], "credentials": key},
                "static_configs": [{"targets": [f"{service.host}:{service.port}"]}],
            }
            for name, key, service in (("key", made.stdout.strip(), staging), ("none", "", staging), ("dev", "", dev))
        ]
        (tmp_path / "prometheus.yml").write_text(json.dumps(configuration), encoding="utf-8")
        words = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        address = f"127.0.0.1:{free_port()}"

        def ask(what: str) -> Any:
            with urllib.request.urlopen(f"http://{address}/api/v1/{what}", timeout=10) as answer:
                return json.load(answer)["data"]

        def health() -> dict[str, str] | None:
            found = {one["labels"]["job"]: one["health"] for one in ask("targets")["activeTargets"]}
            return found if len(found) == len(jobs) and "unknown" not in found.values() else None

        def files() -> set[str]:
            return {Path(group["file"]).name for group in ask("rules")["groups"]}

        server = subprocess.Popen(
            [str(prometheus()), *words, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        try:
            assert {"key": "up", "none": "down", "dev": "up"} == _eventually(health)
            assert {"alerts.yml"} == files()
            own = {"groups": [{"name": "own", "rules": [{"alert": "Own", "expr": "up == 0"}]}]}
            (rules / "own.yml").write_text(json.dumps(own), encoding="utf-8")
            server.send_signal(signal.SIGHUP)
            assert _eventually(lambda: files() == {"alerts.yml", "own.yml"} or None)
        finally:
            server.kill()
            server.wait()
