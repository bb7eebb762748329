"""Chains of files for tests: an own chain in a folder of the test, beside that of the template."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent

import pytest
from sqlalchemy import MetaData

from object_service.capabilities.database import migrating
from object_service.capabilities.database.chains import CHAIN, OWN, Chain
from object_service.capabilities.database.tables import Table

_FILE = '''
import os, sys, time
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {below!r}, None, None


def halt():
    """Wait to be killed, in a process that is there for it."""
    if "HALT" in os.environ:
        print("halfway", flush=True)
        time.sleep(60)


def upgrade():
{up}


def downgrade():
{down}
'''
_TABLES = """
op.create_table("parents", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(9)))
parent = sa.ForeignKey("parents.id", name="fk_children")
op.create_table("children", sa.Column("parent_id", sa.Integer, parent, nullable=False))
"""
_COLUMNS = """
with op.batch_alter_table("parents") as batch:
    batch.add_column(sa.Column("age", sa.Integer, nullable=False, server_default="7"))
    batch.alter_column("name", existing_type=sa.String(9), type_=sa.String(20))
halt()
"""
TWO = {
    "0001": (_TABLES, 'op.drop_table("children")\nop.drop_table("parents")'),
    "0002": (_COLUMNS, 'with op.batch_alter_table("parents") as batch:\n    batch.drop_column("age")'),
}
"""Files by their revision: what they do, and undo."""


def own_chain(folder: Path, files: Mapping[str, tuple[str, str]], metadata: MetaData | None = None) -> Chain:
    """Write the files, each following the one before, and return their chain."""
    folder.mkdir(exist_ok=True)
    below: str | None = None
    for revision, (up, down) in files.items():
        write(folder, revision, below, up, down)
        below = revision
    return Chain(
        name=OWN,
        versions=folder,
        version_table="alembic_version",
        metadata=Table.metadata if metadata is None else metadata,
    )


def write(folder: Path, revision: str, below: str | None, up: str, down: str = "pass") -> None:
    """Write one file."""
    body = _FILE.format(revision=revision, below=below, up=indent(up, "    "), down=indent(down, "    "))
    (folder / f"v{revision}_test.py").write_text(body, encoding="utf-8")


def use(monkeypatch: pytest.MonkeyPatch, *chains: Chain) -> tuple[Chain, ...]:
    """Have these chains, after that of the template, be all there are, and return them."""
    found = (CHAIN, *chains)
    monkeypatch.setattr(migrating, "all_chains", lambda: found)
    return found
