"""Editors: every configuration starts what it names, every task is a recipe, and the files fit their readers."""

import configparser
import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validator_for

from rendering import DEFAULT, FULLEST, Answers, Workshop, clean_environment, run

CASES = [pytest.param(DEFAULT, id="default"), pytest.param(FULLEST, id="fullest")]
EXTENSION = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
WORDS = {"type": "array", "items": {"type": "string"}}
CONTAINER = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:[A-Za-z0-9._-]+$"},
        "containerEnv": {"type": "object", "additionalProperties": {"type": "string"}},
        "postCreateCommand": {"type": ["string", "array", "object"]},
        "forwardPorts": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}},
        "portsAttributes": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "label": {"type": "string"},
                    "onAutoForward": {"enum": ["notify", "openBrowser", "openPreview", "silent", "ignore"]},
                },
            },
        },
        "customizations": {"type": "object", "properties": {"vscode": {"properties": {"extensions": WORDS}}}},
    },
}
"""What a dev container may say, as far as ours says it: a part of the published schema, and stricter.

Source: https://github.com/devcontainers/spec, `schemas/devContainer.base.schema.json` at 08c3f97.
"""
DEBUGPY = {
    "type": "object",
    "required": ["name", "type", "request", "module", "args", "console"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "type": {"const": "debugpy"},
        "request": {"const": "launch"},
        "module": {"type": "string"},
        "args": WORDS,
        "console": {"enum": ["integratedTerminal", "internalConsole", "externalTerminal"]},
        "justMyCode": {"type": "boolean"},
    },
}
"""What a configuration that starts a module may say. Source: https://code.visualstudio.com/docs/python/debugging."""
SECONDS = 60


def read(project: Path, name: str) -> dict[str, Any]:
    """Return a file of an editor; none has comments, which other readers would refuse."""
    document: dict[str, Any] = json.loads((project / name).read_text(encoding="utf-8"))
    return document


def configurations(project: Path) -> dict[str, dict[str, Any]]:
    """Return what can be started, by its name."""
    return {each["name"]: each for each in read(project, ".vscode/launch.json")["configurations"]}


@pytest.mark.parametrize("answers", CASES)
def test_files_say_what_their_readers_know(workshop: Workshop, answers: Answers) -> None:
    """The container and the configurations have known keys with fitting values; both recommend the same extensions."""
    project = workshop.render({**answers, "project_name": "My Service"})
    container = read(project, ".devcontainer/devcontainer.json")
    allowed = validator_for(CONTAINER)
    allowed.validate(container)
    assert not allowed.is_valid({**container, "forwardPort": [8000]})
    for each in configurations(project).values():
        validator_for(DEBUGPY).validate(each)
    extensions = read(project, ".vscode/extensions.json")["recommendations"]
    assert extensions == container["customizations"]["vscode"]["extensions"]
    assert [] == [name for name in extensions if not EXTENSION.fullmatch(name)]


def test_tasks_are_recipes(workshop: Workshop) -> None:
    """Each task runs one recipe, and the container sets up what `just setup` does."""
    project = workshop.render(DEFAULT)
    recipes = re.findall(r"^([a-z][a-z-]*)(?: [^:]*)?:", (project / "justfile").read_text("utf-8"), re.MULTILINE)
    tasks = {task["label"]: task["command"] for task in read(project, ".vscode/tasks.json")["tasks"]}
    assert tasks == {name: f"uv run just {name}" for name in tasks}
    assert set() == set(tasks) - set(recipes)
    assert read(project, ".devcontainer/devcontainer.json")["postCreateCommand"].endswith(
        "uv sync && uv run just setup"
    )


def test_white_space_is_that_of_the_formatter(workshop: Workshop) -> None:
    """Other editors write the lines that ruff and the tests of a render expect."""
    project = workshop.render(DEFAULT)
    told = configparser.ConfigParser()
    told.read_string("[top]\n" + (project / ".editorconfig").read_text(encoding="utf-8"))
    assert ("4", "120") == (told["*.py"]["indent_size"], told["*.py"]["max_line_length"])
    assert ("lf", "true", "utf-8") == tuple(
        told["*"][name] for name in ("end_of_line", "insert_final_newline", "charset")
    )
    assert "line-length = 120" in (project / "ruff.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("ci", "name"),
    [
        pytest.param("github", ".github/pull_request_template.md", id="github"),
        pytest.param("gitlab", ".gitlab/merge_request_templates/Default.md", id="gitlab"),
    ],
)
def test_requests_begin_with_the_seven_boxes(workshop: Workshop, ci: str, name: str) -> None:
    """Whoever opens a request finds the boxes of the contribution guide: decision to merge, in this order."""
    project = workshop.render({"ci": ci})
    box = re.compile(r"^- \[ \] .+$", re.MULTILINE)
    boxes = box.findall((project / name).read_text(encoding="utf-8"))
    words = ["decision", "implemented", "example", "tests", "docs", "review", "merged"]
    assert words == [re.split(r"\W", line.removeprefix("- [ ] "))[0] for line in boxes]
    assert boxes == box.findall((project / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.mark.gate
def test_configurations_start(workshop: Workshop, tmp_path: Path) -> None:
    """Each starts as the debugger starts it, in the folder of the project: the service answers, the tests pass."""
    project = workshop.install(FULLEST)
    python = str(project / ".venv/bin/python")
    found = configurations(project)
    assert {"Serve", "Worker (on PostgreSQL)", "Tests of this file", "Tests inside the process"} == set(found)
    words = {name: [python, "-m", each["module"], *each["args"]] for name, each in found.items()}
    file = str(project / "tests/service/test_genai.py")
    done = run(project, *(file if word == "${file}" else word for word in words["Tests of this file"]))
    assert (0, True) == (done.returncode, " passed" in done.stdout), done.stdout
    listed = run(project, *words["Tests inside the process"], "--collect-only", "-q", "--no-header")
    assert 0 == listed.returncode, listed.stdout
    assert re.search(r"\d{3}/\d+ tests collected", listed.stdout)
    assert 0 == run(project, *words["Worker (on PostgreSQL)"], "--help").returncode
    database = {"MY_SERVICE_DATABASE__URL": f"sqlite:///{tmp_path / 'own.db'}"}
    run(project, python, "-m", "my_service", "migrate", env=database, check=True)
    serves(project, words["Serve"], {**database, "MY_SERVICE_HTTP__PORT": "0"}, tmp_path / "log")


def serves(project: Path, words: list[str], environment: dict[str, str], log: Path) -> None:
    """Start the service, wait until it says so, and stop it as a debugger does."""
    with log.open("wb") as stream:
        process = subprocess.Popen(words, cwd=project, env=clean_environment(environment), stderr=stream)
    try:
        limit = time.monotonic() + SECONDS
        while "server_started" not in log.read_text(encoding="utf-8"):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < limit
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)
    finally:
        process.kill()
