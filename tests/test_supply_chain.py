"""Supply chain: the audit, the bill of materials, the scan for secrets and the cool-down, each with its fault."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dated_index import DatedIndex
from pages import blocks
from rendering import (
    DEFAULT,
    DEPLOYED,
    FULLEST,
    MINIMAL,
    WITH_DATABASE,
    Answers,
    Workshop,
    clean_environment,
    commit,
    git,
    run,
)
from tools import ROOT, uv
from weaknesses import EVERYWHERE, Weaknesses

pytestmark = pytest.mark.gate

type Just = Callable[..., subprocess.CompletedProcess[str]]

PAGE = ROOT / "docs/how-to/secure-the-supply-chain.md"
BILL = "dist/sbom.cdx.json"
KEY = "NAPGYP6XHKDP5BWQAIKA"[::-1]
_OTHER = "S98lnOR4Im9usk3k9nXna3aiiCNNieZWkyX36lrA"[::-1]
SECRET = f"AWS_ACCESS_KEY_ID={KEY}\nAWS_SECRET_ACCESS_KEY={_OTHER}\n"
"""What a scanner finds; it stands in no file of the template."""


@pytest.fixture(scope="module")
def tools(workshop: Workshop) -> Path:
    """Return where the tools of an installed service lie."""
    return workshop.install(MINIMAL) / ".venv"


@pytest.fixture(scope="module")
def project(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small service under version control, of which no other worker makes use."""
    copied = tmp_path_factory.mktemp("supply") / "service"
    kept = shutil.ignore_patterns(".venv", ".git", "__pycache__", "*_cache")
    shutil.copytree(tools.parent, copied, ignore=kept)
    git(copied, "init", "--quiet", "--initial-branch=main")
    commit(copied, "Start from the template")
    return copied


@pytest.fixture
def just(tools: Path) -> Just:
    """Return what runs a recipe in a folder with the tools of the installed service."""

    def recipe(
        folder: Path, *arguments: str, first: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return run(folder, str(tools / "bin/just"), *arguments, env=within(tools, first) | env)

    return recipe


def within(tools: Path, first: Path | None = None) -> dict[str, str]:
    """Return variables that let every command find the tools, after those of a folder, and install nothing."""
    path = f"{first or tools}:{tools / 'bin'}:{clean_environment()['PATH']}"
    return {"PATH": path, "UV_PROJECT_ENVIRONMENT": str(tools), "UV_NO_SYNC": "1"}


def test_an_audit_looks_at_every_package(project: Path, just: Just) -> None:
    """Without a known weakness the audit is green, and says how many packages were asked for: all of the lock."""
    with Weaknesses(EVERYWHERE) as database:
        done = just(project, "audit", "--service-url", database.url)
    lock = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))
    names = [
        f"{package['name']}=={package['version']}" for package in lock["package"] if "registry" in package["source"]
    ]
    assert 0 == done.returncode, done.stderr
    assert f"audit: {len(names)} packages, no findings by {database.url}\n" == done.stdout
    assert sorted([*EVERYWHERE, *names]) == sorted(database.asked)


def test_an_audit_names_the_weakness(project: Path, just: Just) -> None:
    """A weak package is red, with its weakness and the version that mends it, until somebody lets it pass."""
    with Weaknesses({**EVERYWHERE, "starlette": "GHSA-x"}) as database:
        done = just(project, "audit", "--service-url", database.url)
        passed = just(project, "audit", "--service-url", database.url, "--ignore", "GHSA-x")
    assert 1 == done.returncode
    assert re.search(r"^starlette [\d.]+: Lets in \(GHSA-x\), mended in 99$", done.stdout, re.MULTILINE)
    assert 0 == passed.returncode, passed.stdout


