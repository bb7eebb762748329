"""CI: each job is a recipe, run here as its runner does; workflows are clean, and a defect turns its recipe red."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pages import blocks
from rendering import DEFAULT, FULLEST, MINIMAL, Answers, Workshop, run
from tools import ROOT, uv

CIS = ("github", "gitlab")
CHANGE = {"lint", "test", "test-lowest", "secrets", "audit", "sbom", "image-test"}
SCHEDULED = {"test-newest", "test-lowest", "audit"}
PIN = re.compile(r"^ *- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
BINARIES = Path(sys.executable).parent
BILL = "dist/sbom.cdx.json"
PAGE = ROOT / "docs/how-to/continuous-integration.md"
DEFECTS = {
    "style": ("src/my_service/planted.py", '"""Planted."""\n\nimport os\n', "F401"),
    "types": ("src/my_service/planted.py", '"""Planted."""\n\nNUMBER: int = "one"\n', "Incompatible types"),
    "layers": (
        "src/my_service/chassis/planted.py",
        '"""Planted."""\n\nfrom ..bootstrap import runtime\n\n__all__ = ["runtime"]\n',
        "BROKEN",
    ),
}
"""A module that a recipe has to refuse, by what is wrong with it, and what the tool says of it."""
FAILING = '"""Planted."""\n\n\ndef test_planted() -> None:\n    """Nothing holds."""\n    assert [] == ["planted"]\n'


def parsed(project: Path, ci: str) -> dict[str, Any]:
    """Return what a CI reads of a project."""
    name = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}[ci]
    read: dict[str, Any] = yaml.safe_load((project / name).read_text(encoding="utf-8"))
    return read


def recipes(project: Path, ci: str) -> dict[str, set[str]]:
    """Return the recipes of a change, and those of a schedule."""
    told = parsed(project, ci)
    if ci == "github":
        return {name: set(job["strategy"]["matrix"]["recipe"]) for name, job in told["jobs"].items()}
    found = {name: set(told[name]["parallel"]["matrix"][0]["RECIPE"]) for name in ("change", "scheduled")}
    alone = {told[name]["variables"]["RECIPE"] for name in ("sbom", "image-test")}
    return {**found, "change": found["change"] | alone}


def commands(project: Path, ci: str) -> dict[str, list[str]]:
    """Return the commands of the jobs of recipes, without those that install uv: this environment has it."""
    told = parsed(project, ci)
    if ci == "gitlab":
        return dict.fromkeys(("change", "scheduled"), told[".recipe"]["script"])
    steps = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in told["jobs"].items()}
    return {name: [line for line in lines if "install" not in line] for name, lines in steps.items()}


def job(project: Path, ci: str, recipe: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a recipe as the runner of a CI does."""
    (command,) = commands(project, ci)["change"]
    path = {"PATH": f"{uv().parent}:/usr/local/bin:/usr/bin:/bin", "RECIPE": recipe}
    return run(project, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command, env={**path, **(env or {})})


@pytest.mark.parametrize("ci", CIS)
@pytest.mark.parametrize(
    ("answers", "more"),
    [pytest.param(DEFAULT, set(), id="default"), pytest.param(FULLEST, {"test-postgresql"}, id="fullest")],
)
def test_every_job_is_one_recipe(workshop: Workshop, ci: str, answers: Answers, more: set[str]) -> None:
    """Both CIs run the same recipes, with one command each, and all of them are recipes of the project."""
    project = workshop.render({**answers, "ci": ci})
    assert {"change": CHANGE | more, "scheduled": SCHEDULED} == recipes(project, ci)
    assert {name: ['uv run --frozen just "$RECIPE"'] for name in ("change", "scheduled")} == commands(project, ci)
    written = re.findall(r"^([a-z][a-z-]*)(?: [^:]*)?:", (project / "justfile").read_text("utf-8"), re.MULTILINE)
    assert set() == (CHANGE | more | SCHEDULED) - set(written)


