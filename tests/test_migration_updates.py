"""Updates and tables: the template's chain of migrations grows, and the owner's is never touched."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from edits import MIGRATION
from postgresql_server import any_server, fresh_database
from rendering import FIRST_TAG, WITH_DATABASE, Workshop, commit, git, run
from test_update import NEXT_TAG, begin, update

pytestmark = pytest.mark.gate

CHAIN = "src/{}/capabilities/database/migrations/versions"
OWN = "src/my_service/migrations/versions/v0002_shelves.py"
SHELVES = MIGRATION.format(
    title="Shelves",
    up='op.execute(op.create_table("shelves", sa.Column("name", sa.String(9))).insert().values(name="upper"))',
    down='op.drop_table("shelves")',
)
NEWER = MIGRATION.format(
    title="Newer replies",
    up='op.add_column("template_replies", sa.Column("newer", sa.String(9), server_default="yes"))',
    down='op.drop_column("template_replies", "newer")',
)
ASK = """
import asyncio, sys
from sqlalchemy import text
from my_service.capabilities.database.database import Database
from my_service.capabilities.database.settings import DatabaseSection

async def ask():
    database = Database(DatabaseSection(url=sys.argv[1]))
    async with database.reading() as connection:
        names = (await connection.execute(text("SELECT name FROM shelves"))).scalars().all()
        await connection.execute(text("SELECT newer FROM template_replies"))
    await database.aclose()
    print(*names)

asyncio.run(ask())
"""


@pytest.fixture(scope="module")
def template(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a template whose next release has one more migration of its own tables."""
    copied = tmp_path_factory.mktemp("releases") / "template"
    shutil.copytree(workshop.template(), copied)
    chain = copied / "template" / CHAIN.format("{{package_name}}")
    (chain / "v0002_newer_replies.py").write_text(NEWER, encoding="utf-8")
    commit(copied, "Next release")
    git(copied, "tag", NEXT_TAG)
    return copied


def test_a_chain_of_the_owner_survives_an_update(workshop: Workshop, template: Path, tmp_path: Path) -> None:
    """On both engines both chains have a second version after it; the owner's file and rows are as they were."""
    python = workshop.install(WITH_DATABASE) / ".venv" / "bin" / "python"
    project = begin(template, tmp_path / "project", FIRST_TAG, "--data=capabilities=[database]")
    (project / OWN).write_text(SHELVES, encoding="utf-8")
    commit(project, "A table of my own")
    with ExitStack() as opened:
        server = opened.enter_context(any_server())
        urls = [f"sqlite:///{tmp_path / 'kept.db'}", opened.enter_context(fresh_database(server))]
        for url in urls:
            assert {"database": "0001", "own": "0002"} == _migrate(project, python, url)
        update(project)
        assert SHELVES == (project / OWN).read_text(encoding="utf-8")
        assert (project / CHAIN.format("my_service") / "v0002_newer_replies.py").exists()
        for url in urls:
            assert 1 == _run(project, python, url, "-m", "my_service", "migrate", "--check")[0]
            assert {"database": "0002", "own": "0002"} == _migrate(project, python, url)
            assert (0, "upper\n") == _run(project, python, url, "-c", ASK, url)


def _migrate(project: Path, python: Path, url: str) -> dict[str, str]:
    code, said = _run(project, python, url, "-m", "my_service", "migrate", "--json")
    assert 0 == code, said
    return {chain["chain"]: chain["current"] for chain in json.loads(said)["chains"]}


def _run(project: Path, python: Path, url: str, *words: str) -> tuple[int, str]:
    surroundings = {"PYTHONPATH": str(project / "src"), "MY_SERVICE_DATABASE__URL": url}
    done = run(project, str(python), *words, env=surroundings)
    return done.returncode, done.stdout
