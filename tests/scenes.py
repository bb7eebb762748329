"""Scenes of jobs: an installed project, with a migrated database for each test."""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa

from chores import URL, Scene
from chores_module import MODULE
from postgresql_server import any_server, fresh_database
from rendering import FULLEST, Workshop
from serving import command

SHORT = {"lease_s": "4", "outage_grace_s": "1", "poll_interval_s": "0.1"}
"""Settings with which a worker that is gone is noticed soon."""


def chores(workshop: Workshop) -> Path:
    """Return an installed project with everything, and the jobs of an owner."""
    project = workshop.install(FULLEST, "jobs")
    module = project / "src" / "my_service" / "wiring" / "chores.py"
    unfinished = module.with_suffix(f".{os.getpid()}")
    unfinished.write_text(MODULE, encoding="utf-8")
    unfinished.replace(module)
    return project


@dataclass(frozen=True, slots=True)
class Scenes:
    """Where scenes are made: a project, and databases that were migrated once and are copied."""

    project: Path
    folder: Path
    migrated_file: Path
    server_url: str
    migrated_database: str

    @contextmanager
    def scene(
        self, engine: str, folder: Path, settings: Mapping[str, str], *, migrated: bool = True
    ) -> Iterator[Scene]:
        """Yield a scene with a database of its own; its processes end with the block."""
        if engine == "sqlite":
            if migrated:
                shutil.copy(self.migrated_file, folder / "data.db")
            url = f"sqlite:///{folder / 'data.db'}"
        else:
            name = f"jobs_{uuid.uuid4().hex}"
            template = f" TEMPLATE {self.migrated_database}" if migrated else ""
            execute(self.server_url, f"CREATE DATABASE {name}{template}")
            url = urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))
        scene = Scene(self.project, folder, url, settings)
        try:
            yield scene
        finally:
            scene.close()


@contextmanager
def scenes(project: Path, folder: Path, server_url: str) -> Iterator[Scenes]:
    """Migrate an empty database of each engine with the command that operators use."""
    file = folder / "migrated.db"
    with fresh_database(server_url) as url:
        for one in (f"sqlite:///{file}", url):
            done = command(project, folder, "migrate", env={URL: one})
            assert 0 == done.returncode, done.stderr
        yield Scenes(project, folder, file, server_url, urlsplit(url).path[1:])


def execute(url: str, statement: str) -> None:
    """Run one statement outside of any transaction."""
    target = url.replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(target, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


@pytest.fixture(scope="module")
def stage(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    """Yield where scenes are made."""
    project = chores(workshop)
    with any_server() as server, scenes(project, tmp_path_factory.mktemp("jobs"), server) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest, stage: Scenes, tmp_path: Path) -> Iterator[Scene]:
    """Yield a scene on either engine."""
    with stage.scene(request.param, tmp_path, SHORT) as found:
        yield found


@pytest.fixture
def on_server(stage: Scenes, tmp_path: Path) -> Iterator[Scene]:
    """Yield a scene on PostgreSQL."""
    with stage.scene("postgresql", tmp_path, SHORT) as found:
        yield found


@pytest.fixture
def on_file(stage: Scenes, tmp_path: Path) -> Iterator[Scene]:
    """Yield a scene on SQLite."""
    with stage.scene("sqlite", tmp_path, SHORT) as found:
        yield found
