"""Image: builds the image and tries it in a container without a network: `just image-test`.

It is built and run by docker, or by podman with buildah where that is there; `IMAGE_ENGINE` chooses. Each check prints
a line; exit code 1 if one fails.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
HEALTHY_WITHIN_S = 10
STOPPED_WITHIN_S = 10
ENGINES = ("docker", "podman")
LOCKED = (
    *("--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--tmpfs=/tmp", "--tmpfs=/data:mode=1777"),
)
WRITES = 'touch /app/x 2>/dev/null && printf "app "; touch /tmp/x && printf tmp'


class FailedError(Exception):
    """A check failed, or nothing can be checked."""


def run(*command: str, **variables: str) -> str:
    """Run a command and return what it prints.

    Raises:
        FailedError: with its last words, if it fails.
    """
    done = subprocess.run(  # noqa: S603 - the engine
        command, cwd=PROJECT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        message = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise FailedError(message)
    return done.stdout.strip()


def find_engine() -> str:
    """Return the engine that runs here.

    Raises:
        FailedError: if there is none.
    """
    wanted = os.environ.get("IMAGE_ENGINE", "")
    for name in (wanted,) if wanted else ENGINES:
        path = shutil.which(name)
        if path is not None:
            try:
                run(path, "info")
            except FailedError:
                continue
            return path
    tried = wanted or " and ".join(ENGINES)
    message = f"no container engine answers ({tried}); start docker, install podman, or name one in IMAGE_ENGINE"
    raise FailedError(message)


def metadata() -> dict[str, Any]:
    """Return name and version of the project, and the like."""
    found: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def build(engine: str, tag: str) -> dict[str, str]:
    """Build the image and return the labels that it has to have."""
    project = metadata()
    given = {"VERSION": project["version"], "REVISION": _revision(), "CREATED": f"{datetime.now(UTC):%FT%TZ}"}
    words = [engine, "build"]
    if Path(engine).name == "podman":
        # Podman's own format has no health check.
        buildah = shutil.which("buildah")
        rootless = ["--isolation=chroot", "--network=host"]
        words = [buildah, "build", *rootless] if buildah else words
        # A layer that is kept has the labels of the build it is from.
        words += ["--layers=false", "--format=docker"]
    arguments = [f"--build-arg={name}={value}" for name, value in given.items()]
    run(*words, *arguments, f"--tag={tag}", ".")
    labels = {name.lower(): value for name, value in given.items()} | {"title": project["name"]}
    return {f"org.opencontainers.image.{name}": value for name, value in labels.items()}


def _revision() -> str:
    git = shutil.which("git")
    try:
        return run(git, "rev-parse", "HEAD") if git else "unknown"
    except FailedError:
        return "unknown"


@contextmanager
def running(engine: str, tag: str) -> Iterator[str]:
    """Run a container without rights for a block; yield its id."""
    container = run(engine, "run", "--detach", *LOCKED, tag)
    try:
        yield container
    finally:
        subprocess.run([engine, "rm", "--force", container], capture_output=True, check=False)  # noqa: S603 - as above


def inspected(engine: str, what: str) -> dict[str, Any]:
    """Return what the engine knows of an image or a container."""
    found: dict[str, Any] = json.loads(run(engine, "inspect", what))[0]
    return found


def examine(engine: str, max_mb: float) -> Iterator[tuple[str, bool]]:
    """Build the image and run it; yield each check in words, and whether it holds."""
    tag = f"{metadata()['name']}-image-test"
    expected = build(engine, tag)
    image = inspected(engine, tag)
    labels = image["Config"].get("Labels") or {}
    lacking = [name for name, value in expected.items() if labels.get(name) != value]
    yield f"labels: {', '.join(lacking) or 'as they were given'}", not lacking
    size_mb = image["Size"] / 1e6
    yield f"size: {size_mb:.0f} MB, {max_mb:.0f} at most", size_mb <= max_mb
    begun = time.monotonic()
    with running(engine, tag) as container:
        # Of an image, podman tells it elsewhere.
        probe = inspected(engine, container)["Config"].get("Healthcheck", {}).get("Test", ["", "false"])[1:]
        healthy = _becomes_healthy(engine, container, probe, begun)
        yield f"health: {'after' if healthy else 'not within'} {time.monotonic() - begun:.1f} s", healthy
        user = run(engine, "exec", container, "id", "-u")
        yield f"user: {user}", user not in ("", "0")
        written = run(engine, "exec", container, "sh", "-c", WRITES).split()
        yield f"read-only: files can be written in {', '.join(written)}", written == ["tmp"]
        begun = time.monotonic()
        run(engine, "stop", "--time=30", container)
        took_s, code = time.monotonic() - begun, inspected(engine, container)["State"]["ExitCode"]
        yield f"SIGTERM: exit code {code} after {took_s:.1f} s", code == 0 and took_s <= STOPPED_WITHIN_S


def _becomes_healthy(engine: str, container: str, probe: Sequence[str], begun: float) -> bool:
    """Ask the image's own health check again and again."""
    while time.monotonic() - begun <= HEALTHY_WITHIN_S:
        try:
            run(engine, "exec", container, *probe)
        except FailedError:
            if not inspected(engine, container)["State"]["Running"]:
                said = subprocess.run([engine, "logs", container], capture_output=True, text=True, check=False)  # noqa: S603 - as above
                raise FailedError(said.stdout + said.stderr) from None
            time.sleep(0.1)
        else:
            return True
    return False


def main() -> int:
    """Print a line for each check and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-mb", type=float, default=300, help="largest size of the image in MB (default: 300)")
    max_mb = parser.parse_args().max_mb
    failed = 0
    try:
        for words, holds in examine(find_engine(), max_mb):
            failed += not holds
            print(f"{'ok' if holds else 'FAILED':<8}{words}", flush=True)  # noqa: T201 - the result
    except FailedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the reason
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
