"""The image of a rendered service, built and run by a container engine."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rendering import Workshop

_ENGINE = os.environ.get("IMAGE_ENGINE", "")
_PORT = 18231

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
    """A running container of the default service: read-only, without capabilities, on the host's network."""
    folder = tmp_path_factory.mktemp("image") / "my-service"
    shutil.copytree(workshop.install(), folder, ignore=shutil.ignore_patterns(".venv", ".git"))
    builder = "buildah" if _ENGINE == "podman" and shutil.which("buildah") else _ENGINE
    options = ["--isolation", "chroot", "--format", "docker"] if builder == "buildah" else []
    _run(builder, "build", *options, "--network", "host", "-t", "my-service-test", ".", folder=folder)
    locked = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"]  # noqa: S108
    port = ["--network", "host", "-e", f"MY_SERVICE_HTTP__PORT={_PORT}"]
    name = _run(_ENGINE, "run", "-d", *port, *locked, "my-service-test")
    try:
        yield name
    finally:
        _run(_ENGINE, "rm", "-f", name, check=False)


def _get(path: str) -> dict[str, object]:
    limit = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}{path}", timeout=5) as answer:
                document: dict[str, object] = json.load(answer)
                return document
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.1)


def test_the_image_serves_without_rights(container: str) -> None:
    """The container runs as a user without rights, on a file system it cannot write, and is healthy."""
    assert {"status": "ok"} == _get("/livez")
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
    _get("/livez")
    begun = time.monotonic()
    _run(_ENGINE, "stop", "-t", "20", container)
    assert time.monotonic() - begun < 10
    assert "0" == _run(_ENGINE, "inspect", "-f", "{{.State.ExitCode}}", container)
