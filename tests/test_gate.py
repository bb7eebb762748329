"""The gate: an untouched project is green with its own tools, and each of its recipes does what it says."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rendering import (
    DEFAULT,
    FULLEST,
    LONG_NAME,
    MINIMAL,
    ONLY_DIARIZATION,
    ONLY_GENAI,
    SHORT_NAME,
    WITH_DATABASE,
    Answers,
    Workshop,
    clean_environment,
    commit,
    contents,
    git,
    install,
    run,
    tool,
)
from tools import uv

pytestmark = pytest.mark.gate

RECIPES = {"setup", "dev", "check", "fmt", "test-unit", "test-integration"}
GUARD = "template update"
SECRETS = "secrets"
HOOKS = {"pre-commit": {GUARD, SECRETS, "ruff check", "ruff format", "mypy", "lint-imports"}, "pre-push": {"pytest"}}
START_TIMEOUT_S = 60
ON_POSTGRESQL = """
import os

def test_engine():
    assert os.environ["TRANSCRIPT_SUMMARY_BOARD_DATABASE__URL"].startswith("postgresql://")
"""


def just(project: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a recipe as the documents say it."""
    return run(project, str(uv()), "run", "--frozen", "just", *arguments, check=check)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(DEFAULT, id="default"),
        pytest.param(MINIMAL, id="minimal"),
        pytest.param(ONLY_GENAI, id="genai"),
        pytest.param(ONLY_DIARIZATION, id="diarization"),
        pytest.param({**SHORT_NAME, **FULLEST}, id="everything-two-characters"),
        pytest.param({**MINIMAL, **FULLEST}, id="capabilities"),
    ],
)
def test_untouched_project_is_green(workshop: Workshop, answers: Answers) -> None:
    """The first command installs the project, the second one is green, and neither changes a file."""
    project = workshop.install(answers, typed=True)
    before = contents(project)
    done = just(project, "check")
    assert re.search(r"\d+ passed", done.stdout)
    assert re.search(r"\d+ (failed|error|warning)", done.stdout) is None
    assert before == contents(project)


def test_untouched_project_is_green_on_postgresql(workshop: Workshop) -> None:
    """All tests of an owner pass there too, each with a database of its own on a server that they start."""
    project = workshop.install({**LONG_NAME, **WITH_DATABASE}, variant="postgresql", typed=True)
    just(project, "lint")
    proof = project / "tests" / "test_engine.py"
    proof.write_text(ON_POSTGRESQL, encoding="utf-8")
    done = just(project, "test-postgresql", "--numprocesses=2", "--dist=worksteal")
    assert re.search(r"\d+ passed", done.stdout)
    assert re.search(r"\d+ (failed|error|warning)", done.stdout) is None


def test_gate_is_green_on_the_next_python(workshop: Workshop) -> None:
    """The default project is green on Python 3.13 too."""
    found = run(workshop.template(), str(uv()), "python", "find", "--system", "3.13")
    if found.returncode != 0:
        pytest.skip("uv finds no Python 3.13 on this machine; nothing is downloaded for a test")
    project = workshop.render(DEFAULT, variant="3.13")
    (project / ".python-version").write_text("3.13\n", encoding="utf-8")
    install(project)
    assert tool(project, "python", "--version").stdout.startswith("Python 3.13")
    just(project, "check")


def test_recipes_are_those_of_the_contract(workshop: Workshop) -> None:
    """`just --list` shows every recipe with a sentence."""
    listed = just(workshop.install(DEFAULT), "--list").stdout.splitlines()[1:]
    described = {line.split()[0]: line.partition("# ")[2] for line in listed if line.strip()}
    assert set() == RECIPES - set(described)
    assert [] == [name for name, text in described.items() if not text.endswith(".")]


@pytest.mark.parametrize("recipe", ["test-unit", "test-integration"])
def test_parts_of_the_tests_run_alone(workshop: Workshop, recipe: str) -> None:
    """The tests inside the process and those with processes of their own can be run apart from each other."""
    done = just(workshop.install(DEFAULT), recipe, "-q", "--color=no")
    assert re.search(r"\d+ passed, (1 skipped, )?\d+ deselected", done.stdout)


def test_arguments_of_recipes_never_reach_a_shell(workshop: Workshop) -> None:
    """A text that is handed to a recipe stays one argument."""
    project = workshop.install(DEFAULT)
    done = just(project, "test-unit", "-q", "-k", "nothing; touch planted", check=False)
    assert 0 != done.returncode
    assert not (project / "planted").exists()


