"""The compose file of a rendered service: it follows the specification, and names what the service has."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rendering import DEFAULT, FULLEST, MINIMAL, Answers, Workshop

PROFILES = {"redis": {"redis"}, "metrics": {"prometheus", "grafana"}, "traces": {"collector"}}
CASES = [
    pytest.param(answers, id=name)
    for name, answers in {"default": DEFAULT, "minimal": MINIMAL, "fullest": FULLEST}.items()
]


def compose(project: Path) -> dict[str, Any]:
    """Return the file as data."""
    found: dict[str, Any] = yaml.safe_load((project / "compose.yaml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("answers", CASES)
def test_the_file_follows_the_specification(workshop: Workshop, answers: Answers) -> None:
    """Its published schema has nothing against it."""
    check = Path(sys.executable).parent / "check-jsonschema"
    words = [str(check), "--builtin-schema", "vendor.compose-spec", str(workshop.render(answers) / "compose.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("answers", CASES)
def test_profiles_add_to_a_service_that_stands_alone(workshop: Workshop, answers: Answers) -> None:
    """Without a profile there is the service, and its migration; ports are open to this machine only."""
    project = workshop.render(answers)
    document = compose(project)
    services = document["services"]
    alone = {name for name, service in services.items() if "profiles" not in service}
    assert {"my-service"} <= alone <= {"my-service", "my-service-migrate"}
    for profile, names in PROFILES.items():
        assert names == {name for name, service in services.items() if profile in service.get("profiles", ())}
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]
    for service in services.values():
        assert ["ALL"] == service["cap_drop"]
        named = {config["source"] for config in service.get("configs", ())}
        assert named <= set(document["configs"])
        sources = [volume.partition(":")[0] for volume in service.get("volumes", ())]
        assert [] == [s for s in sources if s not in document["volumes"] and not (project / s).is_file()]


def test_configurations_name_what_is_there(workshop: Workshop) -> None:
    """Prometheus asks the service at its port, Grafana asks Prometheus."""
    document = compose(workshop.render(DEFAULT))
    prometheus, grafana, collector = (
        yaml.safe_load(document["configs"][name]["content"]) for name in ("prometheus", "grafana", "collector")
    )
    assert ["my-service:8000"] == prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    assert "127.0.0.1:8000:8000" in document["services"]["my-service"]["ports"]
    assert ["http://prometheus:9090"] == [source["url"] for source in grafana["datasources"]]
    assert "0.0.0.0:4318" == collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
