"""The life of a process: it starts or says why not, ends without losing anybody, and starts again on a change."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chores import until
from rendering import DEFAULT, Workshop, clean_environment
from serving import JSON, Service, command, running
from test_endurance import accepts
from tools import ROOT

pytestmark = pytest.mark.gate

CLIENT = '''"""A feature that opens a client, or fails to."""

import logging

from ..chassis.container import Container
from ..chassis.config.section import Section
from ..chassis.config.settings import Settings
from ..chassis.contracts.errors import ServiceError
from ..chassis.features import Feature

_log = logging.getLogger(__name__)


async def install(container: Container, settings: Settings) -> None:
    """Open it."""
    if "{name}" == "{broken}":
        raise ServiceError("dead", code="line_dead", user_message="The line to {name} is dead.")
    _log.info("opened", extra={{"client": "{name}"}})

    async def close() -> None:
        _log.info("closed", extra={{"client": "{name}"}})

    container.on_close(close)


FEATURE = Feature(name="{name}", section=Section, install=install, capability=True)
'''


def with_clients(workshop: Workshop, folder: Path, broken: str = "") -> dict[str, str]:
    """Copy the source of a service, add three clients to it, and return the environment in which it is found."""
    source = folder / "src"
    shutil.copytree(workshop.install(DEFAULT) / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("first", "second", "third"):
        content = CLIENT.format(name=name, broken=broken)
        (source / "my_service" / "capabilities" / f"{name}.py").write_text(content, encoding="utf-8")
    return {"PYTHONPATH": str(source)}


def clients(service_log: list[dict[str, object]]) -> list[tuple[object, object]]:
    """Return what the clients said."""
    return [(line["event"], line["client"]) for line in service_log if "client" in line]


def test_sigterm_under_load_loses_no_request(workshop: Workshop) -> None:
    """Connections in the queue, connections without a request and bodies half sent are all answered to their end."""
    script = str(ROOT / "benchmarks" / "shutdown.py")
    words = [sys.executable, script, str(workshop.install(DEFAULT)), "--rounds", "3"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("lost 0 of ")
    assert any("; 0 after SIGTERM" not in line for line in done.stdout.splitlines()[:-1])


@pytest.fixture
def draining(workshop: Workshop, tmp_path: Path) -> Iterator[Service]:
    """A service that has time to drain."""
    with running(workshop.install(DEFAULT), tmp_path, {"MY_SERVICE_HTTP__DRAIN_S": "60"}) as service:
        yield service


def test_a_service_that_drains_is_not_ready_and_serves(draining: Service) -> None:
    """Balancers see 503, who still comes is answered on a connection that ends, and a second signal ends the wait."""
    with closing(http.client.HTTPConnection(draining.host, draining.port, timeout=30)) as kept:
        kept.request("GET", "/livez")
        assert b'{"status":"ok"}' == kept.getresponse().read()
        assert 200 == draining.call("GET", "/readyz").status
        draining.process.send_signal(signal.SIGINT)
        until(lambda: 503 == draining.call("GET", "/readyz").status, "it is still ready")

        assert {"status": "draining"} == draining.call("GET", "/readyz").document
        for answer in (draining.call("GET", "/livez"), draining.post("/v1/generations", {"prompt": "hello"})):
            assert (200, "close") == (answer.status, answer.headers["connection"])
        kept.request("POST", "/v1/generations", b'{"prompt":"hello"}', JSON)
        last = kept.getresponse()
        assert (200, "close") == (last.status, last.headers["connection"])
    assert accepts(draining)
    assert 0 == draining.stop(signal.SIGINT, within_s=20)
    assert "server_stopped" in [line["event"] for line in draining.log()]


def test_clients_are_closed_in_reverse_order(workshop: Workshop, tmp_path: Path) -> None:
    """What was opened last may need what was opened first."""
    with running(workshop.install(DEFAULT), tmp_path, with_clients(workshop, tmp_path)) as service:
        assert 0 == service.stop()
        names = ["first", "second", "third"]
        expected = [*(("opened", name) for name in names), *(("closed", name) for name in reversed(names))]
        assert expected == clients(service.log())


def test_a_start_that_fails_says_why_and_closes_what_it_opened(workshop: Workshop, tmp_path: Path) -> None:
    """No port is opened, the reason is one line, and the exit code is not 0."""
    environment = with_clients(workshop, tmp_path, broken="third")
    done = command(workshop.install(DEFAULT), tmp_path, "serve", "--port", "0", env=environment)

    assert 1 == done.returncode
    assert "error: The line to third is dead. [line_dead]" == done.stderr.splitlines()[-1]
    assert "server_started" not in done.stderr
    said = [line for line in done.stderr.splitlines() if '"client"' in line]
    order = [("opened", "first"), ("opened", "second"), ("closed", "second"), ("closed", "first")]
    assert [True] * 4 == [f'"{e}"' in line and f'"{c}"' in line for line, (e, c) in zip(said, order, strict=True)]


def test_just_dev_starts_again_on_a_change(workshop: Workshop, tmp_path: Path) -> None:
    """A saved file of the source ends the service in order and starts it anew."""
    installed, project, log_file = workshop.install(DEFAULT), tmp_path / "my-service", tmp_path / "dev.log"
    made = shutil.ignore_patterns(".venv", ".git", "__pycache__", "*_cache")
    shutil.copytree(installed, project, ignore=made)
    environment = clean_environment(
        {
            "PATH": f"{installed / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(project / "src"),
            "MY_SERVICE_HTTP__PORT": "0",
        }
    )

    def said(event: str) -> int:
        return log_file.read_text(encoding="utf-8").count(f'"{event}"')

    with log_file.open("wb") as log:
        process = subprocess.Popen(
            ["just", "dev"], cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(lambda: said("server_started") == 1, "it did not start")
        with (project / "src" / "my_service" / "bootstrap.py").open("a", encoding="utf-8") as source:
            source.write("\n# changed\n")
        until(lambda: said("server_started") == 2, "it did not start again")
        assert 1 == said("server_stopped")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