@pytest.fixture(scope="module")
def repository(workshop: Workshop) -> Path:
    """Return a default project under version control; no other module uses it, nor another worker of this run."""
    project = workshop.install(DEFAULT, f"repository {os.environ.get('PYTEST_XDIST_WORKER', '')}", typed=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Start from the template")
    return project


def test_setup_installs_the_hooks(repository: Path) -> None:
    """`just setup` installs the project and the hooks of git, for commits and for pushes."""
    just(repository, "setup")
    for stage in HOOKS:
        assert "pre_commit" in (repository / ".git" / "hooks" / stage).read_text(encoding="utf-8")


def test_formatting_an_untouched_project_changes_nothing(repository: Path) -> None:
    """The source is formatted and the generated pages are fresh from the start."""
    just(repository, "fmt")
    assert "" == git(repository, "status", "--porcelain").stdout


def test_lock_is_tracked_and_secrets_are_not(repository: Path) -> None:
    """Git keeps the lock and the example, and ignores environments, caches and files with secrets."""
    names = ["uv.lock", ".env.example", ".env", ".env.local", ".env.prod", ".venv/x", ".mypy_cache/x", ".coverage"]
    ignored = run(repository, "git", "check-ignore", "--no-index", *names).stdout.split()
    assert names[2:] == ignored
    assert "uv.lock" in git(repository, "ls-files").stdout.split()


def test_data_of_a_service_is_not_tracked(workshop: Workshop) -> None:
    """What a service leaves in the folder where it was started is nobody's commit: neither rows nor recordings."""
    project = workshop.render(FULLEST, variant="data")
    git(project, "init", "--quiet")
    left = [f"my-service.db{end}" for end in ("", "-shm", "-wal", ".jobs-lock", ".uploads/my-service-upload-x1")]
    assert left == run(project, "git", "check-ignore", "--no-index", *left).stdout.split()


@pytest.mark.parametrize("stage", HOOKS)
def test_hooks_are_green(workshop: Workshop, tmp_path: Path, stage: str) -> None:
    """The hooks make the checks of the gate, and an untouched project passes them."""
    project = workshop.install(MINIMAL, variant=f"hooks {stage}", typed=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Start from the template")
    done = hooks(project, tmp_path, "--all-files", f"--hook-stage={stage}")
    assert 0 == done.returncode, done.stdout
    passed = re.findall(r"^(.+?)\.+Passed$", done.stdout, re.MULTILINE)
    assert HOOKS[stage] == set(passed)


def test_hooks_are_the_checks_of_the_gate(repository: Path) -> None:
    """Both stages together run the commands of `just check`, word by word; two more look at updates and for secrets."""
    config = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooked = {hook["entry"].removeprefix("uv run --frozen ") for hook in config["repos"][0]["hooks"][2:]}
    said = just(repository, "--dry-run", "check").stderr
    assert set(said.splitlines()) == hooked


@pytest.mark.parametrize("name", ["pyproject.toml", "mypy.ini", ".importlinter", "ruff.toml", "pytest.toml"])
def test_a_changed_tool_file_triggers_the_hooks(repository: Path, tmp_path: Path, name: str) -> None:
    """Whoever changes only what a tool is told is checked like somebody who changes code."""
    done = hooks(repository, tmp_path, "--files", name)
    ran = set(re.findall(r"^(.+?)\.+(?:Passed|Failed)$", done.stdout, re.MULTILINE))
    assert HOOKS["pre-commit"] == ran, done.stdout


def test_hooks_say_that_the_lock_is_missing(repository: Path, tmp_path: Path) -> None:
    """Without the lock no check passes, and each says what is missing; the guard of updates needs none."""
    lock = repository / "uv.lock"
    lock.rename(tmp_path / "uv.lock")
    try:
        done = {stage: hooks(repository, tmp_path, "--all-files", f"--hook-stage={stage}") for stage in HOOKS}
    finally:
        shutil.move(tmp_path / "uv.lock", lock)
    for stage, run_ in done.items():
        assert 0 != run_.returncode
        reports = re.split(r"\.+Failed\n", run_.stdout)
        assert HOOKS[stage] - {GUARD} == {report.splitlines()[-1] for report in reports[:-1]}
        assert [] == [report for report in reports[1:] if "Unable to find lockfile at `uv.lock`" not in report]


def hooks(project: Path, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run hooks without the network: a proxy that does not exist would be in the way."""
    offline = {"UV_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "PRE_COMMIT_HOME": str(home / "home")}
    return tool(project, "pre-commit", "run", "--color=never", *options, env=offline)


@pytest.fixture
def developer(repository: Path, tmp_path: Path) -> Iterator["Developer"]:
    """Return somebody who runs `just dev` in a terminal."""
    person = Developer(repository, tmp_path / "log")
    yield person
    person.leave()


class Developer:
    """Somebody who runs `just dev`, changes a file and presses Ctrl+C."""

    def __init__(self, project: Path, log: Path) -> None:
        """Start the recipe."""
        self._log = log
        command = [str(uv()), "run", "--frozen", "just", "dev"]
        environment = clean_environment({"MY_SERVICE_HTTP__PORT": "0"})
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, cwd=project, env=environment, stdout=stream, stderr=stream, start_new_session=True
            )

    def sees(self, starts: int, within_s: float = START_TIMEOUT_S) -> bool:
        """Wait until the service has started so many times."""
        limit = time.monotonic() + within_s
        while time.monotonic() < limit and self.process.poll() is None:
            if self._log.read_text(encoding="utf-8").count('"server_started"') >= starts:
                return True
            time.sleep(0.1)
        return False

    def presses_ctrl_c(self) -> None:
        """Interrupt everything that runs in the terminal and wait for its end."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)

    def leave(self) -> None:
        """Close the terminal, whatever still runs in it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(30)


def test_dev_restarts_on_a_change(repository: Path, developer: Developer) -> None:
    """`just dev` serves, starts again when a source file changes, and ends with Ctrl+C without leaving anything."""
    source = repository / "src" / "my_service" / "__main__.py"
    text = source.read_text(encoding="utf-8")
    assert developer.sees(starts=1)
    for _ in range(6):  # the first change can come before anybody watches
        source.write_text(text, encoding="utf-8")
        if developer.sees(starts=2, within_s=10):
            break
    assert developer.sees(starts=2)
    developer.presses_ctrl_c()
    with pytest.raises(ProcessLookupError):
        os.killpg(developer.process.pid, 0)
