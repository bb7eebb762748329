"""Resources: what `just new-resource` writes is green and works at once, and nothing else changes."""

import re
from pathlib import Path

import pytest

from rendering import DEFAULT, MINIMAL, WITH_DATABASE, Workshop
from serving import command, running
from test_scaffolds import changed, just, repository

pytestmark = pytest.mark.gate

NAME = "price_lists"


@pytest.fixture(scope="module")
def grown(workshop: Workshop) -> Path:
    """Return a project with a database and no object, and with a resource that a recipe has written."""
    project = repository(workshop, {**MINIMAL, **WITH_DATABASE}, "resource")
    if not changed(project):
        just(project, "new-resource", NAME)
    return project


def test_a_resource_is_new_files_only(grown: Path) -> None:
    """The whole gate passes, also the test that holds tables against migrations."""
    added = {
        f"src/my_service/adapters/tables/{NAME}.py",
        f"src/my_service/migrations/versions/v0002_{NAME}.py",
        f"src/my_service/transport/http/{NAME}.py",
        f"src/my_service/wiring/{NAME}.py",
        f"tests/transport/test_{NAME}.py",
    }
    assert added == changed(grown)
    done = just(grown, "check")
    assert re.search(r"\d+ passed", done.stdout)
    assert added == changed(grown)


def test_a_resource_is_served_after_migrating(grown: Path, tmp_path: Path) -> None:
    """One command makes its table, and its records can be written and read."""
    assert 0 == command(grown, tmp_path, "migrate").returncode
    with running(grown, tmp_path) as service:
        created = service.post("/v1/price-lists", {"title": "2026"})
        read = service.call("GET", created.headers["location"])
    assert (201, created.document) == (created.status, read.document)
    assert created.document["id"].startswith("pri_")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param("recordings", "is a setting, a command or a route of the service already", id="there-already"),
        pytest.param("audit", "is a setting, a command or a route of the service already", id="route"),
        pytest.param("template_notes", "is a setting, a command or a route of the service already", id="table"),
        pytest.param("$(touch planted)", "cannot be the name of a resource", id="shell"),
    ],
)
def test_a_name_that_is_taken_is_refused(grown: Path, words: str, reason: str) -> None:
    """Nothing is written, and nothing reaches a shell."""
    before = changed(grown)
    done = just(grown, "new-resource", words, check=False)
    assert (2, before) == (done.returncode, changed(grown))
    assert reason in done.stderr


def test_migrations_with_two_heads_are_refused(workshop: Workshop) -> None:
    """The new one would not know which to follow."""
    project = repository(workshop, WITH_DATABASE, "two heads")
    folder = project / "src/my_service/migrations/versions"
    (folder / "v0001b.py").write_text('"""B."""\n\nrevision: str = "0001b"\ndown_revision: str | None = None\n')
    done = just(project, "new-resource", "notes", check=False)
    assert (2, {"src/my_service/migrations/versions/v0001b.py"}) == (done.returncode, changed(project))
    assert "several heads, 0001, 0001b" in done.stderr


def test_without_a_database_there_is_no_recipe(workshop: Workshop) -> None:
    """Neither the recipe nor its script is there."""
    project = workshop.render(DEFAULT)
    assert "new-resource" not in (project / "justfile").read_text()
    assert not (project / "scaffolds" / "new_resource.py").exists()