def test_workflows_have_few_rights(workshop: Workshop) -> None:
    """No job may write, none keeps credentials, and every action is a commit with the name of its version."""
    for path in (workshop.render({"ci": "github"}) / ".github/workflows").iterdir():
        text = path.read_text(encoding="utf-8")
        workflow = yaml.safe_load(text)
        rights = [workflow["permissions"], *(job.get("permissions", {}) for job in workflow["jobs"].values())]
        assert all(right in ({}, {"contents": "read"}) for right in rights)
        used = [step for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
        assert len(used) == len([line for line in text.splitlines() if PIN.match(line)])
        assert all(step["with"]["persist-credentials"] is False for step in used if "checkout" in step["uses"])


def test_the_bill_of_materials_is_kept(workshop: Workshop) -> None:
    """Where the recipe writes it, both CIs keep it."""
    steps = parsed(workshop.render({"ci": "github"}), "github")["jobs"]["change"]["steps"]
    (kept,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert ("matrix.recipe == 'sbom'", BILL) == (kept["if"], kept["with"]["path"])
    assert [BILL] == parsed(workshop.render({"ci": "gitlab"}), "gitlab")["sbom"]["artifacts"]["paths"]


def test_gitlab_tries_the_image_where_a_runner_can(workshop: Workshop) -> None:
    """Without a runner that has an engine there is no such job; the variable that names it is on the page."""
    job = parsed(workshop.render({"ci": "gitlab"}), "gitlab")["image-test"]
    assert ["$IMAGE_RUNNER"] == job["tags"]
    assert all(rule["if"].startswith("$IMAGE_RUNNER && ") for rule in job["rules"])
    assert "`IMAGE_RUNNER`" in PAGE.read_text(encoding="utf-8")


def zizmor(workflows: Path) -> subprocess.CompletedProcess[str]:
    """Audit workflows with everything that can be known without the network."""
    names = sorted(path.name for path in workflows.iterdir())
    return run(workflows, str(BINARIES / "zizmor"), "--offline", "--no-config", "--pedantic", *names)


def test_workflows_are_clean(workshop: Workshop, tmp_path: Path) -> None:
    """The audit of workflows finds nothing; a tag in place of a commit, or an input in a command, is found."""
    rendered = workshop.render({**FULLEST, "ci": "github"}) / ".github/workflows"
    done = zizmor(rendered)
    assert (0, True) == (done.returncode, "No findings" in done.stdout + done.stderr), done.stdout
    text = (rendered / "ci.yml").read_text(encoding="utf-8")
    assert "completed template.yml" in done.stderr
    loose = text.replace('"$RECIPE"', "${{ github.head_ref }}")
    (tmp_path / "ci.yml").write_text(re.sub(r"@[0-9a-f]{40} # ", "@", loose), encoding="utf-8")
    found = zizmor(tmp_path).stdout
    assert "template-injection" in found
    assert "unpinned-uses" in found


@pytest.mark.parametrize(
    ("ci", "schema", "names"),
    [
        pytest.param(
            "github", "vendor.github-workflows", [".github/workflows/ci.yml", ".github/workflows/template.yml"]
        ),
        pytest.param("gitlab", "vendor.gitlab-ci", [".gitlab-ci.yml"]),
        pytest.param("github", "vendor.renovate", ["renovate.json"]),
    ],
    ids=["github", "gitlab", "renovate"],
)
def test_files_fit_their_schemas(workshop: Workshop, tmp_path: Path, ci: str, schema: str, names: list[str]) -> None:
    """What a CI and Renovate read is what their published schemas allow; a misspelt key is not."""
    project = workshop.render({**FULLEST, "ci": ci})
    check = [str(BINARIES / "check-jsonschema"), "--builtin-schema", schema]
    run(project, *check, *names, check=True)
    for name in names:
        wrong = tmp_path / Path(name).name
        text = (project / name).read_text(encoding="utf-8")
        wrong.write_text(re.sub(r"(runs-on|script)(?=:)|(?<=\"enabled\": )true", '"wrong"', text), encoding="utf-8")
        assert 1 == run(project, *check, str(wrong)).returncode


def test_leaving_keeps_the_jobs_of_recipes(workshop: Workshop) -> None:
    """Who leaves as the page says keeps the jobs that check changes, and none that asks for releases."""
    project = workshop.render({"ci": "gitlab"}, variant="leaving")
    told = (ROOT / "docs/how-to/leave-the-template.md").read_text(encoding="utf-8")
    (command,) = (line for line in told.splitlines() if "/^template-release:$/" in line)
    run(project, "bash", "-euo", "pipefail", "-c", command, check=True)
    left = parsed(project, "gitlab")
    assert {"include", "default", ".recipe", ".change", "change", "sbom", "image-test", "scheduled"} == set(left)


@pytest.mark.gate
def test_a_defect_fails_its_job(workshop: Workshop) -> None:
    """A flaw of style, types or layers turns `lint` red, in the words of the tool that found it; a test `test`."""
    project = workshop.install({**MINIMAL, "ci": "github"}, variant="defects", typed=True)
    for name, text, said in DEFECTS.values():
        done = planted(project, name, text, "lint")
        assert said in done.stdout + done.stderr
    done = planted(project, "tests/test_planted.py", FAILING, "test")
    assert "1 failed" in done.stdout
    assert "test_planted" in done.stdout


def planted(project: Path, name: str, text: str, recipe: str) -> subprocess.CompletedProcess[str]:
    """Run the job of a recipe while a file is there, and expect that it is red."""
    (project / name).write_text(text, encoding="utf-8")
    done = job(project, "github", recipe)
    (project / name).unlink()
    assert 0 != done.returncode, done.stdout
    return done


@pytest.mark.gate
def test_the_lowest_versions_are_enough(workshop: Workshop) -> None:
    """With the lowest version of everything that pyproject.toml names, all tests pass, and the lock stays as it was."""
    project = workshop.install({**FULLEST, "ci": "gitlab"}, variant="lowest")
    before = (project / "uv.lock").read_bytes()
    done = job(project, "gitlab", "test-lowest", {"PYTEST_ADDOPTS": "--maxprocesses=2"})
    assert 0 == done.returncode, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
    lowest = (project / ".venv" / "resolved.txt").read_text(encoding="utf-8")
    floors = dict(
        re.findall(
            r'^    "([a-z0-9-]+)(?:\[[a-z]+\])?>=([0-9.]+),<', (project / "pyproject.toml").read_text(), re.MULTILINE
        )
    )
    taken = dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+)", lowest, re.MULTILINE))
    assert {"pydantic", "fastapi", "dbos", "pytest"} <= {n for n in floors if taken.get(n, "").startswith(floors[n])}
    assert before == (project / "uv.lock").read_bytes()


@pytest.mark.gate
def test_a_failing_test_fails_other_versions_and_engines(workshop: Workshop) -> None:
    """The recipes for the newest versions and for PostgreSQL are red when a test is."""
    project = workshop.install({**FULLEST, "ci": "gitlab"}, variant="planted")
    (project / "tests" / "test_planted.py").write_text(FAILING, encoding="utf-8")
    for recipe in ("test-newest", "test-postgresql"):
        done = run(project, str(uv()), "run", "--frozen", "just", recipe, "tests/test_planted.py")
        assert 0 != done.returncode
        assert "1 failed" in done.stdout, done.stderr


def test_the_page_names_every_recipe(workshop: Workshop) -> None:
    """The table of the page has the recipes of both CIs, and when each runs."""
    rows = dict(re.findall(r"^\| `uv run just ([a-z-]+)` \| .* \| (.+?) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    told = recipes(workshop.render({**FULLEST, "ci": "github"}), "github")
    assert told == {
        kind: {name for name, when in rows.items() if word in when}
        for kind, word in (("change", "change"), ("scheduled", "week"))
    }
    assert [] == [block for block in blocks(PAGE.read_text("utf-8")) if block.commands and block.language == "bash"]