@pytest.mark.parametrize(
    ("known", "said"),
    [
        pytest.param(None, "gave no answer", id="unreachable"),
        pytest.param({}, "knows no weakness of jinja2 2.4.1", id="empty"),
    ],
)
def test_an_audit_that_checked_nothing_is_red(
    project: Path, just: Just, known: dict[str, str] | None, said: str
) -> None:
    """A database that cannot be reached, or knows nothing, is told from one that found nothing."""
    with Weaknesses(known or {}) as database:
        if known is None:
            database.__exit__(None, None, None)
        done = just(project, "audit", "--service-url", database.url)
    assert (2, "") == (done.returncode, done.stdout)
    assert "audit: nothing is known about the packages: " in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("lock", [None, "version = 1\npackage = []\n"], ids=["missing", "empty"])
def test_an_audit_of_no_packages_is_red(project: Path, just: Just, lock: str | None) -> None:
    """Without a lock, or with one that names no package, nothing was checked."""
    path = project / "uv.lock"
    kept = path.read_bytes()
    path.unlink()
    if lock is not None:
        path.write_text(lock, encoding="utf-8")
    with Weaknesses(EVERYWHERE) as database:
        done = just(project, "audit", "--service-url", database.url)
    path.write_bytes(kept)
    assert 2 == done.returncode
    assert "uv.lock" in done.stderr


def test_the_bill_of_materials_is_valid_and_complete(workshop: Workshop, just: Just, tmp_path: Path) -> None:
    """The bill fits the schema of CycloneDX, and names what the image installs, in its versions, and nothing else."""
    project = workshop.install(FULLEST)
    shutil.copytree(project, tmp_path / "service", ignore=shutil.ignore_patterns(".venv", "*_cache"))
    done = just(tmp_path / "service", "sbom")
    assert 0 == done.returncode, done.stderr
    bill = tmp_path / "service" / BILL
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    text = bill.read_text(encoding="utf-8")
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"bomFormat": "CycloneDX"', '"bomFormat": "other"')) is not None
    export = [str(uv()), "export", "--quiet", "--frozen", "--no-dev", "--no-hashes", "--no-emit-project"]
    listed = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", run(project, *export, check=True).stdout, re.MULTILINE)
    named = [(part["name"], part["version"]) for part in json.loads(text)["components"]]
    assert {"dbos", "fastapi", "numpy"} <= {name for name, _ in named}
    assert sorted(listed) == sorted(named)


def test_the_bill_lies_where_git_does_not_look(project: Path, just: Just) -> None:
    """The recipe writes into a folder that git ignores."""
    assert 0 == just(project, "sbom").returncode
    assert "CycloneDX" == json.loads((project / BILL).read_text(encoding="utf-8"))["bomFormat"]
    assert "" == git(project, "status", "--porcelain").stdout


def test_a_clean_project_has_no_secrets(project: Path, just: Just) -> None:
    """An untouched project is green; keys in files that git ignores are nobody's business."""
    (project / ".env.local").write_text(SECRET, encoding="utf-8")
    done = just(project, "secrets")
    (project / ".env.local").unlink()
    assert 0 == done.returncode, done.stdout
    assert re.fullmatch(r"secrets: none in [1-9]\d\d contents of files\n", done.stdout)


@pytest.mark.parametrize(
    "answers",
    [DEFAULT, {**DEPLOYED, "ci": "github"}, {**WITH_DATABASE, "ci": "gitlab"}],
    ids=["default", "all", "gitlab"],
)
def test_nothing_that_is_rendered_looks_like_a_secret(workshop: Workshop, just: Just, answers: Answers) -> None:
    """The first run of a new service is green whatever was answered."""
    project = workshop.render(answers, "secrets")
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Start from the template")
    done = just(project, "secrets")
    assert 0 == done.returncode, done.stdout


def test_a_secret_is_found_in_the_history(project: Path, just: Just, tmp_path: Path) -> None:
    """A key that was committed and taken away again is found, with its commit, and is not printed."""
    git(tmp_path, "clone", "--quiet", str(project), "service")
    copied = tmp_path / "service"
    (copied / "notes.txt").write_text(SECRET, encoding="utf-8")
    commit(copied, "Notes")
    guilty = git(copied, "rev-parse", "HEAD").stdout.strip()
    (copied / "notes.txt").unlink()
    commit(copied, "No notes")
    git(copied, "checkout", "--quiet", "--detach")  # as a CI does
    git(copied, "branch", "--quiet", "--delete", "--force", "main")
    done = just(copied, "secrets")
    assert 1 == done.returncode
    assert guilty in done.stdout
    assert "notes.txt" in done.stdout
    assert KEY not in done.stdout + done.stderr


