"""The image of a rendered service, built and run by a container engine."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rendering import Workshop

_ENGINE = os.environ.get("IMAGE_ENGINE", "")

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(
        not _ENGINE,
        reason="needs a container engine and its base images: set IMAGE_ENGINE to docker or podman",
    ),
]


def _run(*command: str, folder: Path | None = None, check: bool = True) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def container(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running container of the default service: read-only, without capabilities, on a port of the host."""
    folder = tmp_path_factory.mktemp("image") / "my-service"
    shutil.copytree(workshop.install(), folder, ignore=shutil.ignore_patterns(".venv", ".git"))
    builder = "buildah" if _ENGINE == "podman" and shutil.which("buildah") else _ENGINE
    options = ["--isolation", "chroot", "--format", "docker"] if builder == "buildah" else []
    _run(builder, "build", *options, "--network", "host", "-t", "my-service-test", ".", folder=folder)
    locked = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"]  # noqa: S108
    # The health check asks the configured port, so it cannot be 0.
    network = ["--network", "host", "-e", f"MY_SERVICE_HTTP__PORT={_free_port()}"]
    name = _run(_ENGINE, "run", "-d", *network, *locked, "my-service-test")
    try:
        yield name
    finally:
        _run(_ENGINE, "rm", "-f", name, check=False)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _livez(container: str) -> dict[str, object]:
    """Wait until the service says where it listens, and ask it there."""
    limit = time.monotonic() + 30
    while (found := re.search(r'"url": "http://[^"]+:(\d+)"', _logs(container))) is None:
        assert time.monotonic() < limit
        time.sleep(0.1)
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=5)
    connection.request("GET", "/livez")
    document: dict[str, object] = json.load(connection.getresponse())
    connection.close()
    return document


def _logs(container: str) -> str:
    done = subprocess.run([_ENGINE, "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_the_image_serves_without_rights(container: str) -> None:
    """The container runs as a user without rights, on a file system it cannot write, and is healthy."""
    assert {"status": "ok"} == _livez(container)
    assert "10001" == _run(_ENGINE, "exec", container, "id", "-u")
    wrote = "touch /app/x 2>/dev/null && echo wrote; touch /tmp/x && echo temporary"
    assert "temporary" == _run(_ENGINE, "exec", container, "sh", "-c", wrote)
    assert _health(container) in ("", "healthy")


def _health(container: str) -> str:
    """Return what the image's own health check says: nothing on success with podman, a word with docker."""
    if _ENGINE == "podman":
        return _run(_ENGINE, "healthcheck", "run", container)
    limit = time.monotonic() + 60
    while (said := _run(_ENGINE, "inspect", "-f", "{{.State.Health.Status}}", container)) == "starting":
        assert time.monotonic() < limit
        time.sleep(1)
    return said


def test_the_image_stops_cleanly(container: str) -> None:
    """SIGTERM ends the container with exit code 0, long before it would be killed."""
    _livez(container)
    begun = time.monotonic()
    _run(_ENGINE, "stop", "-t", "20", container)
    assert time.monotonic() - begun < 10
    assert "0" == _run(_ENGINE, "inspect", "-f", "{{.State.ExitCode}}", container)
