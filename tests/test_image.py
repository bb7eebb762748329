"""The image of a rendered service: `just image-test` builds it with a container engine and tries it."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rendering import DEFAULT, FULLEST, ONLY_GENAI, WITH_DATABASE, Answers, Workshop, clean_environment, run

_ENGINE = os.environ.get("IMAGE_ENGINE", "")
_BASE = "docker.io/library/python:3.12-slim"
_BASE_MB = 130
"""What the public base image takes; one that stands in for it may be larger, and is not what is measured."""
ANSWERS: dict[str, Answers] = {
    "genai": ONLY_GENAI,
    "default": DEFAULT,
    "database": WITH_DATABASE,
    "fullest": FULLEST,
}

pytestmark = pytest.mark.image
needs_engine = pytest.mark.skipif(
    not _ENGINE, reason="needs a container engine and its base images: set IMAGE_ENGINE to docker or podman"
)


def image_test(
    workshop: Workshop, folder: Path, answers: Answers, *words: str, replaced: tuple[str, str] = ("", "")
) -> subprocess.CompletedProcess[str]:
    """Run the recipe in a copy of a service, in whose Dockerfile something may be replaced."""
    installed, project = workshop.install(answers), folder / "my-service"
    shutil.copytree(installed, project, ignore=shutil.ignore_patterns(".venv", ".git", "*_cache"))
    file = project / "Dockerfile"
    text = file.read_text(encoding="utf-8")
    assert replaced[0] in text
    file.write_text(text.replace(*replaced, 1) if replaced[0] else text, encoding="utf-8")
    bin_ = str(installed / ".venv" / "bin")
    environment = {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "IMAGE_ENGINE": _ENGINE}
    return run(project, f"{bin_}/just", "image-test", *words, env=environment)


def _default_mb(project: Path) -> int:
    """Return the largest size that the recipe takes without being told."""
    text = (project / "tests" / "image.py").read_text(encoding="utf-8")
    (found,) = re.findall(r"^MAX_MB = (\d+)$", text, re.MULTILINE)
    return int(found)


def _allowed(project: Path) -> list[str]:
    """Return nothing, so that the recipe's default holds; with a base image above the public one, that much more."""
    found = subprocess.run([_ENGINE, "image", "inspect", _BASE], capture_output=True, text=True, check=True)
    base_mb: float = json.loads(found.stdout)[0]["Size"] / 1e6
    return [f"--max-mb={_default_mb(project) + base_mb - _BASE_MB}"] if base_mb > _BASE_MB else []


@pytest.mark.parametrize("name", ANSWERS)
def test_the_page_says_how_large_an_image_may_be(workshop: Workshop, name: str) -> None:
    """The default of the recipe, which is what a CI runs: a database brings libraries that other services have not."""
    project = workshop.render(ANSWERS[name])
    page = (project / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert [str(_default_mb(project))] == re.findall(r"(\d+) MB at most", page)
    assert {"genai": 300, "default": 300}.get(name, 400) == _default_mb(project)
    recipe = (project / "tests" / "image.py").read_text(encoding="utf-8")
    (within_s,) = re.findall(r"^HEALTHY_WITHIN_S = (\d+)$", recipe, re.MULTILINE)
    (user,) = re.findall(r'^USER = "(\d+)"$', recipe, re.MULTILINE)
    assert re.search(rf"healthy\s+within {within_s} s, user {user},", page)


@needs_engine
@pytest.mark.parametrize("name", ANSWERS)
def test_the_image_serves_without_rights(workshop: Workshop, tmp_path: Path, name: str) -> None:
    """It is small, labelled, healthy in time, runs without rights on files it cannot write, and stops with 0."""
    answers = ANSWERS[name]
    done = image_test(workshop, tmp_path, answers, *_allowed(workshop.render(answers)))

    assert 0 == done.returncode, done.stdout + done.stderr
    lines = [line.split(maxsplit=2)[:2] for line in done.stdout.splitlines()]
    names = ["labels:", "size:", "health:", "user:", "read-only:", "SIGTERM:"]
    assert [["ok", name] for name in names] == lines


@needs_engine
@pytest.mark.parametrize(
    ("replaced", "failing"),
    [
        (("USER 10001:10001", "USER 0:0"), "user: 0"),
        (("USER 10001:10001", "USER 10002:10001"), "user: 10002"),
        (("USER 10001:10001", "RUN chown 10001 /usr\nVOLUME /usr\nUSER 10001:10001"), "written in usr, tmp"),
        (('CMD ["serve"]', 'CMD ["serve", "--host", "203.0.113.1"]'), "error:"),
        (("revision=", "revised="), "labels: org.opencontainers.image.revision"),
        (("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL"), "SIGTERM: exit code 137"),
    ],
    ids=["root", "another-user", "volume", "does-not-start", "label", "killed"],
)
def test_a_bad_image_is_found(workshop: Workshop, tmp_path: Path, replaced: tuple[str, str], failing: str) -> None:
    """Each check can fail, and then the recipe does."""
    done = image_test(workshop, tmp_path, ONLY_GENAI, "--max-mb=10000", replaced=replaced)

    assert 1 == done.returncode
    assert failing in "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "ok  " not in line)


@needs_engine
def test_a_large_image_is_found(workshop: Workshop, tmp_path: Path) -> None:
    """The limit is one."""
    done = image_test(workshop, tmp_path, ONLY_GENAI, "--max-mb=1")

    assert 1 == done.returncode
    assert any(line.startswith("FAILED  size: ") for line in done.stdout.splitlines())


@pytest.mark.gate
def test_without_an_engine_the_recipe_says_what_it_needs(workshop: Workshop, tmp_path: Path) -> None:
    """One line, and an exit code that a pipeline sees."""
    project = workshop.install(ONLY_GENAI)
    for name, env in {"docker and podman": {}, "lxc": {"IMAGE_ENGINE": "lxc"}}.items():
        clean = {key: value for key, value in clean_environment(env).items() if key != "IMAGE_ENGINE"} | env
        python = str(project / ".venv" / "bin" / "python")
        done = subprocess.run(
            [python, "-m", "tests.image"],
            cwd=project,
            env=clean | {"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        hint = "start docker, install podman, or name one in IMAGE_ENGINE"
        assert (1, f"no container engine answers ({name}); {hint}\n") == (done.returncode, done.stderr)