def test_a_part_of_the_history_is_refused(project: Path, just: Just, tmp_path: Path) -> None:
    """Where a CI fetched the last commit only, nobody is told that there are no secrets."""
    commit(project, "One more")
    git(tmp_path, "clone", "--quiet", "--depth=1", project.as_uri(), "service")
    done = just(tmp_path / "service", "secrets")
    assert 2 == done.returncode
    assert "git fetch --unshallow" in done.stderr


def test_a_secret_is_not_committed(project: Path, tools: Path) -> None:
    """The hook of git refuses a commit with a key, and lets pass the same file without it, and commits of nothing."""
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", **within(tools)}
    for text, code in ((SECRET, 1), ("nothing\n", 0), ("", 0)):
        (project / "notes.txt").write_text(text, encoding="utf-8")
        git(project, "add", "notes.txt")
        done = run(project, str(tools / "bin/pre-commit"), "run", "secrets", env=offline)
        assert code == done.returncode, done.stdout
        assert KEY not in done.stdout
    git(project, "reset", "--quiet", "--hard")


@pytest.mark.parametrize(
    ("scanner", "said"),
    [
        pytest.param("exit 0", "the scanner read 0 of", id="blind"),
        pytest.param("echo 'Blobs Scanned: 9'; echo broken >&2; exit 3", "broken", id="broken"),
    ],
)
def test_a_scan_that_read_nothing_is_red(project: Path, just: Just, tmp_path: Path, scanner: str, said: str) -> None:
    """A scanner that ends well without reading anything, or ends badly, is told from one that found nothing."""
    (tmp_path / "kingfisher").write_text(f"#!/bin/sh\n{scanner}\n", encoding="utf-8")
    (tmp_path / "kingfisher").chmod(0o755)
    done = just(project, "secrets", first=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert "secrets: nothing is known about them: " in done.stderr
    assert said in done.stderr


def test_an_upgrade_takes_what_is_old_enough(project: Path, just: Just, tmp_path: Path) -> None:
    """A version of yesterday waits until it is 7 days old, or until somebody says otherwise; the lock says no date."""
    service = tmp_path / "service"
    service.mkdir()
    for name in ("justfile", ".python-version"):
        (service / name).write_bytes((project / name).read_bytes())
    metadata = '[project]\nname = "service"\nversion = "1"\nrequires-python = ">=3.12"\ndependencies = ["tiny"]\n'
    elsewhere = {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    taken = []
    with DatedIndex(tmp_path / "index", {"1.0": timedelta(days=30), "1.1": timedelta(days=1)}) as index:
        source = f'[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
        (service / "pyproject.toml").write_text(metadata + source, encoding="utf-8")
        for waits in ({}, {"COOL_DOWN": ""}, {"COOL_DOWN": "20 days"}):
            done = just(service, "upgrade", **elsewhere, **waits)
            assert 0 == done.returncode, done.stderr
            lock = (service / "uv.lock").read_text(encoding="utf-8")
            assert "exclude-newer" not in lock
            taken += [package["version"] for package in tomllib.loads(lock)["package"] if package["name"] == "tiny"]
    assert ["1.0", "1.1", "1.0"] == taken


def test_the_page_names_the_recipes() -> None:
    """Every recipe that the page tells to run is one of the justfile; the tests above run them."""
    told = {line for block in blocks(PAGE.read_text(encoding="utf-8")) for line in block.commands}
    recipes = {line.split()[3] for line in told if line.startswith("uv run just ")}
    assert {"audit", "sbom", "secrets", "upgrade"} == recipes
